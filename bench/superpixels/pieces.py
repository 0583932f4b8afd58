"""The kernels of `connectivity`: union-find over runs of pixels, and lists of the neighbours of small pieces.

A line is one line of pixels of a volume (D, H, W), whose lines are counted slice by slice: line l has above it line
l - 1, unless l is a multiple of H, and behind it, in the slice before, line l - H.

    labels          a a b b b       pieces        0 0 1 1 1        a run continues the piece of equal label above it or
                    a b b a a                     0 1 1 2 2        behind it; where several meet they are joined, and
                    a a a a c                     0 0 0 0 3        the one that begins first stays the root

    parent (P,)     0  1  0  3      piece 2 met piece 0 in the last line: its root is 0
    label (P,)      a  b  a  c
    sums (P, 1 + C) pixels, and the sum of each channel; of a root those of the pieces that joined it are added later

Small pieces are joined to neighbours in a second pass. The faces of small pieces are `edges` (E, 2): small piece, its
neighbour. Those of one piece form a linked list, so that the lists of two pieces are put together at once:

    head[p] -> following[.] -> ... -> tail[p] -> -1
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Pieces(NamedTuple):
    """A union-find forest of pieces as drawn above: parent (P,), label (P,), sums (P, 1 + C); a record for kernels."""

    parent: NDArray[np.int32]
    label: NDArray[np.int32]
    sums: NDArray[np.int64]


class NeighbourLists(NamedTuple):
    """Neighbours of small pieces as drawn above: edges (E, 2), head (P,), tail (P,), following (E,); for kernels."""

    edges: NDArray[np.int32]
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    following: NDArray[np.int64]


@njit(cache=True, nogil=True)
def find_root(parent, node):  # type: ignore[no-untyped-def]
    """Return the root of `node` in a union-find forest, and halve the path to it."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent, first, second):  # type: ignore[no-untyped-def]
    """Join the trees of two pieces; the root that begins first stays a root."""
    first, second = find_root(parent, first), find_root(parent, second)
    if first < second:
        parent[second] = first
    elif second < first:
        parent[first] = second


@njit(cache=True, nogil=True)
def count_starts(lines, height, start, stop):  # type: ignore[no-untyped-def]
    """Count the runs that may begin a piece: those that continue no run of the line above.

    Args:
        lines: (D * H, W) int32 labels.
        height: Lines of a slice.
        start: First line.
        stop: Line after the last one.

    Returns:
        An upper bound of the pieces that begin in these lines.
    """
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
def scan(lines, values, height, start, stop, offset, pieces):  # type: ignore[no-untyped-def]
    """Replace the labels of lines `start` to `stop` by provisional pieces.

    Args:
        lines: (D * H, W) int32 labels.
        values: (C, D * H, W) uint16 intensities.
        height: Lines of a slice.
        start: First line.
        stop: Line after the last one.
        offset: Number of the first new piece.
        pieces: The `Pieces` to which the new ones are added.

    Returns:
        The number after that of the last new piece.
    """
    parent, label, sums = pieces.parent, pieces.label, pieces.sums
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
            piece = _join_over(above, begin, end, here, parent, label, np.int32(-1))
            piece = _join_over(behind, begin, end, here, parent, label, piece)
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
def _join_over(other, begin, end, here, parent, label, piece):  # type: ignore[no-untyped-def]
    """Join the pieces of line `other` over [begin, end) whose label is `here` with each other and with `piece`."""
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
def sew(lines, height, start, stop, pieces):  # type: ignore[no-untyped-def]
    """Join pieces across the seam between two bands: with the line above, and with the slice before.

    Args:
        lines: (D * H, W) int32 provisional pieces.
        height: Lines of a slice.
        start: First line of the later band.
        stop: Line after its last one.
        pieces: The `Pieces`.
    """
    parent, label = pieces.parent, pieces.label
    if start % height:
        _sew_line(lines[start], lines[start - 1], parent, label)
    for row in range(max(start, height), min(start + height, stop)):
        _sew_line(lines[row], lines[row - height], parent, label)


@njit(cache=True, nogil=True)
def _sew_line(line, other, parent, label):  # type: ignore[no-untyped-def]
    """Join the pieces of two lines wherever pixels of one label meet."""
    for x in range(line.size):
        if label[line[x]] == label[other[x]]:
            _join(parent, line[x], other[x])


@njit(cache=True, nogil=True)
def number_roots(first, last, count, pieces, final):  # type: ignore[no-untyped-def]
    """Number the roots among some pieces, move their sums to that place and add those of the others.

    Args:
        first: First piece.
        last: Piece after the last one.
        count: Number of the first root.
        pieces: The `Pieces`.
        final: (P,) receives the number of each piece's root.

    Returns:
        The number after that of the last root.
    """
    parent, sums = pieces.parent, pieces.sums
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
def mark_small(first, last, smallest, sums, final):  # type: ignore[no-untyped-def]
    """Invert the bits of the numbers of small pieces.

    Args:
        first: First piece.
        last: Piece after the last one.
        smallest: Pixels below which a piece is small.
        sums: (roots, 1 + C) pixels and sums of intensity.
        final: (P,) number of each piece's root, changed in place.
    """
    for piece in range(first, last):
        if sums[final[piece], 0] < smallest:
            final[piece] = ~final[piece]


@njit(cache=True, nogil=True)
def list_small_edges(lines, height, start, stop):  # type: ignore[no-untyped-def]
    """List the faces of small pieces, but for repetitions along a line.

    Args:
        lines: (D * H, W) int32 pieces, small ones with inverted bits.
        height: Lines of a slice.
        start: First line.
        stop: Line after the last one.

    Returns:
        Small piece and neighbour (E, 2) int32 of each face.
    """
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
def isolate(first, last, sums, parent, final, head, means):  # type: ignore[no-untyped-def]
    """Make each of some pieces a tree of its own without neighbours, and compute its mean intensity.

    Args:
        first: First piece.
        last: Piece after the last one.
        sums: (P, 1 + C) pixels and sums of intensity.
        parent: (P,) receives the piece itself.
        final: (P,) receives -1.
        head: (P,) receives -1, the end of an empty list.
        means: (P, C) receives the mean intensities.
    """
    for piece in range(first, last):
        parent[piece], final[piece], head[piece] = piece, -1, -1
        for channel in range(means.shape[1]):
            means[piece, channel] = sums[piece, 1 + channel] / sums[piece, 0]


@njit(cache=True, nogil=True)
def link_edges(first, last, neighbours):  # type: ignore[no-untyped-def]
    """Put edges at the heads of the lists of their small pieces.

    Args:
        first: First edge.
        last: Edge after the last one.
        neighbours: The `NeighbourLists`.
    """
    edges, head, tail, following = neighbours.edges, neighbours.head, neighbours.tail, neighbours.following
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
def merge_pieces(first, last, smallest, sums, means, parent, neighbours):  # type: ignore[no-untyped-def]
    """Join those of the pieces first..last that are small to the neighbour of nearest mean intensity.

    A piece's list of neighbours is put before that of the piece which it joins, as long as that is small as well.

    Args:
        first: First piece.
        last: Piece after the last one.
        smallest: Pixels below which a piece is small.
        sums: (P, 1 + C) pixels and sums of intensity, those of joined pieces added.
        means: (P, C) mean intensities.
        parent: (P,) the forest.
        neighbours: The `NeighbourLists`.
    """
    edges, head, tail, following = neighbours.edges, neighbours.head, neighbours.tail, neighbours.following
    for piece in range(first, last):
        if parent[piece] != piece or sums[piece, 0] >= smallest:
            continue
        target = _find_most_alike(piece, head[piece], following, edges, parent, means)
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
def number_pieces(first, last, numbered, parent, final):  # type: ignore[no-untyped-def]
    """Number roots in the order of their first pieces.

    Args:
        first: First piece.
        last: Piece after the last one.
        numbered: Number of the next root.
        parent: (P,) the forest.
        final: (P,) receives the number of each piece's root; -1 for roots without one yet.

    Returns:
        The number after that of the last root.
    """
    for piece in range(first, last):
        root = find_root(parent, piece)
        if final[root] < 0:
            final[root] = numbered
            numbered += 1
        final[piece] = final[root]
    return numbered


@njit(cache=True, nogil=True)
def _find_most_alike(piece, edge, following, edges, parent, means):  # type: ignore[no-untyped-def]
    """Return the neighbour of nearest mean intensity, the first of equals; -1 without neighbours."""
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
def renumber(lines, start, stop, final):  # type: ignore[no-untyped-def]
    """Replace pieces by their numbers.

    Args:
        lines: (D * H, W) int32 pieces, small ones with inverted bits.
        start: First line.
        stop: Line after the last one.
        final: (P,) number of each piece.
    """
    for row in range(start, stop):
        line = lines[row]
        for x in range(line.size):
            piece = line[x]
            line[x] = final[piece if piece >= 0 else ~piece]
