"""A sample as a graph of superpixels. What is made here may be kept: its version is `bench.versions.graph_version`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.protocols import Readable
from bench.config import GraphConfig, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.pipelines.gnn.columns import store_columns, tie_scratch
from bench.pipelines.gnn.deep import DeepFeatures, build_deep_graphs
from bench.pipelines.scratch import open_scratch
from bench.superpixels.labels import count_classes
from bench.superpixels.registry import SUPERPIXELS, segment, segment_views
from bench.superpixels.scaling import choose_n_segments
from bench.superpixels.views import group_views

HELD_VALUES = 1 << 25  # of an image that is prepared in memory


@dataclass(frozen=True)
class SuperpixelGraph:
    """A sample as a graph; its pixels are let go. `data.y_counts` (N, K): true pixels of each class in each node."""

    data: Data
    segments: NDArray[np.int32]
    facts: dict[str, float]

    @property
    def graphs(self) -> tuple[Data, ...]:
        """The graph of the item, alone."""
        return (self.data,)

    @property
    def views(self) -> tuple["SuperpixelGraph", ...]:
        """The graphs of the item: this one alone."""
        return (self,)


def build_sample_graph(
    sample: Sample, superpixels: SuperpixelsConfig, graph: GraphConfig, task: Task
) -> SuperpixelGraph:
    """Build the graph of a sample from one view, as `build_sample_graphs`."""
    [item] = build_sample_graphs(sample, [superpixels], graph, task)
    return item


def build_sample_graphs(
    sample: Sample,
    views: Sequence[SuperpixelsConfig],
    graph: GraphConfig,
    task: Task,
    deep: DeepFeatures | None = None,
) -> list[SuperpixelGraph]:
    """Build the graph of each view of a sample, whose image is read and filtered once for all.

    `bench.pipelines.gnn.cache` keeps each under its settings: nothing but the first four arguments may change
    what is kept.

    Args:
        sample: Image and mask.
        views: Method and size of the superpixels, of one view each.
        graph: Features and edges.
        task: Classes and channels.
        deep: Adds its activations to the features.

    Returns:
        Of each view the graph, the segments, and facts about both.
    """
    if is_large(sample.image.shape, views):
        return _build_on_disk(sample, views, graph, task, deep)
    image, mask = np.asarray(sample.image), np.asarray(sample.mask)
    segments = list(segment_views(image, views))
    pairs = zip(views, segments, build_deep_graphs(image, segments, graph, deep), strict=True)
    return [_label(data, ids, mask, view, task) for view, ids, data in pairs]


def is_large(shape: Sequence[int], views: Sequence[SuperpixelsConfig]) -> bool:
    """Return whether an image of `shape` (*spatial, C) is walked in bands, with its graph and segments on the disk.

    Superpixel methods that need the whole image in memory have it there, however large it is.
    """
    return prod(shape) > HELD_VALUES and all(SUPERPIXELS[view.method].banded for view in views)


def _build_on_disk(
    sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task, deep: DeepFeatures | None
) -> list[SuperpixelGraph]:
    """`build_sample_graphs` of a large image: in memory is what was pooled of its segments, some 500 bytes of each."""
    items: list[SuperpixelGraph] = []
    for group in group_views(views, sample.image.shape):
        segments = [_segment_on_disk(sample, view, graph) for view in group]
        graphs = build_deep_graphs(sample.image, segments, graph, deep)
        for view, ids, data in zip(group, segments, graphs, strict=True):
            item = _label(data, ids, sample.mask, view, task)
            items.append(replace(item, data=store_columns(item.data, graph.scratch_dir)))
            del data, item
    return items


def _segment_on_disk(sample: Sample, view: SuperpixelsConfig, graph: GraphConfig) -> NDArray[np.int32]:
    """Segments (*spatial) in a file that goes with them."""
    folder = open_scratch(graph.scratch_dir)
    segments = segment(sample.image, view, scratch=folder)
    tie_scratch(segments, folder)
    return segments


def _label(
    data: Data, segments: NDArray[np.int32], mask: Readable, view: SuperpixelsConfig, task: Task
) -> SuperpixelGraph:
    """Add the true pixels of each class to a graph, and count what there is."""
    counts = count_classes(mask, segments, task.num_classes, task.ignore_index)
    data.y_counts = torch.from_numpy(counts)
    asked = choose_n_segments(segments.shape, view)
    return SuperpixelGraph(data, segments, {"n_segments": asked, "num_nodes": len(counts), "num_edges": data.num_edges})
