"""A sample as a graph of superpixels. What is made here may be kept: its version is `bench.versions.graph_version`."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.config import GraphConfig, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.graphs.build import build_graph
from bench.superpixels.labels import count_classes
from bench.superpixels.registry import segment
from bench.superpixels.scaling import choose_n_segments


@dataclass(frozen=True)
class SuperpixelGraph:
    """A sample as a graph; its pixels are let go. `data.y_counts` (N, K): true pixels of each class in each node."""

    data: Data
    segments: NDArray[np.int32]
    facts: dict[str, float]

    @property
    def views(self) -> tuple["SuperpixelGraph", ...]:
        """The graphs of the item: this one alone."""
        return (self,)


def build_sample_graph(
    sample: Sample, superpixels: SuperpixelsConfig, graph: GraphConfig, task: Task
) -> SuperpixelGraph:
    """Build the graph of a sample.

    `bench.pipelines.gnn.cache` keeps it under its four arguments: nothing else may change it.

    Args:
        sample: Image and mask.
        superpixels: Method and size of the superpixels.
        graph: Features and edges.
        task: Classes and channels.

    Returns:
        The graph, the segments, and facts about both.
    """
    image = np.asarray(sample.image)
    segments = segment(image, superpixels)
    data = build_graph(image, segments, graph)
    counts = count_classes(np.asarray(sample.mask), segments, task.num_classes, task.ignore_index)
    data.y_counts = torch.from_numpy(counts)
    asked = choose_n_segments(segments.shape, superpixels)
    return SuperpixelGraph(data, segments, {"n_segments": asked, "num_nodes": len(counts), "num_edges": data.num_edges})
