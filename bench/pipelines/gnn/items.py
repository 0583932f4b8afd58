"""A sample as the graphs of one or several segmentations, for training and for painting a mask."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.protocols import Source
from bench.arrays.rows import release
from bench.pipelines.gnn.columns import copy_views, is_on_disk
from bench.pipelines.gnn.graph import SuperpixelGraph
from bench.pipelines.gnn.segmented import SegmentedSample
from bench.pipelines.origin import merge_facts
from bench.pipelines.painting import paint_by_bands, paint_views
from bench.pipelines.scratch import map_scratch

MAPPED_PIXELS = 1 << 21  # painted at once, and into a mask that is mapped where an image on the disk has more pixels


@dataclass(frozen=True)
class SuperpixelViews:
    """A sample as several graphs, one of each segmentation. `segments` (V, *spatial); `facts` are sums over them.

    The mask stays, since the score of the mean of the views needs its pixels.
    """

    views: tuple[SuperpixelGraph, ...]
    segments: NDArray[np.int32]
    facts: dict[str, float]
    mask: Source

    @property
    def graphs(self) -> tuple[Data, ...]:
        """The graph of each segmentation."""
        return tuple(view.data for view in self.views)


@dataclass(frozen=True)
class TrainingGraphs:
    """The graphs of a sample without the segments, from which nothing can be painted."""

    graphs: tuple[Data, ...]
    facts: dict[str, float]
    segments: None = None


Item = SuperpixelGraph | SuperpixelViews


def stack_views(views: list[SuperpixelGraph], mask: Source, on_disk: bool, place: str | None) -> SuperpixelViews:
    """Make one item of the graphs of several segmentations, their segments one after the other.

    Args:
        views: The graphs, whose own segments are let go; those of graphs in files go to a file as well.
        mask: True classes (*spatial).
        on_disk: Whether the segments lie in files.
        place: As in `bench.pipelines.scratch.open_scratch`.
    """
    facts = merge_facts([view.facts for view in views])
    if on_disk or all(is_on_disk(view.data) for view in views):
        segments = copy_views([view.segments for view in views], place)
        views = [replace(view, segments=ids) for view, ids in zip(views, segments, strict=True)]
    else:
        segments = np.empty((len(views), *views[0].segments.shape), np.int32)
        for number, view in enumerate(views):  # one by one, so that there is a copy of a single view at a time
            segments[number] = view.segments
            views[number] = replace(view, segments=segments[number])
    return SuperpixelViews(tuple(views), segments, facts, mask)


def paint_item(
    item: Item | SegmentedSample, vote: Callable[[Data], NDArray[Any]], place: str | None = None
) -> NDArray[np.integer]:
    """Paint the nodes of an item onto the pixels, as in `paint_views`.

    Args:
        item: Graphs and segments (*spatial) of an image.
        vote: Makes what is painted of each view's graph.
        place: Folder for the mask of segments that lie on the disk, as in `open_scratch`.

    Returns:
        Classes (*spatial), in memory or in a file that goes with them.
    """
    votes, segments = list[NDArray[Any]](), list[NDArray[np.int32]]()
    for view in item.views:
        votes.append(vote(view.data))
        segments.append(view.segments)
        del view  # before the next one is made
    if not any(isinstance(ids, np.memmap) for ids in segments):
        return paint_views(votes, segments)
    if segments[0].size <= MAPPED_PIXELS:
        painted = paint_views(votes, segments)
        for ids in segments:
            release(ids)
        return painted
    first = votes[0]
    dtype = first.dtype if len(votes) == 1 else np.min_scalar_type(first.shape[1] - 1)
    out = map_scratch(segments[0].shape, dtype, place)
    paint_by_bands(votes, segments, out, MAPPED_PIXELS, lambda _: None)
    return out
