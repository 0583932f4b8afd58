"""Exact quantiles of the pixels of each segment; pixels of unfinished segments are carried from slab to slab.

The values of a slab lie segment after segment within each block, and `pieces` says where they are:

    values (C, M)   | carried over      | block 0           | block 1       |
                    | node 7  | node 9  | node 9 | node 12  | node 7 | 12   |
    pieces (3, P)     7         9         9        12         7        12       id of the segment
                      0         m         ...                                   first of its values
                      m         n         ...                                   their number

Sorted by id, the pieces of one segment lie side by side, and `nodes` (4, K) says where: id, number of values that were
seen, first piece and end of the pieces. A segment whose pixels were all seen is measured, any other carried over.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers, list_singles, split_range
from bench.superpixels.runs import SegmentBlock, Slab, count_run_pixels

_FEW = 24  # values of a bucket that are sorted by insertion
_COMPARED = 128  # values that are sorted by comparing each with all: the faster way up to about here
_LANES = 16  # values are compared in multiples of so many, so that the inner loop has no remainder
_BUCKETS = 4096  # at most, of about one value each


class Quantiles:
    """Collects the quantiles `levels` in [0, 1], linear between ranks as `numpy.quantile`: `found` (N, C, Q).

    A segment is measured as soon as its last pixel was read, which its pixel count in `counts` (N,) tells. In memory
    are the pixels of a slab and those of the segments that go on below it.
    """

    def __init__(self, counts: NDArray[np.int64], channels: int, levels: tuple[float, ...], storage: Storage) -> None:
        self._counts, self._levels = counts, np.array(levels)
        self.found = storage.empty((len(counts), channels, len(levels)), np.float32)
        self._held = np.empty((channels, 0), np.float32)  # values carried over
        self._pieces = np.zeros((3, 0), np.int64)  # node, first of its values, their number

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add the pixels of a slab, and measure the segments of which all pixels have been read.

        Args:
            slab: Rows of the image and its segments, from the first slab to the last.
            parts: The blocks of the slab.
            workers: Threads that share the blocks, and the segments that are measured.
        """
        values, pieces = self._group(slab, parts, workers)
        pieces = pieces.take(np.argsort(pieces[0], kind="stable"), axis=1)
        nodes, first = np.unique(pieces[0], return_index=True)
        seen = np.add.reduceat(pieces[2], first) if len(nodes) else np.zeros(0, np.int64)
        ends = np.append(first[1:], pieces.shape[1])
        whole = seen == self._counts[nodes]
        table = np.stack([nodes, seen, first, ends])
        ready = table.compress(whole, axis=1)
        workers.run(
            lambda low, high: _measure_nodes(values, pieces, ready, low, high, self._levels, self.found),
            split_range(ready.shape[1], 8 * workers.threads) if whole.any() else [],
        )
        self._held, self._pieces = _carry_over(values, pieces, table.compress(~whole, axis=1))

    def _group(
        self, slab: Slab, parts: list[SegmentBlock], workers: Workers
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the values (C, M) that were carried over and those of each block, and their pieces as drawn above."""
        _, height, width = slab.shape
        pixels = slab.pixels.reshape(len(slab.pixels), -1, width)
        sizes = [(part.stop - part.first) * height * (part.right - part.left) for part in parts]
        bases = np.cumsum([self._held.shape[1], *sizes]).tolist()
        values = np.empty((len(pixels), bases[-1]), np.float32)
        values[:, : bases[0]] = self._held

        def group(index: int, _: int) -> NDArray[np.int64]:
            block = parts[index]
            line = (block.first - slab.top) * height
            return np.asarray(_group_block(block, pixels, line, height, bases[index], values))

        found = workers.run(group, list_singles(len(parts)))
        return values, np.concatenate([self._pieces, *found], axis=1)


@njit(cache=True, nogil=True)
def _group_block(block, pixels, line, height, base, values):  # type: ignore[no-untyped-def]
    """Sort a block's own pixels by segment into `values` from `base` on, and return the pieces (3, segments).

    A counting sort. `pixels` (C, lines, W) are those of the slab, in which the block begins with the line `line`.
    """
    runs, count = block.runs, (block.stop - block.first) * height
    first, node, start, end, ids = runs.first, runs.node, runs.start, runs.end, runs.ids
    sizes = count_run_pixels(block, count)
    cursor = np.empty(ids.size, dtype=np.int64)
    pieces = np.empty((3, ids.size), dtype=np.int64)
    known = 0
    for local in range(ids.size):
        cursor[local] = base
        if sizes[local] > 0:
            pieces[0, known], pieces[1, known], pieces[2, known] = ids[local], base, sizes[local]
            known += 1
        base += sizes[local]
    for here in range(count):
        for run in range(first[here], first[here + 1]):
            low, high = start[run], end[run]
            if low >= block.right:
                break
            size, place = high - low, cursor[node[run]]
            for channel in range(pixels.shape[0]):
                source, target = pixels[channel, line + here, low:high], values[channel, place : place + size]
                for column in range(size):
                    target[column] = source[column]
            cursor[node[run]] = place + size
    return pieces[:, :known].copy()


@njit(cache=True, nogil=True)
def _carry_over(values, pieces, nodes):  # type: ignore[no-untyped-def]
    """Return the values of `nodes` (4, K) alone, (C, total), and their pieces (3, K)."""
    total = 0
    for index in range(nodes.shape[1]):
        total += nodes[1, index]
    carried = np.empty((values.shape[0], total), dtype=np.float32)
    places = np.empty((3, nodes.shape[1]), dtype=np.int64)
    base = 0
    for index in range(nodes.shape[1]):
        places[0, index], places[1, index], places[2, index] = nodes[0, index], base, nodes[1, index]
        for channel in range(values.shape[0]):
            _copy_pieces(values[channel], pieces, nodes[2, index], nodes[3, index], carried[channel, base:])
        base += nodes[1, index]
    return carried, places


@njit(cache=True, nogil=True)
def _copy_pieces(values, pieces, first, stop, target):  # type: ignore[no-untyped-def]
    """Copy the values of the pieces first..stop to `target`, one after the other."""
    place = 0
    for piece in range(first, stop):
        base, size = pieces[1, piece], pieces[2, piece]
        source, into = values[base : base + size], target[place : place + size]
        for index in range(size):
            into[index] = source[index]
        place += size


@njit(cache=True, nogil=True)
def _measure_nodes(values, pieces, nodes, low, high, levels, found):  # type: ignore[no-untyped-def]
    """Write the quantiles of some nodes, whose values lie in pieces.

        nodes[:, i] = node, pixels, first piece, piece after the last
        pieces[:, j] = node, base, pixels            values[c, base : base + pixels] is the piece in channel c

    Args:
        values: (C, pixels) float32.
        pieces: (3, pieces), those of a node side by side.
        nodes: (4, K).
        low: First column of `nodes`.
        high: Column after the last one.
        levels: (Q,) ascending, in [0, 1].
        found: (N, C, Q) float32, of which the rows of these nodes are written.
    """
    longest = 1
    for index in range(low, high):
        longest = max(longest, nodes[1, index])
    whole, scratch = np.empty(longest, dtype=np.float32), np.empty(longest, dtype=np.float32)
    bucket, ends = np.empty(longest, dtype=np.uint16), np.empty(_BUCKETS, dtype=np.int32)
    padded, places = np.empty(_COMPARED, dtype=np.float32), np.empty(_COMPARED, dtype=np.int32)
    for index in range(low, high):
        size = nodes[1, index]
        for channel in range(values.shape[0]):
            _copy_pieces(values[channel], pieces, nodes[2, index], nodes[3, index], whole)
            into = found[nodes[0, index], channel]
            if size > _COMPARED:
                _find_quantiles(whole[:size], scratch, bucket, ends, levels, into)
                continue
            _sort_by_counting(whole[:size], padded, places, scratch)
            for level in range(levels.size):  # here, where arrays are known not to overlap: four times as fast
                into[level] = _interpolate(scratch, levels[level] * (size - 1))


@njit(cache=True, nogil=True)
def _find_quantiles(values, scratch, bucket, ends, levels, found):  # type: ignore[no-untyped-def]
    """Write the quantiles `levels` (ascending) of `values` to `found`.

    Only the buckets that hold the ranks of the quantiles are sorted. `scratch` and `bucket` have room for all values,
    `ends` for all buckets.
    """
    size = values.size
    least, most = _find_range(values)
    if least == most:
        found[:] = least
        return
    buckets = 1
    while buckets < ends.size and buckets < size:
        buckets *= 2
    scale, top = np.float32(buckets) / (most - least), np.float32(buckets - 1)
    for index in range(size):
        height = (values[index] - least) * scale
        bucket[index] = np.uint16(height if height < top else top)  # the top one also for what is not a number
    ends[:buckets] = 0
    for index in range(size):
        ends[bucket[index]] += 1
    total = 0
    for number in range(buckets):
        total, ends[number] = total + ends[number], total
    for index in range(size):
        place = ends[bucket[index]]
        scratch[place] = values[index]
        ends[bucket[index]] = place + 1
    number, ready = -1, 0  # the values before `ready` that are needed are in their places
    for level in range(levels.size):
        rank = levels[level] * (size - 1)
        below = int(rank)
        above = below + (np.float32(rank - below) > 0)
        while ready <= above:
            number += 1
            start, ready = ready, ends[number]
            if ready > below:
                _sort(scratch[start:ready])
        found[level] = _interpolate(scratch, rank)


@njit(cache=True, nogil=True)
def _interpolate(ordered, rank):  # type: ignore[no-untyped-def]
    """Return the value at a rank, between two values that lie at whole ranks."""
    below = int(rank)
    share = np.float32(rank - below)
    return ordered[below] * (np.float32(1) - share) + ordered[below + (share > 0)] * share


@njit(cache=True, nogil=True)
def _sort_by_counting(values, padded, places, ordered):  # type: ignore[no-untyped-def]
    """Write at most `_COMPARED` values to `ordered` in ascending order: the place of each is how many are smaller.

    Equal values have the same place, and those after it stay free; the largest value before is theirs. `padded` and
    `places` (_COMPARED,) are room for the work.
    """
    size = values.size
    count = (size + _LANES - 1) // _LANES * _LANES
    for index in range(size):
        padded[index], ordered[index] = values[index], -np.inf
    for index in range(size, count):
        padded[index] = np.inf
    for index in range(count):
        places[index] = 0
    for one in range(size):
        value = padded[one]
        for index in range(count):
            places[index] += value < padded[index]
    for index in range(size):
        ordered[places[index]] = padded[index]
    for index in range(1, size):
        ordered[index] = max(ordered[index], ordered[index - 1])


@njit(cache=True, nogil=True)
def _find_range(values):  # type: ignore[no-untyped-def]
    """Return the smallest and the largest value; four at a time, as they do not wait for each other."""
    a = b = c = d = aa = bb = cc = dd = values[0]
    whole = values.size // 4 * 4
    for x in range(0, whole, 4):
        one, two, three, four = values[x], values[x + 1], values[x + 2], values[x + 3]
        a, b, c, d = min(a, one), min(b, two), min(c, three), min(d, four)
        aa, bb, cc, dd = max(aa, one), max(bb, two), max(cc, three), max(dd, four)
    for x in range(whole, values.size):
        a, aa = min(a, values[x]), max(aa, values[x])
    return min(a, b, c, d), max(aa, bb, cc, dd)


@njit(cache=True, nogil=True)
def _sort(values):  # type: ignore[no-untyped-def]
    if values.size > _FEW:
        values.sort()
        return
    for index in range(1, values.size):
        value, place = values[index], index
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
