"""A new image as segmentations, whose graphs are made when a prediction asks for them, and let go one after the other.

A fit needs the graphs of an image hundreds of times, a prediction once: none of them waits for another, in memory or in
a file, and none is told the true classes of its pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.protocols import Source
from bench.config import SuperpixelsConfig
from bench.datasets.sample import Sample
from bench.pipelines.gnn.columns import copy_views
from bench.pipelines.gnn.graph import SuperpixelGraph, count_graph, is_large
from bench.pipelines.in_memory import hold_small
from bench.pipelines.origin import merge_facts
from bench.pipelines.scratch import lend_scratch
from bench.superpixels.registry import segment_views
from bench.superpixels.views import group_views

BuildGraphs = Callable[[Source, Sequence[NDArray[np.int32]]], Iterator[Data]]


@dataclass(frozen=True)
class SegmentedSample:
    """A sample as one or several segmentations.

    Attributes:
        segments: Superpixels (*spatial), or (V, *spatial) of several views.
        mask: True classes (*spatial).
        build: Makes the graph of each view, one after the other.
        facts: Counts of the graphs, sums over the views; empty until `views` was walked once.
    """

    segments: NDArray[np.int32]
    mask: Source
    build: Callable[[], Iterator[SuperpixelGraph]]
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def views(self) -> Iterator[SuperpixelGraph]:
        """The graph of each view, which is made now; the caller lets go of one before it asks for the next."""
        found = list[dict[str, float]]()
        for view in self.build():
            found.append(view.facts)
            yield view
            del view
        self.facts.update(merge_facts(found))


def segment_sample(
    sample: Sample, views: Sequence[SuperpixelsConfig], place: str | None, build: BuildGraphs
) -> SegmentedSample:
    """Segment a sample in each view.

    Args:
        sample: Image and mask.
        views: Method and size of the superpixels, of one view each.
        place: Folder for the segments of a large image, as in `bench.pipelines.scratch.open_scratch`.
        build: Makes the graphs of an image (*spatial, C) from segmentations (*spatial) of it.

    Returns:
        The segments, and what makes their graphs.
    """
    large = is_large(sample.image.shape, views)
    image = hold_small(sample.image, place) if large else np.asarray(sample.image)
    segments = _segment_into_file(image, views, place) if large else _segment_in_memory(image, views)

    def build_all() -> Iterator[SuperpixelGraph]:
        groups, done = group_views(views, image.shape) if large else [list(views)], 0
        for group in groups:
            for data in build(image, [segments[done + view] for view in range(len(group))]):
                ids = segments[done]
                yield SuperpixelGraph(data, ids, count_graph(data, ids.shape, views[done]))
                del data  # before that of the next view is made
                done += 1

    return SegmentedSample(segments if len(views) > 1 else segments[0], sample.mask, build_all)


def _segment_in_memory(image: Source, views: Sequence[SuperpixelsConfig]) -> NDArray[np.int32]:
    """Segments (V, *spatial), of a single view without a copy."""
    found = segment_views(image, views)
    if len(views) == 1:
        return next(found)[np.newaxis]
    segments = np.empty((len(views), *image.shape[:-1]), np.int32)
    for target in segments:
        target[:] = next(found)
    return segments


def _segment_into_file(image: Source, views: Sequence[SuperpixelsConfig], place: str | None) -> NDArray[np.int32]:
    """Segments (V, *spatial) in a file that goes with them."""
    with lend_scratch(place) as scratch:
        return copy_views(list(segment_views(image, views, scratch)), place)
