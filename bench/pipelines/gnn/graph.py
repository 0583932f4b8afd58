"""A sample as a graph of superpixels. What is made here may be kept: its version is `bench.versions.graph_version`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.heap import trim_heap
from bench.arrays.protocols import Readable, Source, Typed
from bench.arrays.scratch import Storage
from bench.config import GraphConfig, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.graphs.build import build_columns
from bench.graphs.weights import SPACING
from bench.pipelines.gnn.columns import add_column, is_on_disk, pack_columns, store_columns
from bench.pipelines.gnn.deep import DeepFeatures, build_deep_graphs
from bench.pipelines.in_memory import hold_small
from bench.pipelines.scratch import lend_scratch, open_scratch, tie_scratch
from bench.superpixels.labels import count_classes
from bench.superpixels.registry import SUPERPIXELS, segment, segment_views
from bench.superpixels.scaling import choose_n_segments
from bench.superpixels.views import group_views

HELD_VALUES = 1 << 22  # of an image that is prepared in memory
HELD_FOR_A_FIT = 1 << 19  # of one whose graph is made once and used for hundreds of steps: memory counts, not seconds
LEAST_NODES = 1 << 11  # of a graph whose columns are put in a file
MOST_STORED = 256  # graphs of this process in files of their own: each keeps one open
_STORED: WeakValueDictionary[int, Data] = WeakValueDictionary()  # by id


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
    """Build the graph of a sample from a single segmentation, as `build_sample_graphs` does from several.

    Args:
        sample: Image and mask.
        superpixels: Method and size of the superpixels; its `views` are not looked at.
        graph: Features and edges, without features of the set deep.
        task: Classes and channels.

    Returns:
        The graph, the segments, and facts about both.
    """
    [item] = build_sample_graphs(sample, [superpixels], graph, task)
    return item


def build_sample_graphs(
    sample: Sample,
    views: Sequence[SuperpixelsConfig],
    graph: GraphConfig,
    task: Task,
    deep: DeepFeatures | None = None,
    keep: Callable[[SuperpixelGraph], SuperpixelGraph] = lambda item: item,
    for_a_fit: bool = False,
) -> list[SuperpixelGraph]:
    """Build the graph of each view of a sample, whose image is read and filtered once for all.

    `bench.pipelines.gnn.cache` keeps each under its settings: nothing but the first four arguments may change
    the values.

    Args:
        sample: Image and mask.
        views: Method and size of the superpixels, of one view each.
        graph: Features and edges.
        task: Classes and channels.
        deep: Adds its activations to the features.
        keep: Is given the graph of each view before that of the next is built, and returns where it is to be.
        for_a_fit: As in `is_large`.

    Returns:
        Of each view the graph, the segments, and facts about both.
    """
    if is_large(sample.image.shape, views, for_a_fit):
        return _build_on_disk(sample, views, graph, task, deep)
    image, mask = np.asarray(sample.image), np.asarray(sample.mask)
    segments, items = list(segment_views(image, views)), list[SuperpixelGraph]()
    for data in build_deep_graphs(image, segments, graph, deep):
        view = len(items)
        items.append(keep(_label(data, segments[view], mask, views[view], task)))
        del data
    return items


def store_graph(item: SuperpixelGraph, place: str | None) -> SuperpixelGraph:
    """Move the columns of a graph to a file, from which they are read where a batch needs them.

    A small graph stays in memory, and so does any where so many lie in files that the system may allow no more.
    """
    if len(item.data.x) < LEAST_NODES or len(_STORED) >= MOST_STORED or is_on_disk(item.data):
        return item
    data = store_columns(item.data, place)
    _STORED[id(data)] = data
    return replace(item, data=data)


def is_large(shape: Sequence[int], views: Sequence[SuperpixelsConfig], for_a_fit: bool = False) -> bool:
    """Return whether an image is walked in bands, with its graph and segments on the disk.

    Superpixel methods that need the whole image in memory have it there, however large it is.

    Args:
        shape: Of the image, (*spatial, C).
        views: Settings of its segmentations.
        for_a_fit: Whether its graph is for a fit, and smaller images are large as well, while there are files for it.
    """
    spare = for_a_fit and len(_STORED) < MOST_STORED
    held = min(HELD_FOR_A_FIT, HELD_VALUES) if spare else HELD_VALUES
    return prod(shape) > held and all(SUPERPIXELS[view.method].banded for view in views)


def _build_on_disk(
    sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task, deep: DeepFeatures | None
) -> list[SuperpixelGraph]:
    """`build_sample_graphs` of a large image: in memory is what a band of rows needs, whatever the number of nodes."""
    items: list[SuperpixelGraph] = []
    image, mask = (hold_small(source, graph.scratch_dir) for source in (sample.image, sample.mask))
    for group in group_views(views, image.shape):
        segments = [_segment_on_disk(image, view, graph) for view in group]
        graphs = build_stored_graphs(image, segments, graph, deep, graph.scratch_dir)
        for view, ids, data in zip(group, segments, graphs, strict=True):
            _STORED[id(data)] = data
            items.append(_label(data, ids, mask, view, task))
            del data
    trim_heap()
    return items


def build_stored_graphs(
    image: Typed, segments: Sequence[Typed], graph: GraphConfig, deep: DeepFeatures | None, place: str | None
) -> Iterator[Data]:
    """Yield the graphs of `build_deep_graphs`, the columns of which lie in files that go with them.

    They are made in files as well, but for edge weights of other schemes than `spacing` and the features `deep`, which
    are made of a whole graph.

    Args:
        image: Grey values (*spatial, C).
        segments: Segmentations (*spatial), ids 0..N-1 all used.
        graph: Settings of the graph.
        deep: Adds its activations to the features.
        place: Folder of the files, as in `bench.pipelines.scratch.open_scratch`.
    """
    if deep is not None or graph.edge_weight != SPACING:
        for data in build_deep_graphs(image, segments, graph, deep):
            yield store_columns(data, place)
        return
    with lend_scratch(place) as folder, Storage(folder) as made:
        for columns in build_columns(image, segments, graph, storage=made):
            yield pack_columns(columns, made, place)


def _segment_on_disk(image: Source, view: SuperpixelsConfig, graph: GraphConfig) -> NDArray[np.int32]:
    """Segments (*spatial) in a file that goes with them."""
    folder = open_scratch(graph.scratch_dir)
    segments = segment(image, view, scratch=folder)
    tie_scratch(segments, folder)
    trim_heap()
    return segments


def _label(
    data: Data, segments: NDArray[np.int32], mask: Readable, view: SuperpixelsConfig, task: Task
) -> SuperpixelGraph:
    """Add the true pixels of each class to a graph, and count what there is."""

    def count(storage: Storage) -> NDArray[np.int64]:
        return count_classes(mask, segments, task.num_classes, task.ignore_index, storage=storage)

    if is_on_disk(data):
        add_column(data, "y_counts", count)
    else:
        data.y_counts = torch.from_numpy(count(Storage(None)))
    return SuperpixelGraph(data, segments, count_graph(data, segments.shape, view))


def count_graph(data: Data, shape: tuple[int, ...], view: SuperpixelsConfig) -> dict[str, float]:
    """Return the counts of a graph that are worth a column, of an image (*spatial) of this shape."""
    asked = choose_n_segments(shape, view)
    return {"n_segments": asked, "num_nodes": len(data.x), "num_edges": data.num_edges}
