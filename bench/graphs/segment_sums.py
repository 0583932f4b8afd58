"""Sums of filter responses over segments, of which only those are in memory that the walk over the image has reached.

Segments whose pixels lie behind become columns, which are written one after the other. What is in memory so depends on
how many segments a slab of the image has, if their numbers grow from its first row to its last, as those of SLIC do.
"""

from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import RowList, Storage
from bench.arrays.threads import WORTH_PIECE, Workers, split_range
from bench.graphs.moments import NODES

OPEN = 1 << 18  # segments whose sums are kept in memory; those of more, of numbers in no order, lie in `storage`

Key = tuple[int, int]  # channel and scale


class SegmentSums:
    """Sums over the segments from `first` on of one segmentation, and the columns of those before.

    Attributes:
        first: The first segment of which pixels may still come.
        stop: The segment after the last one that was met.
    """

    def __init__(
        self, counts: NDArray[np.int64], responses: int, offset: NDArray[np.float32], storage: Storage
    ) -> None:
        """Start with no sums.

        Args:
            counts: Pixels (N,) of the segments.
            responses: Number of filter responses.
            offset: What was subtracted from each channel (C,), which the first response lacks.
            storage: Where columns are put.
        """
        self.first, self.stop = 0, 0
        self._counts, self._responses, self._offset, self._storage = counts, responses, offset, storage
        self._sums: dict[Key, NDArray[np.float64]] = {}
        self._columns: dict[Key, RowList] = {}
        self._found: list[NDArray[np.float32]] = []

    def advance(self, first: int, stop: int, workers: Workers) -> None:
        """Turn the sums of the segments before `first` into columns, and make room for those before `stop`.

        Args:
            first: The first segment that is still to be met, not before that of the last call.
            stop: The segment after the last one to be met next.
            workers: Threads that share the segments.
        """
        stop = max(stop, self.stop)
        passed = first - self.first
        for key, sums in self._sums.items():
            self._write(key, passed, workers)
            self._sums[key] = self._move(sums, passed, stop - first)
        self.first, self.stop = first, stop

    def open_sums(self, key: Key, squared: bool) -> NDArray[np.float64]:
        """Return the sums of a channel and scale over the segments `first`..`stop`, zeros at first.

        They are (S, responses), or (S, 2 responses) where those of the squares follow in the same row.
        """
        if key not in self._sums:
            self._sums[key] = self._make_zeros(self.stop - self.first, self._responses * (1 + squared))
        return self._sums[key]

    def finish(self, key: Key, workers: Workers) -> None:
        """Turn the sums of a channel and scale over all segments that are left into columns, and let them go."""
        self._write(key, self.stop - self.first, workers)
        self._storage.drop(self._sums.pop(key))
        self._found.append(self._columns.pop(key).finish())

    def take(self) -> list[NDArray[np.float32]]:
        """Return the columns (N, ...) of each channel and scale in the order in which they were finished, once."""
        found, self._found = self._found, []
        return found

    def _make_zeros(self, segments: int, width: int) -> NDArray[np.float64]:
        shape = (segments, width)
        return np.zeros(shape) if segments <= OPEN else self._storage.zeros(shape, np.float64)

    def _move(self, sums: NDArray[np.float64], passed: int, segments: int) -> NDArray[np.float64]:
        """Return room for so many segments, with the sums of those that are not passed at its beginning."""
        moved = self._make_zeros(segments, sums.shape[1])
        moved[: len(sums) - passed] = sums[passed:]
        self._storage.drop(sums)
        return moved

    def _write(self, key: Key, segments: int, workers: Workers) -> None:
        """Write the columns of the first segments of a channel and scale, some of them at a time."""
        sums = self._sums[key]
        width = sums.shape[1]
        if key not in self._columns:
            self._columns[key] = self._storage.start_rows(np.float32, (width,))
        counts, offset = self._counts[self.first :], self._offset[key[0]]
        for low, high in cut_bands((segments,), NODES):
            into = np.empty((high - low, width), np.float32)
            work = partial(_write_columns, sums, self._responses, counts, offset, into, low)
            workers.run(work, split_range(high, workers.threads, low, WORTH_PIECE))
            self._columns[key].append(into)
        self._storage.release()


@njit(cache=True, nogil=True)
def add_rows(into, first, ids, sums, squares, start, low, high):  # type: ignore[no-untyped-def]
    """Add the sums of a block's segments, of which only the ids low..high count, to those of all segments, in place.

    Args:
        into: Sums (S, responses) of the segments from `first` on, or (S, 2 responses) with those of squares.
        first: Id of the segment in the first row of `into`.
        ids: Ids (n,) of the block's segments, each once, in `first`..`first` + S - 1.
        sums: Sums (M, responses) of the segments of some blocks.
        squares: Those of squares, which are left alone where `into` has no place for them.
        start: Row of the block's first segment; the n segments lie in the rows from there on.
        low: First id.
        high: Id after the last one.
    """
    responses = sums.shape[1]
    for place in range(ids.size):
        if ids[place] < low or ids[place] >= high:
            continue
        row = into[ids[place] - first]
        for column in range(responses):
            row[column] += sums[start + place, column]
        if into.shape[1] > responses:
            for column in range(responses):
                row[responses + column] += squares[start + place, column]


@njit(cache=True, nogil=True)
def _write_columns(sums, responses, counts, offset, into, base, low, high):  # type: ignore[no-untyped-def]
    """Write the columns of the nodes low..high: the mean of each response, and its deviation if there are squares.

    Args:
        sums: Of the responses over the pixels of each node, (N, responses), or (N, 2 responses) with those of squares.
        responses: Number of responses.
        counts: Pixels (N,).
        offset: What was subtracted from the grey values, which the first response still lacks.
        into: Columns (nodes, responses), or (nodes, 2 responses) of means and deviations in turn.
        base: The node with which `into` begins.
        low: First node.
        high: The node after the last one.
    """
    step = sums.shape[1] // responses
    for node in range(low, high):
        for response in range(responses):
            mean = sums[node, response] / counts[node]
            if step == 2:
                variance = sums[node, responses + response] / counts[node] - mean * mean
                into[node - base, 2 * response + 1] = np.sqrt(max(variance, 0.0))
            into[node - base, step * response] = mean + offset if response == 0 else mean
