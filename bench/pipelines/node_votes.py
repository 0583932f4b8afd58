"""A large image segmented in each view and voted on node by node, for the arms that paint superpixels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source
from bench.config import SuperpixelsConfig
from bench.superpixels.registry import segment_views

VOTED = 0.9  # of a prediction's progress; painting is the rest
SEGMENTED = 0.67  # of the progress of a view's votes
Nodes = TypeVar("Nodes")
Segments = NDArray[np.int32]
Show = Callable[[float], None]


def collect_votes(
    image: Source,
    groups: Iterable[Sequence[SuperpixelsConfig]],
    scratch: Path,
    progress: Show,
    build: Callable[[Sequence[Segments]], Iterator[Nodes]],
    vote: Callable[[Nodes, Segments], NDArray[Any]],
) -> tuple[list[Segments], list[NDArray[Any]]]:
    """Segment an image in each view, and have its nodes voted on.

    Args:
        image: (*spatial, C).
        groups: The views, those together that share a walk over the image.
        scratch: Folder for the segments.
        progress: Called with the share done, in [0, VOTED].
        build: Makes of the segments (*spatial) of a group what is voted on, one view after the other.
        vote: Makes of that and its segments what is painted of the nodes, (N, ...).

    Returns:
        Segments of each view, and their votes.
    """
    groups, votes = [*groups], list[NDArray[Any]]()
    segments: list[Segments] = []
    step = VOTED / sum(map(len, groups))
    for group in groups:
        for done, ids in enumerate(segment_views(image, group, scratch)):
            segments.append(ids)
            progress((len(votes) + SEGMENTED * (done + 1)) * step)
        for nodes in build(segments[len(votes) :]):
            votes.append(vote(nodes, segments[len(votes)]))
            del nodes  # before those of the next view are built
            progress((SEGMENTED * len(segments) + (1 - SEGMENTED) * len(votes)) * step)
    return segments, votes


def show_painting(progress: Show) -> Show:
    """Return what shows the share of the painting that is done, in [0, 1], as the last part of a prediction."""
    return lambda share: progress(VOTED + (1 - VOTED) * share)
