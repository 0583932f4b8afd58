"""An image and its segments walked once from the first row to the last, in slabs of rows that are cut into blocks.

Slabs are as large as memory allows. Blocks have fixed places in the image, whatever the slabs: what is computed block
by block and put together in their order depends neither on the slabs nor on the number of threads. A block describes
its segments as runs of equal ids, line after line:

    block of 2 lines, columns 4..8   first = [0 2 4]       runs of line l: first[l] .. first[l + 1]
                                     node  = [0 1 0 2]     segment of a run, as an index into ids
        column   4 5 6 7             start = [4 6 4 5]     first column of a run, counted in the image
        line 0   9 9 3 3             end   = [6 8 5 8]     column after its last one
        line 1   9 7 7 7             ids   = [9 3 7]       ids of the block's segments, in order of appearance

A block's runs also cover the line and the row below it and the column to its right (as runs of their own), so that the
faces between blocks are counted by the one above or to the left. Kernels leave those out of sums over pixels: they
stop at the block's last line and at runs that start at column `right` or beyond.

Kernels take such records (`SegmentBlock`, `Runs` and others) as single arguments. The cache of numba holds their class
names and field order but does not check them: after renaming or reordering one, `make clean`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands, release
from bench.arrays.threads import Workers, list_singles

ROWS = {2: 64, 3: 8}  # of a block, by the number of spatial axes; a multiple of 8
COLUMNS = 1024  # of a block
SLAB_PIXELS = 1 << 21  # in memory at a time


class Runs(NamedTuple):
    """Pixels of one segment side by side, line after line, as drawn above.

    Line l has the runs first[l]..first[l + 1]; run r is of the segment ids[node[r]] in the columns start[r]..end[r].
    """

    first: NDArray[np.int64]
    node: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    ids: NDArray[np.int32]


class SegmentBlock(NamedTuple):
    """Rows `first`..`stop` and columns `left`..`right` of an image, and its segments as runs; a record for kernels.

    The runs also cover the row after and the column after, where there are such.
    """

    first: int
    stop: int
    left: int
    right: int
    runs: Runs


@dataclass(frozen=True)
class Slab:
    """The rows `start`..`stop` of an image of `shape` (D, H, W), in memory, with the rows around them.

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


def walk_slabs(image: Readable, views: Sequence[Readable], rows: int | None, halo: int) -> Iterator[tuple[Slab, ...]]:
    """Read an image and its segmentations slab after slab, each row once.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        views: Segmentations of the image, (*spatial) int32 each.
        rows: About how many rows a slab has; None: as many as hold `SLAB_PIXELS`.
        halo: How many more rows of pixels a slab has on either side.

    Yields:
        From the first row to the last, a slab for each segmentation; they share their pixels, whose place in memory
        those of the next slab take.

    Raises:
        ValueError: A segmentation has another shape than the image, or `rows` is less than 1.
    """
    spatial = tuple(image.shape[:-1])
    for segments in views:
        shape = tuple(segments.shape)
        if spatial != shape or len(spatial) not in ROWS:
            raise ValueError(f"image must be (*spatial, C) over segments {shape}, got {tuple(image.shape)}")
    depth, height, width = (spatial[0], 1, spatial[1]) if len(spatial) == 2 else spatial
    bands = cut_bands(spatial, SLAB_PIXELS, rows, ROWS[len(spatial)])
    most = min(max(stop - start for start, stop in bands) + 2 * halo, depth)
    pixels, labels = PlaneReader(image, (height, width), most), [RowReader(segments, np.int32) for segments in views]
    for start, stop in bands:
        top, bottom = max(start - halo, 0), min(stop + halo, depth)
        planes = pixels.read(top, bottom)
        below = [reader.read_rows(start, min(stop + 1, depth)).reshape(-1, height, width) for reader in labels]
        yield tuple(Slab((depth, height, width), len(spatial), start, stop, top, planes, ids) for ids in below)


class PlaneReader:
    """Rows of an image as a plane for each channel, for windows that move from top to bottom.

    There is one buffer: rows that a window shares with the last one are moved in it, and the others are read.
    """

    def __init__(self, image: Readable, line: tuple[int, int], most_rows: int) -> None:
        """Read `image` (*spatial, C), of which a row has the shape `line` (H, W), in windows of at most `most_rows`."""
        self._image, self._tail = image, (*line, image.shape[-1])
        self._in_memory = type(image) is np.ndarray and image.dtype == np.float32
        self._buffer = np.empty(0 if self._in_memory else most_rows * prod(self._tail), np.float32)
        self._top, self._bottom = 0, 0

    def read(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Return the rows top..bottom (C, rows, H, W), which are valid until the next call."""
        if self._in_memory:
            part = np.asarray(self._image[top:bottom]).reshape(-1, *self._tail)
            return np.ascontiguousarray(np.moveaxis(part, -1, 0))
        kept = max(min(self._bottom, bottom) - top, 0) if top >= self._top else 0
        planes = self._move(top - self._top, kept, bottom - top)
        if top + kept < bottom:
            fresh = np.asarray(self._image[top + kept : bottom]).reshape(-1, *self._tail)
            planes[:, kept:] = np.moveaxis(fresh, -1, 0)
            release(self._image)
        self._top, self._bottom = top, bottom
        return planes

    def _move(self, start: int, kept: int, rows: int) -> NDArray[np.float32]:
        """Make room for so many rows of each channel; the first `kept` of them were those from `start` on."""
        height, width, channels = self._tail
        held, size = self._bottom - self._top, rows * height * width
        source = self._buffer[: channels * held * height * width].reshape(channels, held, height, width)
        planes = self._buffer[: channels * size].reshape(channels, rows, height, width)
        # In one buffer a channel that grows must not overwrite the next one before that has moved.
        for channel in reversed(range(channels)) if rows > held else range(channels):
            planes[channel, :kept] = source[channel, start : start + kept]
        return planes


def cut_blocks(slab: Slab, workers: Workers) -> list[SegmentBlock]:
    """Cut a slab into blocks, row by row of them, and find the runs of each."""
    _, height, width = slab.shape
    lines = slab.segments.reshape(-1, width)
    step = ROWS[slab.axes]
    places = [(row, left) for row in range(slab.start, slab.stop, step) for left in range(0, width, COLUMNS)]

    def find(index: int, _: int) -> SegmentBlock:
        row, left = places[index]
        stop, right = min(row + step, slab.stop), min(left + COLUMNS, width)
        first, last = (row - slab.start) * height, (stop + 1 - slab.start) * height
        found = _find_runs(lines, first, min(last, len(lines)), left, right)
        return SegmentBlock(row, stop, left, right, Runs(*found))

    return workers.run(find, list_singles(len(places)))


def stack_blocks(blocks: Sequence[SegmentBlock]) -> SegmentBlock:
    """Put the runs of one block in several segmentations one below the other, so that one kernel serves them all.

    Args:
        blocks: The block of each segmentation, at one place of the image and of L lines each.

    Returns:
        A block whose runs are those of the first segmentation in the lines 0..L, of the second in L..2 L, ...; its
        segments are those of the first, then of the second, ...
    """
    if len(blocks) == 1:
        return blocks[0]
    runs = [block.runs for block in blocks]
    ends = np.cumsum([0, *(part.node.size for part in runs)])
    known = np.cumsum([0, *(part.ids.size for part in runs)]).astype(np.int32)
    first = [part.first[:-1] + end for part, end in zip(runs, ends[:-1], strict=True)]
    node = [part.node + base for part, base in zip(runs, known[:-1], strict=True)]
    stacked = Runs(
        np.concatenate([*first, ends[-1:]]),
        np.concatenate(node),
        np.concatenate([part.start for part in runs]),
        np.concatenate([part.end for part in runs]),
        np.concatenate([part.ids for part in runs]),
    )
    return blocks[0]._replace(runs=stacked)


@njit(cache=True, nogil=True)
def _find_runs(lines, first_line, stop_line, left, right):  # type: ignore[no-untyped-def]
    """Find the runs of lines first_line..stop_line and columns left..right, and of the column after as runs apart."""
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
def count_run_pixels(block, lines):  # type: ignore[no-untyped-def]
    """Count the own pixels of each segment of a `SegmentBlock` that has `lines` lines: (len(ids),) int64."""
    runs = block.runs
    sizes = np.zeros(runs.ids.size, dtype=np.int64)
    for run in range(runs.first[lines]):
        if runs.start[run] < block.right:
            sizes[runs.node[run]] += runs.end[run] - runs.start[run]
    return sizes
