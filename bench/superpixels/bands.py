"""An image walked once from its first row to its last: bands of rows in memory, cut into blocks for the threads.

Bands are as large as memory allows. Blocks have their fixed places in the image, whatever the bands: what is computed
block by block and put together in their order does not depend on the bands, nor on the number of threads.
"""

import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from bench.arrays.threads import Workers, split, thread_count

ROWS = {2: 64, 3: 8}  # of a block, by the number of spatial axes; a multiple of 8
COLUMNS = 1024  # of a block
_BAND = 1 << 23  # pixels in memory at a time
_SERIAL = 1 << 16  # pixels below which threads cost more than they give


class Array(Protocol):
    """A numpy array, a memory map, or a file that is read when asked, by slices of its first axis."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


class Rows:
    """Steps of the first axis of `source`, each read once while the windows move forward; `dtype` is cast to.

    A plain array is looked at where it is. Of a memory map the pages are handed back as soon as they are copied.
    """

    def __init__(self, source: Array, dtype: DTypeLike) -> None:
        self._source, self._dtype = source, np.dtype(dtype)
        self._start, self._read = 0, np.empty((0, *source.shape[1:]), self._dtype)

    def window(self, start: int, stop: int) -> NDArray[Any]:
        """Steps start..stop, contiguous and writable."""
        source = self._source
        if isinstance(source, np.ndarray) and not isinstance(source, np.memmap):
            part = source[start:stop]
            if source.dtype == self._dtype and part.flags.c_contiguous and part.flags.writeable:
                return part
        held = max(self._start + len(self._read), start)
        kept = self._read[min(start - self._start, len(self._read)) :]
        fresh = np.asarray(source[held:stop], self._dtype)
        self._start, self._read = start, np.concatenate([kept, fresh])
        del fresh
        release(source)
        return self._read


def release(source: Array) -> None:
    """Hand back the resident pages of a memory map, whose contents stay; any other array is left alone."""
    pages = source._mmap if isinstance(source, np.memmap) else None  # type: ignore[attr-defined]
    if pages is not None and sys.platform != "win32":
        pages.madvise(mmap.MADV_DONTNEED)


def workers_for(shape: tuple[int, ...]) -> Workers:
    """Threads for an image of this shape: one where it is tiny."""
    return Workers(thread_count() if prod(shape) >= _SERIAL else 1)


def bands(shape: tuple[int, ...], rows: int | None, block: int) -> list[tuple[int, int]]:
    """First row and end of each band of an image of `shape` (*spatial): about `rows`, in whole `block`s of them."""
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    rows = _BAND // max(prod(shape[1:]), 1) if rows is None else rows
    step = max(rows // block, 1) * block
    return [(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


class Runs(NamedTuple):
    """Pixels of one segment side by side, line after line.

    Of line l the runs first[l]..first[l + 1]; of run r the segment ids[node[r]] and the columns start[r]..end[r].
    """

    first: NDArray[np.int64]
    node: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    ids: NDArray[np.int32]


@dataclass(frozen=True)
class Block:
    """Rows `first`..`stop` and columns `left`..`right` of an image, and its segments as runs.

    The runs also cover the row after and the column after, where there are such.
    """

    first: int
    stop: int
    left: int
    right: int
    runs: Runs


@dataclass(frozen=True)
class Window:
    """What is in memory of an image of `shape` (D, H, W), while the rows `start`..`stop` are worked on.

    `pixels` (C, rows, H, W) begin with row `top`, `segments` (rows, H, W) with row `start`. An image of two axes is
    (D, 1, W); `axes` tells it from a volume.
    """

    shape: tuple[int, int, int]
    axes: int
    start: int
    stop: int
    top: int
    pixels: NDArray[np.float32]
    segments: NDArray[np.int32]


def windows(image: Array, segments: Array, rows: int | None, halo: int) -> Iterator[Window]:
    """The image (*spatial, C) and its segments band after band, with `halo` more rows of pixels on either side."""
    spatial = tuple(image.shape[:-1])
    if spatial != tuple(segments.shape) or len(spatial) not in ROWS:
        raise ValueError(f"image must be (*spatial, C) over segments {tuple(segments.shape)}, got {tuple(image.shape)}")
    depth, height, width = (spatial[0], 1, spatial[1]) if len(spatial) == 2 else spatial
    pixels, labels = Rows(image, np.float32), Rows(segments, np.int32)
    for start, stop in bands(spatial, rows, ROWS[len(spatial)]):
        top, bottom = max(start - halo, 0), min(stop + halo, depth)
        part = pixels.window(top, bottom).reshape(bottom - top, height, width, image.shape[-1])
        planar = np.ascontiguousarray(np.moveaxis(part, -1, 0))
        below = labels.window(start, min(stop + 1, depth)).reshape(-1, height, width)
        yield Window((depth, height, width), len(spatial), start, stop, top, planar, below)


def blocks(window: Window, workers: Workers) -> list[Block]:
    """The blocks of a window, row by row of them."""
    _, height, width = window.shape
    lines = window.segments.reshape(-1, width)
    step = ROWS[window.axes]
    places = [(row, left) for row in range(window.start, window.stop, step) for left in range(0, width, COLUMNS)]

    def find(index: int, _: int) -> Block:
        row, left = places[index]
        stop, right = min(row + step, window.stop), min(left + COLUMNS, width)
        first, last = (row - window.start) * height, (stop + 1 - window.start) * height
        found = _runs(lines, first, min(last, len(lines)), left, right)
        return Block(row, stop, left, right, Runs(*found))

    return workers.run(find, one_by_one(len(places)))


def one_by_one(count: int) -> list[tuple[int, int]]:
    """A task for each of `count` things."""
    return split(count, count) if count else []


@njit(cache=True, nogil=True)
def _runs(lines, first_line, stop_line, left, right):  # type: ignore[no-untyped-def]
    """Runs of lines first_line..stop_line and columns left..right, and the column after as runs of their own."""
    width = min(right + 1, lines.shape[1]) - left
    count, low, high = 0, lines[first_line, left], lines[first_line, left]
    for row in range(first_line, stop_line):
        line = lines[row, left : left + width]
        before, after = line[: right - left - 1], line[1 : right - left]
        for x in range(before.size):
            count += before[x] != after[x]
        for value in line:
            low, high = min(low, value), max(high, value)
        count += 1 + (left + width > right)
    first = np.empty(stop_line - first_line + 1, dtype=np.int64)
    node = np.empty(count, dtype=np.int32)
    start = np.empty(count, dtype=np.int32)
    end = np.empty(count, dtype=np.int32)
    ids = np.empty(min(count, high - low + 1), dtype=np.int32)
    local = np.full(high - low + 1, -1, dtype=np.int32)
    run, known = 0, 0
    for row in range(first_line, stop_line):
        line = lines[row, left : left + width]
        first[row - first_line] = run
        begin = 0
        while begin < width:
            here, x = line[begin], begin + 1
            limit = width if begin >= right - left else min(width, right - left)
            while x < limit and line[x] == here:
                x += 1
            if local[here - low] < 0:
                local[here - low] = known
                ids[known] = here
                known += 1
            node[run], start[run], end[run] = local[here - low], left + begin, left + x
            begin = x
            run += 1
    first[-1] = run
    return first, node, start, end, ids[:known]


@njit(cache=True, nogil=True)
def run_sizes(first, node, start, end, ids, lines, right):  # type: ignore[no-untyped-def]
    """Pixels of each segment in the first `lines` lines, left of the column `right`."""
    sizes = np.zeros(ids.size, dtype=np.int64)
    for run in range(first[lines]):
        if start[run] < right:
            sizes[node[run]] += end[run] - start[run]
    return sizes
