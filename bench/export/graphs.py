"""`python -m bench graphs dataset=... out=folder`: the graphs of a data set, for those who bring their own trainer.

Each image becomes `SPLIT/NAME.pt`, a plain dictionary of tensors, which `torch.load(path, weights_only=True)` reads and
`torch_geometric.data.Data.from_dict` turns into a graph, and `SPLIT/NAME.segments.npy`, the superpixels with which a
prediction for the nodes is painted back. `graphs.json` says what the numbers mean.
"""

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import DatasetConfig, GraphConfig, SuperpixelsConfig, require, require_one_of
from bench.console.progress import Progress
from bench.datasets.registry import load
from bench.datasets.sample import Sample, Splits, Task, adopt_spacing
from bench.export.room import explain_full_disk
from bench.files import clear_stale, fill_atomically, write_atomically
from bench.graphs.edges import EDGES
from bench.graphs.features import FEATURES
from bench.superpixels.registry import SUPERPIXELS

NO_CLASS = -1  # of a node all of whose pixels are ignored


@dataclass(frozen=True)
class GraphsConfig:
    """Settings of `python -m bench graphs`; those of the data set are given as for a run."""

    out: str = ""  # folder to be made
    superpixels: SuperpixelsConfig = field(default_factory=SuperpixelsConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)

    def __post_init__(self) -> None:
        path = Path(self.out)
        require(self.out != "", "graphs needs out=: python -m bench graphs dataset=... out=graphs")
        require(not path.exists(), f"{path} exists already: choose another out")
        require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first")
        require(self.superpixels.views == 1, "superpixels.views must be 1: a file holds one graph")
        require_one_of("superpixels.method", self.superpixels.method, tuple(SUPERPIXELS))
        for name in self.graph.features:
            require_one_of("graph.features", name, tuple(FEATURES))
        for name in self.graph.edges:
            require_one_of("graph.edges", name, tuple(EDGES))


def main(settings: GraphsConfig, dataset: DatasetConfig) -> int:
    """Write the graphs of a data set and print where they are. Returns the exit code."""
    # torch_geometric uses it while it is imported; nothing that a user could mend
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
    data, out = load(dataset), Path(settings.out)
    clear_stale(out)
    with explain_full_disk(out), fill_atomically(out) as temporary, Progress(out.name) as bar:
        write_graphs(data, settings, temporary, bar.show)
        description = describe_graphs(data, dataset, settings)
        write_atomically(temporary / "graphs.json", json.dumps(description, indent=1) + "\n")
    print(f"{out}: {len(data.train)} training, {len(data.val)} validation and {len(data.test)} test graphs")
    print('to read one: Data.from_dict(torch.load("NAME.pt", weights_only=True)), with torch_geometric.data.Data')
    return 0


def write_graphs(data: Splits, settings: GraphsConfig, folder: Path, show: Callable[[float], None]) -> None:
    """Write the graph and the superpixels of every image below a folder named like its split.

    Args:
        data: The data set.
        settings: Superpixels and graph.
        folder: Folder to be made.
        show: Receives the share that is done, in [0, 1].
    """
    import torch

    splits = {"train": data.train, "val": data.val, "test": data.test}
    images = [(split, sample) for split, samples in splits.items() for sample in samples]
    for done, (split, sample) in enumerate(images, start=1):
        path = folder / split / f"{sample.name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors, segments = make_tensors(sample, settings, data.task)
        content = io.BytesIO()
        torch.save(tensors, content)
        path.write_bytes(content.getbuffer())  # torch itself calls a full disk a RuntimeError
        np.save(path.with_name(f"{path.stem}.segments.npy"), segments)
        show(done / len(images))


def make_tensors(sample: Sample, settings: GraphsConfig, task: Task) -> tuple[dict[str, Any], Any]:
    """Return the tensors of a sample's graph by name, and its segments (*spatial).

    Beside those of `bench.graphs.build.build_graph` there are y_counts (N, K), the pixels of each class in each node,
    and y (N,), the most frequent class, or `NO_CLASS`.

    Args:
        sample: Image and mask.
        settings: Superpixels and graph.
        task: Classes and channels.
    """
    from bench.pipelines.gnn.graph import build_sample_graph

    superpixels, graph = adopt_spacing(settings.superpixels, task), adopt_spacing(settings.graph, task)
    item = build_sample_graph(sample, superpixels, graph, task)
    counts = item.data.y_counts
    item.data.y = counts.argmax(dim=1).masked_fill(counts.sum(dim=1) == 0, NO_CLASS)
    return item.data.to_dict(), np.asarray(item.segments)


def describe_graphs(data: Splits, dataset: DatasetConfig, settings: GraphsConfig) -> dict[str, Any]:
    """Return what `graphs.json` holds: data set, classes, splits and the settings that made the graphs.

    Args:
        data: The data set.
        dataset: Its settings.
        settings: Superpixels and graph.
    """
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "dataset": data.name,
        **data.facts,
        "dataset.normalization": dataset.normalization,
        "class_names": list(data.task.class_names),
        "class_of_ignored_nodes": NO_CLASS,
        "spatial_axes": data.task.spatial_axes,
        "channels": data.task.in_channels,
        "superpixels": asdict(adopt_spacing(settings.superpixels, data.task)),
        "graph": asdict(adopt_spacing(settings.graph, data.task)),
        "splits": {split: [sample.name for sample in samples] for split, samples in splits.items()},
    }
