"""Which superpixels touch, along how many pixel faces, and with how much contrast across them."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.threads import Workers, list_singles, start_workers
from bench.superpixels.runs import SegmentBlock, Slab, cut_blocks, walk_slabs


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
    faces, count = Faces(image.shape[-1]), 0
    with start_workers(segments.shape) as workers:
        for (slab,) in walk_slabs(image, [segments], rows, Faces.halo):
            faces.collect(slab, cut_blocks(slab, workers), workers)
            count = max(count, int(slab.segments.max()) + 1)
    return faces.merge_pairs(count)


class Faces:
    """Collects the faces between the segments, and those at the border of the image, slab by slab."""

    halo = 1  # rows of pixels beyond the slab

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._pairs: list[NDArray[np.int32]] = []
        self._length: list[NDArray[np.int64]] = []
        self._total: list[NDArray[np.float64]] = []
        self._border: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Count the faces of a slab, as `bench.graphs.pooling.Collector.collect`."""
        depth, height, width = slab.shape
        pixels = slab.pixels.reshape(len(slab.pixels), -1, width)

        def scan(index: int, _: int) -> tuple[NDArray[Any], ...]:
            block = parts[index]
            line = (block.first - slab.top) * height
            return _scan_block(block, pixels, line, depth, height, slab.axes)  # type: ignore[no-any-return]

        for block, found in zip(parts, workers.run(scan, list_singles(len(parts))), strict=True):
            pairs, length, total, border = found
            self._pairs.append(pairs)
            self._length.append(length)
            self._total.append(total)
            self._border.append((block.runs.ids, border))

    def merge_pairs(self, num_nodes: int) -> TouchingPairs:
        """Return all pairs of the segments 0..num_nodes - 1; what was collected of them is let go."""
        first, second = np.concatenate(self._pairs, axis=1)
        length, total = np.concatenate(self._length), np.concatenate(self._total)
        self._pairs, self._length, self._total = [], [], []
        order = order_pairs(first, second, num_nodes)
        pairs, length, total = _merge_parts(first, second, length, total, order)
        return TouchingPairs(pairs, length, total / (length * self._channels))

    def sum_faces(self, touching: TouchingPairs, num_nodes: int) -> NDArray[np.int64]:
        """Return all faces of each segment (N,), at the border of the image and in the pairs that were merged."""
        faces = np.zeros(num_nodes, np.int64)
        for ids, count in self._border:
            faces[ids] += count
        for side in touching.pairs.T:
            faces += np.bincount(side, touching.length, num_nodes).astype(np.int64)
        return faces


@njit(cache=True, nogil=True)
def order_pairs(first, second, count):  # type: ignore[no-untyped-def]
    """Sort pairs of numbers by first, then second: two counting sorts.

    Args:
        first: First numbers (P,).
        second: Second numbers (P,).
        count: All numbers lie below it.

    Returns:
        Indices (P,) of the pairs in ascending order; equal pairs keep theirs.
    """
    order = np.empty(first.size, dtype=np.int64)
    by_second = np.empty(first.size, dtype=np.int64)
    cursor = np.zeros(count + 1, dtype=np.int64)
    for pair in range(first.size):
        cursor[second[pair] + 1] += 1
    cursor = np.cumsum(cursor)
    for pair in range(first.size):
        by_second[cursor[second[pair]]] = pair
        cursor[second[pair]] += 1
    cursor[:] = 0
    for pair in range(first.size):
        cursor[first[pair] + 1] += 1
    cursor = np.cumsum(cursor)
    for pair in by_second:
        order[cursor[first[pair]]] = pair
        cursor[first[pair]] += 1
    return order


@njit(cache=True, nogil=True)
def _merge_parts(first, second, length, total, order):  # type: ignore[no-untyped-def]
    """Return each pair once, in `order`, with the sums of its parts."""
    pairs = np.empty((order.size, 2), dtype=np.int64)
    lengths, totals = np.zeros(order.size, dtype=np.int64), np.zeros(order.size, dtype=np.float64)
    last = -1
    for part in order:
        if last < 0 or pairs[last, 0] != first[part] or pairs[last, 1] != second[part]:
            last += 1
            pairs[last, 0], pairs[last, 1] = first[part], second[part]
        lengths[last] += length[part]
        totals[last] += total[part]
    return pairs[: last + 1], lengths[: last + 1], totals[: last + 1]


@njit(cache=True, nogil=True)
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
    """Return the ids (2, known) of the two nodes of each edge, the lower first."""
    pairs = np.empty((2, known), dtype=np.int32)
    for low in range(ids.size):
        edge = head[low]
        while edge >= 0:
            pairs[0, edge], pairs[1, edge] = min(ids[low], ids[second[edge]]), max(ids[low], ids[second[edge]])
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
        Pairs (2, E) of ids, the lower first; faces (E,) and sums (E,) of absolute steps of each pair; and of each of
        the block's segments the faces at the border of the image.
    """
    runs, row, right = block.runs, block.first, block.right
    first, node, start, end, ids = runs.first, runs.node, runs.start, runs.end, runs.ids
    room = (2 * axes - 1) * node.size
    head = np.full(ids.size, -1, dtype=np.int64)
    second, following = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int64)
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
