"""Segments in one piece each (by faces, not corners), and none too small: banded union-find over runs of pixels.

The numbering follows the first pixels in raster order and every sum is whole, so nothing depends on the bands.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range

Result = TypeVar("Result")
AT_ONCE = 1 << 20  # pieces to work on before the pages are handed back, where they are on disk


def label_pieces(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Pieces of `labels` (2 or 3 axes), numbered 0..N-1 in the order of their first pixels."""
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
    """Replace `labels` (D, H, W) by its pieces, numbered by their first pixels; returns how many there are.

    Pieces of fewer than `smallest` pixels, from the first on, join the neighbour whose mean intensity in `image`
    (C, D, H, W) is nearest (ties: the one that begins first), as it has become by then. Lists of pieces are kept in
    `storage`; they are worked on in the order of the pixels, of which about `band` are in hand at a time.
    """
    lines = labels.reshape(-1, labels.shape[2])
    values = image.reshape(image.shape[0], *lines.shape)
    height = labels.shape[1]
    bands = [split_range(stop, workers.threads, start) for start, stop in cut_bands(lines.shape, band)]

    def walk(work: Callable[[int, int], Result]) -> Iterator[Result]:
        for inner in bands:
            yield from workers.run(work, inner)
            storage.release()

    ends = np.cumsum([0, *walk(lambda start, stop: int(_count(lines, height, start, stop)))]).tolist()
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"the image falls into up to {ends[-1]} pieces, more than can be numbered: smooth it more")
    starts = [start for inner in bands for start, _ in inner]
    offsets = dict(zip(starts, ends[:-1], strict=True))
    parent, label = storage.empty((ends[-1],), np.int32), storage.empty((ends[-1],), np.int32)
    sums = storage.zeros((ends[-1], 1 + image.shape[0]), np.int64)

    def scan(start: int, stop: int) -> int:
        return int(_scan(lines, values, height, start, stop, offsets[start], parent, label, sums))

    used = list(zip(ends[:-1], walk(scan), strict=True))
    for start, stop in [piece for inner in bands for piece in inner][1:]:
        _sew(lines, height, start, stop, parent, label)
        storage.release()
    final, roots = _roots(used, smallest, parent, sums, storage)
    storage.drop(label)
    if smallest > 1:
        for _ in walk(lambda start, stop: _renumber(lines, start, stop, final)):
            pass
        storage.drop(final, parent)
        edges = storage.concatenate(walk(lambda start, stop: np.asarray(_small_edges(lines, height, start, stop))))
        final, roots = _merge_small(edges, smallest, sums[:roots], storage, at_once)
        for _ in walk(lambda start, stop: _renumber_signed(lines, start, stop, final)):
            pass
    else:
        for _ in walk(lambda start, stop: _renumber(lines, start, stop, final)):
            pass
    return roots


def _roots(
    used: list[Band], smallest: int, parent: NDArray[np.int32], sums: NDArray[np.int64], storage: Storage
) -> tuple[NDArray[np.int32], int]:
    """Number the roots and move their sums to the front: provisional piece -> number, or ~number if it is too small."""
    final, count = storage.empty(parent.shape, np.int32), 0
    for first, last in used:
        count = int(_number(first, last, count, parent, sums, final))
        storage.release()
    for first, last in used:
        _mark_small(first, last, smallest, sums, final)
        storage.release()
    return final, count


def _merge_small(
    edges: NDArray[np.int32], smallest: int, sums: NDArray[np.int64], storage: Storage, at_once: int
) -> tuple[NDArray[np.int32], int]:
    """Final number of every piece, and how many numbers there are, after the small ones have joined a neighbour."""
    count = sums.shape[0]
    parent, final = storage.empty((count,), np.int32), storage.empty((count,), np.int32)
    head, tail = storage.empty((count,), np.int64), storage.empty((count,), np.int64)
    following, means = storage.empty((edges.shape[0],), np.int64), storage.empty((count, sums.shape[1] - 1), np.float64)
    pieces = cut_bands((count,), at_once) if storage.on_disk else [(0, count)]
    for first, last in pieces:
        _alone(first, last, sums, parent, final, head, means)
        storage.release()
    for first, last in cut_bands(edges.shape[:1], at_once):
        _link(first, last, edges, head, tail, following)
        storage.release()
    for first, last in pieces:
        _merge(first, last, edges, smallest, sums, means, parent, head, tail, following)
        storage.release()
    numbered = 0
    for first, last in pieces:
        numbered = int(_renumber_pieces(first, last, numbered, parent, final))
        storage.release()
    storage.drop(parent, head, tail, following, means, edges)
    return final, numbered


@njit(cache=True, nogil=True)
def find_root(parent, node):  # type: ignore[no-untyped-def]
    """Root of `node` in a union-find forest, whose paths it halves."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent, first, second):  # type: ignore[no-untyped-def]
    """The root that begins first stays a root."""
    first, second = find_root(parent, first), find_root(parent, second)
    if first < second:
        parent[second] = first
    elif second < first:
        parent[first] = second


@njit(cache=True, nogil=True)
def _count(lines, height, start, stop):  # type: ignore[no-untyped-def]
    """Upper bound of the runs in rows `start` to `stop` that continue no run of the row above in the same band."""
    count = 0
    for row in range(start, stop):
        line = lines[row]
        count += 1
        if row == start or row % height == 0:
            for x in range(1, line.size):
                count += line[x] != line[x - 1]
        else:
            above = lines[row - 1]
            for x in range(1, line.size):
                count += (line[x] != line[x - 1]) & (line[x] != above[x])
    return count


@njit(cache=True, nogil=True)
def _scan(lines, values, height, start, stop, offset, parent, label, sums):  # type: ignore[no-untyped-def]
    """Replace the labels of the rows by provisional pieces from `offset` on; returns where these end."""
    width = lines.shape[1]
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
            piece = _touching(above, begin, end, here, parent, label, np.int32(-1))
            piece = _touching(behind, begin, end, here, parent, label, piece)
            if piece < 0:
                piece = np.int32(fresh)
                fresh += 1
                parent[piece], label[piece] = piece, here
            line[begin:end] = piece
            sums[piece, 0] += end - begin
            for channel in range(values.shape[0]):
                run = values[channel, row]
                total = np.int64(0)
                for x in range(begin, end):
                    total += np.int64(run[x])
                sums[piece, 1 + channel] += total
    return fresh


@njit(cache=True, nogil=True)
def _touching(other, begin, end, here, parent, label, piece):  # type: ignore[no-untyped-def]
    """Join the pieces of `other` over [begin, end) that carry the label `here` with each other and `piece`."""
    if other.size == 0:
        return piece
    previous = np.int32(-1)
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
def _sew(lines, height, start, stop, parent, label):  # type: ignore[no-untyped-def]
    """Join what meets across the seam before row `start`: with the row above, and with the plane before."""
    if start % height:
        _sew_row(lines[start], lines[start - 1], parent, label)
    for row in range(max(start, height), min(start + height, stop)):
        _sew_row(lines[row], lines[row - height], parent, label)


@njit(cache=True, nogil=True)
def _sew_row(line, other, parent, label):  # type: ignore[no-untyped-def]
    for x in range(line.size):
        if label[line[x]] == label[other[x]]:
            _join(parent, line[x], other[x])


@njit(cache=True, nogil=True)
def _number(first, last, count, parent, sums, final):  # type: ignore[no-untyped-def]
    for piece in range(first, last):
        root = find_root(parent, piece)
        if root == piece:
            final[piece] = count
            sums[count] = sums[piece]
            count += 1
        else:
            final[piece] = final[root]
            sums[final[root]] += sums[piece]
    return count


@njit(cache=True, nogil=True)
def _mark_small(first, last, smallest, sums, final):  # type: ignore[no-untyped-def]
    for piece in range(first, last):
        if sums[final[piece], 0] < smallest:
            final[piece] = ~final[piece]


@njit(cache=True, nogil=True)
def _small_edges(lines, height, start, stop):  # type: ignore[no-untyped-def]
    """(small piece, neighbouring piece) of every face of a small piece but for repetitions along a row: (E, 2)."""
    width = lines.shape[1]
    edges, count = np.empty((1024, 2), dtype=np.int32), 0
    last = np.empty((6, 2), dtype=np.int32)
    for row in range(start, stop):
        line = lines[row]
        last[:] = -1
        for x in range(width):
            here = line[x]
            if here >= 0:
                continue
            for side in range(6):
                if side < 2:
                    other, column = row, x + 2 * side - 1
                    inside = 0 <= column < width
                else:
                    other, column = row + (2 * (side % 2) - 1) * (1 if side < 4 else height), x
                    inside = 0 <= other < lines.shape[0] and (side >= 4 or other // height == row // height)
                if not inside:
                    continue
                there = lines[other, column]
                if there == here or (last[side, 0] == here and last[side, 1] == there):
                    continue
                last[side] = here, there
                if count == edges.shape[0]:
                    larger = np.empty((2 * count, 2), dtype=np.int32)
                    larger[:count] = edges
                    edges = larger
                edges[count] = ~here, there if there >= 0 else ~there
                count += 1
    return edges[:count]


@njit(cache=True, nogil=True)
def _alone(first, last, sums, parent, final, head, means):  # type: ignore[no-untyped-def]
    for piece in range(first, last):
        parent[piece], final[piece], head[piece] = piece, -1, -1
        for channel in range(means.shape[1]):
            means[piece, channel] = sums[piece, 1 + channel] / sums[piece, 0]


@njit(cache=True, nogil=True)
def _link(first, last, edges, head, tail, following):  # type: ignore[no-untyped-def]
    """The edges of a small piece as a linked list from `head` through `following` to `tail`."""
    for edge in range(first, last):
        small = edges[edge, 0]
        before = head[small]
        if before < 0:
            tail[small] = edge
        elif edges[before, 1] == edges[edge, 1]:
            continue
        following[edge] = before
        head[small] = edge


@njit(cache=True, nogil=True)
def _merge(first, last, edges, smallest, sums, means, parent, head, tail, following):  # type: ignore[no-untyped-def]
    """Join small pieces to their neighbours; the edges of one go on to what it joins, as long as that is small."""
    for piece in range(first, last):
        if parent[piece] != piece or sums[piece, 0] >= smallest:
            continue
        target = _most_alike(piece, head[piece], following, edges, parent, means)
        if target < 0:
            continue
        parent[piece] = target
        for item in range(sums.shape[1]):
            sums[target, item] += sums[piece, item]
        for channel in range(means.shape[1]):
            means[target, channel] = sums[target, 1 + channel] / sums[target, 0]
        if head[piece] >= 0 and sums[target, 0] < smallest:
            following[tail[piece]] = head[target]
            if head[target] < 0:
                tail[target] = tail[piece]
            head[target] = head[piece]


@njit(cache=True, nogil=True)
def _renumber_pieces(first, last, numbered, parent, final):  # type: ignore[no-untyped-def]
    for piece in range(first, last):
        root = find_root(parent, piece)
        if final[root] < 0:
            final[root] = numbered
            numbered += 1
        final[piece] = final[root]
    return numbered


@njit(cache=True, nogil=True)
def _most_alike(piece, edge, following, edges, parent, means):  # type: ignore[no-untyped-def]
    """The neighbour of nearest mean intensity, the first of equals; -1 without neighbours."""
    best, target = np.inf, -1
    while edge >= 0:
        other = find_root(parent, edges[edge, 1])
        edge = following[edge]
        if other == piece:
            continue
        distance = 0.0
        for channel in range(means.shape[1]):
            distance += (means[other, channel] - means[piece, channel]) ** 2
        if distance < best or (distance == best and other < target):
            best, target = distance, other
    return target


@njit(cache=True, nogil=True)
def _renumber(lines, start, stop, final):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        line = lines[row]
        for x in range(line.size):
            line[x] = final[line[x]]


@njit(cache=True, nogil=True)
def _renumber_signed(lines, start, stop, final):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        line = lines[row]
        for x in range(line.size):
            piece = line[x]
            line[x] = final[piece if piece >= 0 else ~piece]
