"""Segments in one piece each (by faces, not corners), and none too small: banded union-find over runs of pixels.

The numbering follows the first pixels in raster order and every sum is whole, so nothing depends on the bands.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.superpixels.threads import Workers, split


def connected(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Pieces of `labels` (2 or 3 axes), numbered 0..N-1 in the order of their first pixels."""
    volume = np.array(labels, dtype=np.int32, order="C", copy=True).reshape((1,) * (3 - labels.ndim) + labels.shape)
    with Workers(1) as workers:
        connect(volume, np.empty((0, *volume.shape), dtype=np.uint16), 1, workers)
    return volume.reshape(labels.shape)


def connect(labels: NDArray[np.int32], image: NDArray[np.uint16], smallest: int, workers: Workers) -> int:
    """Replace `labels` (D, H, W) by its pieces, numbered by their first pixels; returns how many there are.

    Pieces of fewer than `smallest` pixels, from the first on, join the neighbour whose mean intensity in `image`
    (C, D, H, W) is nearest (ties: the one that begins first), as it has become by then.
    """
    lines = labels.reshape(-1, labels.shape[2])
    values = image.reshape(image.shape[0], *lines.shape)
    bands, height = split(lines.shape[0], workers.threads), labels.shape[1]
    ends = np.cumsum(workers.run(lambda start, stop: int(_count(lines, height, start, stop)), bands)).tolist()
    offsets = dict(zip((start for start, _ in bands), [0, *ends[:-1]], strict=True))
    parent, label = np.empty(ends[-1], dtype=np.int32), np.empty(ends[-1], dtype=np.int32)
    sums = np.zeros((ends[-1], 1 + image.shape[0]), dtype=np.int64)

    def scan(start: int, stop: int) -> int:
        return int(_scan(lines, values, height, start, stop, offsets[start], parent, label, sums))

    used = np.array(list(zip(offsets.values(), workers.run(scan, bands), strict=True)), dtype=np.int64)
    for start, _ in bands[1:]:
        _sew(lines, height, start, parent, label)
    final, roots = _roots(used, smallest, parent, sums)
    if smallest > 1:
        workers.run(lambda start, stop: _renumber(lines, start, stop, final), bands)
        edges = workers.run(lambda start, stop: _small_edges(lines, height, start, stop), bands)
        final = _merge(np.concatenate(edges), smallest, sums[:roots])
        roots = int(final.max()) + 1
        workers.run(lambda start, stop: _renumber_signed(lines, start, stop, final), bands)
    else:
        workers.run(lambda start, stop: _renumber(lines, start, stop, final), bands)
    return int(roots)


@njit(cache=True, nogil=True)
def find(parent, node):  # type: ignore[no-untyped-def]
    """Root of `node` in a union-find forest, whose paths it halves."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent, first, second):  # type: ignore[no-untyped-def]
    """The root that begins first stays a root."""
    first, second = find(parent, first), find(parent, second)
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
def _sew(lines, height, start, parent, label):  # type: ignore[no-untyped-def]
    """Join what meets across the seam before row `start`: with the row above, and with the plane before."""
    if start % height:
        _sew_row(lines[start], lines[start - 1], parent, label)
    for row in range(max(start, height), min(start + height, lines.shape[0])):
        _sew_row(lines[row], lines[row - height], parent, label)


@njit(cache=True, nogil=True)
def _sew_row(line, other, parent, label):  # type: ignore[no-untyped-def]
    for x in range(line.size):
        if label[line[x]] == label[other[x]]:
            _join(parent, line[x], other[x])


@njit(cache=True, nogil=True)
def _roots(used, smallest, parent, sums):  # type: ignore[no-untyped-def]
    """Number the roots and move their sums to the front: provisional piece -> number, or ~number if it is too small."""
    final, count = np.empty(parent.size, dtype=np.int32), 0
    for first, last in used:
        for piece in range(first, last):
            root = find(parent, piece)
            if root == piece:
                final[piece] = count
                sums[count] = sums[piece]
                count += 1
            else:
                final[piece] = final[root]
                sums[final[root]] += sums[piece]
    for first, last in used:
        for piece in range(first, last):
            if sums[final[piece], 0] < smallest:
                final[piece] = ~final[piece]
    return final, count


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
def _merge(edges, smallest, sums):  # type: ignore[no-untyped-def]
    """Final number of every piece; the neighbours of a small one are a linked list that goes on to what it joins."""
    count = sums.shape[0]
    parent = np.arange(count).astype(np.int32)
    head, tail = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    following = np.full(edges.shape[0], -1, dtype=np.int64)
    for edge in range(edges.shape[0]):
        small = edges[edge, 0]
        if head[small] < 0:
            tail[small] = edge
        following[edge] = head[small]
        head[small] = edge
    for piece in range(count):
        if parent[piece] != piece or sums[piece, 0] >= smallest:
            continue
        target = _most_alike(piece, head[piece], following, edges, parent, sums)
        if target < 0:
            continue
        parent[piece] = target
        sums[target] += sums[piece]
        if head[piece] >= 0:
            following[tail[piece]] = head[target]
            if head[target] < 0:
                tail[target] = tail[piece]
            head[target] = head[piece]
    final, numbered = np.full(count, -1, dtype=np.int32), 0
    for piece in range(count):
        root = find(parent, piece)
        if final[root] < 0:
            final[root] = numbered
            numbered += 1
        final[piece] = final[root]
    return final


@njit(cache=True, nogil=True)
def _most_alike(piece, edge, following, edges, parent, sums):  # type: ignore[no-untyped-def]
    """The neighbour of nearest mean intensity, the first of equals; -1 without neighbours."""
    best, target = np.inf, -1
    while edge >= 0:
        other = find(parent, edges[edge, 1])
        edge = following[edge]
        if other == piece:
            continue
        distance = 0.0
        for channel in range(1, sums.shape[1]):
            distance += (sums[other, channel] / sums[other, 0] - sums[piece, channel] / sums[piece, 0]) ** 2
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
