"""Which superpixels touch, along how many pixel faces, and with how much contrast across them."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers, list_singles, start_workers
from bench.superpixels.runs import SegmentBlock, Slab, cut_blocks, walk_slabs

PAIRS = 1 << 20  # that are sorted or merged before the pages are handed back, where they are on disk


class TouchingPairs(NamedTuple):
    """Pairs of segments that share pixel faces.

    Attributes:
        pairs: Ids (E, 2) with i < j, in ascending order.
        length: Length (E,) of their common boundary in pixel faces.
        contrast: Mean (E,) over those faces and the channels of the absolute step of intensity.
    """

    pairs: NDArray[np.int64]
    length: NDArray[np.int64]
    contrast: NDArray[np.float64]


def find_adjacency(segments: Readable, image: Readable, rows: int | None = None) -> TouchingPairs:
    """Find the pairs of segments that touch.

    Args:
        segments: (*spatial) int32, ids 0..N-1 all used.
        image: (*spatial, C).
        rows: About how many rows are in memory at a time; the result does not depend on it.

    Returns:
        The pairs with length and contrast of their boundaries.
    """
    faces, count = Faces(image.shape[-1], Storage(None)), 0
    with start_workers(segments.shape) as workers:
        for (slab,) in walk_slabs(image, [segments], rows, Faces.halo):
            faces.collect(slab, cut_blocks(slab, workers), workers)
            count = max(count, int(slab.segments.max()) + 1)
    return faces.merge_pairs(count)


class Faces:
    """Collects the faces between the segments, and those at the border of the image, slab by slab.

    Args:
        channels: Channels of the image.
        storage: Where arrays as long as there are pairs are put.
        num_nodes: Number of segments N; None where the faces at the border are not asked for.
    """

    halo = 1  # rows of pixels beyond the slab

    def __init__(self, channels: int, storage: Storage, num_nodes: int | None = None) -> None:
        self._channels, self._storage = channels, storage
        self._pairs = storage.start_rows(np.int32, (2,))
        self._length = storage.start_rows(np.int64)
        self._total = storage.start_rows(np.float64)
        self._border = None if num_nodes is None else storage.zeros((num_nodes,), np.int64)

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Count the faces of a slab: between its segments, to the row after it, and at the border of the image.

        Args:
            slab: Rows of the image and its segments, from the first slab to the last; pixels reach `halo` rows further.
            parts: The blocks of the slab.
            workers: Threads that share the blocks; the result does not depend on their number.
        """
        depth, height, width = slab.shape
        pixels = slab.pixels.reshape(len(slab.pixels), -1, width)

        def scan(index: int, _: int) -> tuple[NDArray[Any], ...]:
            block = parts[index]
            line = (block.first - slab.top) * height
            return _scan_block(block, pixels, line, depth, height, slab.axes)  # type: ignore[no-any-return]

        found = workers.run(scan, list_singles(len(parts)))
        for column, values in zip((self._pairs, self._length, self._total), zip(*found, strict=True), strict=False):
            column.append(np.concatenate(values))
        if self._border is not None:
            for block, (*_, border) in zip(parts, found, strict=True):
                self._border[block.runs.ids] += border

    def merge_pairs(self, num_nodes: int) -> TouchingPairs:
        """Return all pairs of the segments 0..num_nodes - 1."""
        storage, length, total = self._storage, self._length.finish(), self._total.finish()
        parts = self._pairs.finish()
        order = sort_pairs(parts, num_nodes, storage)
        pairs = storage.empty((len(parts), 2), np.int64)
        lengths, totals = storage.zeros(length.shape, np.int64), storage.zeros(total.shape, np.float64)
        known = 0
        for low, high in cut_bands(order.shape, PAIRS):
            known = int(_merge_parts(parts, length, total, order[low:high], known, pairs, lengths, totals))
            storage.release()
        storage.drop(parts, length, total, order)
        for low, high in cut_bands((known,), PAIRS):
            totals[low:high] /= lengths[low:high] * self._channels
            storage.release()
        return TouchingPairs(pairs[:known], lengths[:known], totals[:known])

    def sum_faces(self, touching: TouchingPairs) -> NDArray[np.int64]:
        """Return the faces (N,) of each segment, those at the border of the image included; to be called once."""
        assert self._border is not None
        faces = self._border
        for low, high in cut_bands(touching.length.shape, PAIRS):
            _add_faces(touching.pairs[low:high], touching.length[low:high], faces)
            self._storage.release()
        return faces


def sort_pairs(pairs: NDArray[np.integer], count: int, storage: Storage) -> NDArray[np.int64]:
    """Sort pairs of numbers by first, then second: two counting sorts.

    Args:
        pairs: Numbers (P, 2).
        count: All numbers lie below it.
        storage: Where arrays of as many rows as there are pairs or numbers are put.

    Returns:
        Indices (P,) of the pairs in ascending order; equal pairs keep theirs. An array of `storage`.
    """
    by_second = _sort_column(pairs, 1, None, count, storage)
    order = _sort_column(pairs, 0, by_second, count, storage)
    storage.drop(by_second)
    return order


def _sort_column(
    pairs: NDArray[np.integer], column: int, before: NDArray[np.int64] | None, count: int, storage: Storage
) -> NDArray[np.int64]:
    """Return the indices `before` (None: 0, 1, ...) sorted by a column of `pairs`; equal ones keep their order."""
    cursor, order = storage.zeros((count + 1,), np.int64), storage.empty((len(pairs),), np.int64)
    for low, high in cut_bands(order.shape, PAIRS):
        _count_numbers(pairs[low:high, column], cursor)
        storage.release()
    sum_up(cursor, storage)
    for low, high in cut_bands(order.shape, PAIRS):
        _place_pairs(pairs, column, before, low, high, cursor, order)
        storage.release()
    storage.drop(cursor)
    return order


def sum_up(counts: NDArray[np.int64], storage: Storage) -> None:
    """Replace each of the `counts` (N,) by the sum of those up to it."""
    total = 0
    for low, high in cut_bands(counts.shape, PAIRS):
        counts[low] += total
        np.cumsum(counts[low:high], out=counts[low:high])
        total = int(counts[high - 1])
        storage.release()


@njit(cache=True, nogil=True)
def _count_numbers(numbers, cursor):  # type: ignore[no-untyped-def]
    """Count each number n in `cursor[n + 1]`."""
    for number in numbers:
        cursor[number + 1] += 1


@njit(cache=True, nogil=True)
def _place_pairs(pairs, column, before, low, high, cursor, order):  # type: ignore[no-untyped-def]
    """Write the indices low..high of `before` to the places that `cursor` has for their numbers, and move it on."""
    for place in range(low, high):
        pair = place if before is None else before[place]
        number = pairs[pair, column]
        order[cursor[number]] = pair
        cursor[number] += 1


@njit(cache=True, nogil=True)
def _merge_parts(parts, length, total, order, known, pairs, lengths, totals):  # type: ignore[no-untyped-def]
    """Write each pair once, in `order`, with the sums of its parts, after the `known` ones; return how many there are.

    Args:
        parts: Ids (P, 2) of each part of a pair.
        length: Faces (P,) of each part.
        total: Sums (P,) of each part.
        order: Indices of the next parts.
        known: Number of pairs that were written.
        pairs: (P, 2), receives the ids.
        lengths: (P,) zeros, receives the sums of faces.
        totals: (P,) zeros, receives the sums of sums.
    """
    last = known - 1
    for part in order:
        if last < 0 or pairs[last, 0] != parts[part, 0] or pairs[last, 1] != parts[part, 1]:
            last += 1
            pairs[last, 0], pairs[last, 1] = parts[part, 0], parts[part, 1]
        lengths[last] += length[part]
        totals[last] += total[part]
    return last + 1


@njit(cache=True, nogil=True)
def _add_faces(pairs, length, faces):  # type: ignore[no-untyped-def]
    """Add the faces of pairs to the `faces` (N,) of both segments."""
    for pair in range(length.size):
        faces[pairs[pair, 0]] += length[pair]
        faces[pairs[pair, 1]] += length[pair]


@njit(cache=True, nogil=True, inline="always")
def _find_edge(one, other, head, second, following, known):  # type: ignore[no-untyped-def]
    """Return the number of an edge among the first `known`, or enter it as number `known` if it is new.

    The edges of node i, the lower of the two, form a linked list from `head[i]` through `following` to -1; edge e leads
    to node `second[e]`:

        head       [ 2  1 -1 ]      node 0: edge 2 to node 1, then edge 0 to node 2
        second     [ 2  2  1 ]      node 1: edge 1 to node 2
        following  [-1 -1  0 ]
    """
    low, high = min(one, other), max(one, other)
    edge = head[low]
    while edge >= 0 and second[edge] != high:
        edge = following[edge]
    if edge < 0:
        edge = known
        second[edge], following[edge] = high, head[low]
        head[low] = edge
    return edge


@njit(cache=True, nogil=True)
def _list_pairs(ids, head, second, following, known):  # type: ignore[no-untyped-def]
    """Return the ids (known, 2) of the two nodes of each edge, the lower first."""
    pairs = np.empty((known, 2), dtype=np.int32)
    for low in range(ids.size):
        edge = head[low]
        while edge >= 0:
            pairs[edge, 0], pairs[edge, 1] = min(ids[low], ids[second[edge]]), max(ids[low], ids[second[edge]])
            edge = following[edge]
    return pairs


@njit(cache=True, nogil=True)
def _scan_block(block, pixels, line, depth, height, axes):  # type: ignore[no-untyped-def]
    """Count the faces of a block's own pixels: along its lines, to the next line and to the next row.

    Two lines that lie above one another are merged like sorted lists; a face piece x..until ends where either run does:

        line `here`    |   run one     |  one + 1  |
        line `there`   |  two |   two + 1    |
        pieces         |      |        |     |

    Args:
        block: The `SegmentBlock`.
        pixels: (C, lines, W) of the slab.
        line: Line of `pixels` with which the block begins.
        depth: Rows of the image.
        height: Lines of a row: 1 for an image of two axes.
        axes: Number of spatial axes.

    Returns:
        Pairs (E, 2) of ids, the lower first; faces (E,) and sums (E,) of absolute steps of each pair; and of each of
        the block's segments the faces at the border of the image.
    """
    runs, row, right = block.runs, block.first, block.right
    first, node, start, end, ids = runs.first, runs.node, runs.start, runs.end, runs.ids
    room = (2 * axes - 1) * node.size
    head = np.full(ids.size, -1, dtype=np.int32)
    second, following = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
    length, total = np.zeros(room, dtype=np.int64), np.zeros(room, dtype=np.float64)
    border = np.zeros(ids.size, dtype=np.int64)
    width = pixels.shape[2]
    known = 0
    for here in range((block.stop - row) * height):
        z, y = row + here // height, here % height
        for run in range(first[here], first[here + 1]):
            if start[run] >= right:
                break
            outside = (start[run] == 0) + (end[run] == width)
            outside += ((z == 0) + (z == depth - 1)) * (end[run] - start[run])
            if axes == 3:
                outside += ((y == 0) + (y == height - 1)) * (end[run] - start[run])
            border[node[run]] += outside
            if run + 1 < first[here + 1] and node[run] != node[run + 1]:
                edge = _find_edge(node[run], node[run + 1], head, second, following, known)
                known = max(known, edge + 1)
                length[edge] += 1
                x = end[run]
                for channel in range(pixels.shape[0]):
                    values = pixels[channel, line + here]
                    total[edge] += abs(np.float64(values[x]) - np.float64(values[x - 1]))
        for way in range(2):
            if (way == 0 and y + 1 == height) or (way == 1 and z + 1 == depth):
                continue
            there = here + (1 if way == 0 else height)
            one, two = first[here], first[there]
            x = start[one]
            while x < right:
                until = min(end[one], end[two])
                if node[one] != node[two]:
                    edge = _find_edge(node[one], node[two], head, second, following, known)
                    known = max(known, edge + 1)
                    length[edge] += until - x
                    for channel in range(pixels.shape[0]):
                        above, below = pixels[channel, line + here], pixels[channel, line + there]
                        for column in range(x, until):
                            total[edge] += abs(np.float64(above[column]) - np.float64(below[column]))
                one, two = one + (end[one] == until), two + (end[two] == until)
                x = until
    return _list_pairs(ids, head, second, following, known), length[:known].copy(), total[:known].copy(), border
