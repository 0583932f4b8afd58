"""Segments in one piece each (by faces, not corners), and none too small: banded union-find over runs of pixels.

The numbering follows the first pixels in raster order and nothing else, so it does not depend on the bands.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.superpixels.threads import Workers, split

Runs = tuple[NDArray[np.int32], ...]  # per provisional piece: parent, label, pixels, a neighbour that began earlier


def connected(labels: NDArray[np.integer], smallest: int = 1, threads: int = 1) -> NDArray[np.int32]:
    """Pieces of `labels` (2 or 3 axes), numbered 0..N-1 in the order of their first pixels.

    A piece of fewer than `smallest` pixels joins the piece that lies before its first pixel (above it, or else left of
    it, or else in the plane before), and the piece of pixel 0 swallows its followers until it is large enough.
    """
    volume = np.array(labels, dtype=np.int32, order="C", copy=True).reshape((1,) * (3 - labels.ndim) + labels.shape)
    with Workers(threads) as workers:
        connect(volume, smallest, workers)
    return volume.reshape(labels.shape)


def connect(labels: NDArray[np.int32], smallest: int, workers: Workers) -> int:
    """`connected` in place, on (D, H, W); returns the number of pieces."""
    height = labels.shape[1]
    bands = split(labels.shape[0] * height, workers.threads)
    ends = np.cumsum(workers.run(lambda start, stop: _count(labels, start, stop), bands)).tolist()
    offsets = dict(zip((start for start, _ in bands), [0, *ends[:-1]], strict=True))
    runs: Runs = tuple(np.empty(ends[-1], dtype=np.int32) for _ in range(4))
    used = workers.run(lambda start, stop: _scan(labels, start, stop, offsets[start], *runs), bands)
    for start, _ in bands[1:]:
        _sew(labels, start, height, runs[0], runs[1], runs[3])
    ranges = list(zip(offsets.values(), used, strict=True))
    final, pieces = _merge(np.array(ranges, dtype=np.int64), smallest, runs[0], runs[2], runs[3])
    workers.run(
        lambda start, stop: _renumber(labels, start, stop, final), split(labels.shape[0] * height, workers.threads)
    )
    return int(pieces)


@njit(cache=True, nogil=True)
def _find(parent, node):  # type: ignore[no-untyped-def]
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent, first, second):  # type: ignore[no-untyped-def]
    """The root that began earlier stays a root."""
    first, second = _find(parent, first), _find(parent, second)
    if first < second:
        parent[second] = first
    elif second < first:
        parent[first] = second


@njit(cache=True, nogil=True)
def _count(labels, start, stop):  # type: ignore[no-untyped-def]
    """Upper bound of the runs between rows that continue no run of the row above in the same band."""
    height, width = labels.shape[1:]
    lines = labels.reshape(labels.shape[0] * height, width)
    count = 0
    for row in range(start, stop):
        line = lines[row]
        if row == start or row % height == 0:
            count += 1
            for x in range(1, width):
                count += line[x] != line[x - 1]
        else:
            above = lines[row - 1]
            count += line[0] != above[0]
            for x in range(1, width):
                count += (line[x] != line[x - 1]) & (line[x] != above[x])
    return count


@njit(cache=True, nogil=True)
def _scan(labels, start, stop, offset, parent, label, pixels, before):  # type: ignore[no-untyped-def]
    """Replace the labels of the rows by provisional pieces from `offset` on; returns where they end."""
    height, width = labels.shape[1:]
    lines = labels.reshape(labels.shape[0] * height, width)
    fresh = offset
    for row in range(start, stop):
        line = lines[row]
        above = lines[row - 1] if row > start and row % height else line[:0]
        behind = lines[row - height] if row - height >= start else line[:0]
        end = 0
        while end < width:
            begin, here = end, line[end]
            while end < width and line[end] == here:
                end += 1
            piece = _touching(above, begin, end, here, parent, label, -1)
            piece = _touching(behind, begin, end, here, parent, label, piece)
            if piece < 0:
                piece = fresh
                fresh += 1
                parent[piece], label[piece], pixels[piece], before[piece] = piece, here, 0, -1
                if above.size:
                    before[piece] = above[begin]
                elif begin:
                    before[piece] = line[begin - 1]
                elif behind.size:
                    before[piece] = behind[begin]
            pixels[piece] += end - begin
            line[begin:end] = piece
    return fresh


@njit(cache=True, nogil=True)
def _touching(other, begin, end, here, parent, label, piece):  # type: ignore[no-untyped-def]
    """Join the pieces of `other` over [begin, end) that carry the label `here` with each other and `piece`."""
    if other.size == 0:
        return piece
    previous = -1
    for x in range(begin, end):
        candidate = other[x]
        if candidate != previous:
            previous = candidate
            if label[candidate] == here:
                if piece >= 0:
                    _join(parent, piece, candidate)
                else:
                    piece = candidate
    return piece


@njit(cache=True, nogil=True)
def _sew(labels, start, rows, parent, label, before):  # type: ignore[no-untyped-def]
    """Join what meets across the seam before row `start`: with the row above and with the plane before."""
    height, width = labels.shape[1:]
    lines = labels.reshape(labels.shape[0] * height, width)
    for row in range(start, min(start + rows, lines.shape[0])):
        line = lines[row]
        if row == start and row % height:
            _sew_row(line, lines[row - 1], True, parent, label, before)
        if row >= height:
            _sew_row(line, lines[row - height], False, parent, label, before)


@njit(cache=True, nogil=True)
def _sew_row(line, other, above, parent, label, before):  # type: ignore[no-untyped-def]
    """Join equal labels, and tell the pieces that could not look across the seam what lies before their first pixel."""
    for x in range(line.size):
        here, there = line[x], other[x]
        if label[here] == label[there]:
            _join(parent, here, there)
        if before[here] < 0 or (above and (x == 0 or line[x - 1] != here)):
            before[here] = there


@njit(cache=True, nogil=True)
def _merge(ranges, smallest, parent, pixels, before):  # type: ignore[no-untyped-def]
    """Final number of every provisional piece, and how many there are."""
    for first, last in ranges:
        for piece in range(first, last):
            root = _find(parent, piece)
            if root != piece:
                pixels[root] += pixels[piece]
    for first, last in ranges:
        for piece in range(first, last):
            if parent[piece] == piece and before[piece] >= 0 and pixels[piece] < smallest:
                parent[piece] = _find(parent, before[piece])
                pixels[parent[piece]] += pixels[piece]
    final, count = np.empty(parent.size, dtype=np.int32), 0
    for first, last in ranges:
        for piece in range(first, last):
            if parent[piece] == piece and piece and pixels[0] < smallest:
                parent[piece] = 0
                pixels[0] += pixels[piece]
            if parent[piece] == piece:
                final[piece] = count
                count += 1
            else:
                final[piece] = final[_find(parent, piece)]
    return final, count


@njit(cache=True, nogil=True)
def _renumber(labels, start, stop, final):  # type: ignore[no-untyped-def]
    lines = labels.reshape(labels.shape[0] * labels.shape[1], labels.shape[2])
    for row in range(start, stop):
        line = lines[row]
        for x in range(line.size):
            line[x] = final[line[x]]
