"""Segments in one piece each (by faces, not corners), and none too small: banded union-find over runs of pixels.

The numbering follows the first pixels in raster order and every sum is whole, so nothing depends on the bands. The
kernels are in `pieces`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range
from bench.superpixels.pieces import (
    NeighbourLists,
    Pieces,
    count_starts,
    isolate,
    link_edges,
    list_small_edges,
    mark_small,
    merge_pieces,
    number_pieces,
    number_roots,
    renumber,
    scan,
    sew,
)

Result = TypeVar("Result")
AT_ONCE = 1 << 17  # pieces to work on before the pages are handed back, where they are on disk


def label_pieces(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Number the pieces of `labels` (2 or 3 axes) 0..N-1 in the order of their first pixels."""
    volume = np.array(labels, dtype=np.int32, order="C", copy=True).reshape((1,) * (3 - labels.ndim) + labels.shape)
    with Workers(1) as workers, Storage(None) as storage:
        connect(volume, np.empty((0, *volume.shape), dtype=np.uint16), 1, workers, storage, volume.size)
    return volume.reshape(labels.shape)


def connect(
    labels: NDArray[np.int32],
    image: NDArray[np.uint16],
    smallest: int,
    workers: Workers,
    storage: Storage,
    band: int,
    at_once: int = AT_ONCE,
) -> int:
    """Replace labels by connected pieces, numbered by their first pixels, and join small pieces to their neighbours.

    Small pieces, from the first on, join the neighbour whose mean intensity is nearest (ties: the one that begins
    first), as it has become by then.

    Args:
        labels: (D, H, W), overwritten.
        image: Intensities (C, D, H, W).
        smallest: Pixels below which a piece is small.
        workers: Threads that share the work on a band.
        storage: Where lists of pieces live.
        band: About how many pixels are in memory at a time, where `storage` is on disk.
        at_once: How many pieces are in memory at a time, where `storage` is on disk.

    Returns:
        Number of pieces.

    Raises:
        ValueError: There are more pieces than can be numbered.
    """
    lines = labels.reshape(-1, labels.shape[2])
    walk = _Walk(lines.shape, band, workers, storage)
    pieces, ranges = _find_pieces(lines, image, labels.shape[1], walk)
    final, roots = _number_roots(ranges, smallest, pieces, storage)
    storage.drop(pieces.label)
    walk.run(lambda start, stop: renumber(lines, start, stop, final))
    storage.drop(final, pieces.parent)
    if smallest > 1:
        edges = storage.concatenate(
            walk.results(lambda start, stop: np.asarray(list_small_edges(lines, labels.shape[1], start, stop)))
        )
        final, roots = _merge_small(edges, smallest, pieces.sums[:roots], storage, at_once)
        walk.run(lambda start, stop: renumber(lines, start, stop, final))
    return roots


@dataclass(frozen=True)
class _Walk:
    """A walk over the lines of an image in bands of about `band` pixels, each cut into a piece for every thread."""

    shape: tuple[int, ...]
    band: int
    workers: Workers
    storage: Storage

    @property
    def bands(self) -> list[list[Band]]:
        """First line and end of the pieces of each band, a piece for every thread."""
        return [split_range(stop, self.workers.threads, start) for start, stop in cut_bands(self.shape, self.band)]

    def results(self, work: Callable[[int, int], Result]) -> Iterator[Result]:
        """Yield `work(start, stop)` of every piece, and hand the pages back after every band."""
        for inner in self.bands:
            yield from self.workers.run(work, inner)
            self.storage.release()

    def run(self, work: Callable[[int, int], None]) -> None:
        """Call `work(start, stop)` for every piece, and hand the pages back after every band."""
        for _ in self.results(work):
            pass


def _find_pieces(
    lines: NDArray[np.int32], image: NDArray[np.uint16], height: int, walk: _Walk
) -> tuple[Pieces, list[Band]]:
    """Replace the labels in `lines` by provisional pieces; return these, and which numbers each part of a band used."""
    values = image.reshape(image.shape[0], *lines.shape)
    ends = np.cumsum([0, *walk.results(lambda start, stop: int(count_starts(lines, height, start, stop)))]).tolist()
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"the image falls into up to {ends[-1]} pieces, more than can be numbered: smooth it more")
    parts = [part for inner in walk.bands for part in inner]
    offsets = {start: offset for (start, _), offset in zip(parts, ends[:-1], strict=True)}
    empty = walk.storage.empty
    sums = walk.storage.zeros((ends[-1], 1 + image.shape[0]), np.int64)
    pieces = Pieces(empty((ends[-1],), np.int32), empty((ends[-1],), np.int32), sums)
    found = walk.results(lambda start, stop: int(scan(lines, values, height, start, stop, offsets[start], pieces)))
    ranges = list(zip(ends[:-1], found, strict=True))
    for start, stop in parts[1:]:
        sew(lines, height, start, stop, pieces)
        walk.storage.release()
    return pieces, ranges


def _number_roots(ranges: list[Band], smallest: int, pieces: Pieces, storage: Storage) -> tuple[NDArray[np.int32], int]:
    """Number the roots and move their sums to the front: provisional piece -> number, or ~number if it is too small."""
    final, count = storage.empty(pieces.parent.shape, np.int32), 0
    for first, last in ranges:
        count = int(number_roots(first, last, count, pieces, final))
        storage.release()
    for first, last in ranges:
        mark_small(first, last, smallest, pieces.sums, final)
        storage.release()
    return final, count


def _merge_small(
    edges: NDArray[np.int32], smallest: int, sums: NDArray[np.int64], storage: Storage, at_once: int
) -> tuple[NDArray[np.int32], int]:
    """Join small pieces to their neighbours; return the number of every piece, and how many numbers there are."""
    count = sums.shape[0]
    parent, final = storage.empty((count,), np.int32), storage.empty((count,), np.int32)
    head, tail = storage.empty((count,), np.int64), storage.empty((count,), np.int64)
    following, means = storage.empty((edges.shape[0],), np.int64), storage.empty((count, sums.shape[1] - 1), np.float64)
    neighbours = NeighbourLists(edges, head, tail, following)
    bands = cut_bands((count,), at_once) if storage.on_disk else [(0, count)]
    for first, last in bands:
        isolate(first, last, sums, parent, final, head, means)
        storage.release()
    for first, last in cut_bands(edges.shape[:1], at_once):
        link_edges(first, last, neighbours)
        storage.release()
    for first, last in bands:
        merge_pieces(first, last, smallest, sums, means, parent, neighbours)
        storage.release()
    numbered = 0
    for first, last in bands:
        numbered = int(number_pieces(first, last, numbered, parent, final))
        storage.release()
    storage.drop(parent, head, tail, following, means, edges)
    return final, numbered
