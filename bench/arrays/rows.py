"""Images too large for memory, walked from the first row to the last: rows are read once and written in whole chunks.

A row is what one index of the first axis selects: a line of a flat image, a slice of a volume. Every walk over the
first axis of an array takes its bands from `cut_bands`, and every array that is not in memory is read by `RowReader`.
"""

import mmap
import sys
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.arrays.protocols import Chunked, Readable, Typed, Writable
from bench.arrays.threads import Band

BAND_BYTES = 1 << 27  # of rows in memory at once, unless a tile needs more
MOST_ROWS = 1024  # read at once: as deep as the chunks of most files


def count_rows(shape: Sequence[int], values: int) -> int:
    """Return how many rows of an array of `shape` hold at most `values` values, at least one."""
    return max(values // max(prod(shape[1:]), 1), 1)


def cut_bands(shape: Sequence[int], values: int = 0, rows: int | None = None, multiple: int = 1) -> list[Band]:
    """Cut the first axis of an array into bands of equal height, the last of which may be lower.

    Args:
        shape: Shape of the array.
        values: Most values of a band, unless a band of the least height has more.
        rows: Height of a band, which outweighs `values`.
        multiple: Every band but the last has a multiple of so many rows, and no fewer.

    Returns:
        First row and end of each band, in ascending order.

    Raises:
        ValueError: `rows` is less than 1.
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    height = count_rows(shape, values) if rows is None else rows
    step = max(height // multiple, 1) * multiple
    return [(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def release(source: Readable) -> None:
    """Hand the resident pages of a memory map back to the system; its contents stay. Other arrays are left alone."""
    pages = source._mmap if isinstance(source, np.memmap) else None  # type: ignore[attr-defined]
    if pages is not None and sys.platform != "win32":
        pages.madvise(mmap.MADV_DONTNEED)


class RowReader:
    """The rows of `source` around those read last, in memory; made for windows that move from top to bottom.

    Rows are read in blocks of `depth`, so each chunk of a file is decoded once if its depth divides that. Rows that
    were read are kept until a window starts below them; going back is allowed and costs reading again. The pages of a
    memory map are handed back as soon as they are copied. A numpy array of the type wanted is not copied.
    """

    def __init__(self, source: Readable, dtype: DTypeLike, depth: int = 1) -> None:
        self.source, self.shape, self.dtype, self.depth = source, tuple(source.shape), np.dtype(dtype), depth
        self.start, self.block = 0, np.empty((0, *source.shape[1:]), self.dtype)

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows start..stop as `dtype`, contiguous and writable."""
        if type(self.source) is np.ndarray and self.source.dtype == self.dtype:
            part = self.source[start:stop]
            if part.flags.c_contiguous and part.flags.writeable:
                return part
        self._hold(start, stop)
        return self.block[start - self.start : stop - self.start]

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        rows, *others = key if isinstance(key, tuple) else (key,)
        part: NDArray[Any] = self.read_rows(rows.start, rows.stop)[(slice(None), *others)]
        return part

    def _hold(self, start: int, stop: int) -> None:
        """Make `block` cover the rows from `start` to `stop`."""
        end = self.start + len(self.block)
        if self.start <= start and stop <= end:
            return
        kept = self.block[start - self.start :] if self.start <= start < end else self.block[:0]
        first = start + len(kept)
        last = min(-(-stop // self.depth) * self.depth, self.shape[0])
        block = np.empty((last - start, *self.shape[1:]), self.dtype)
        block[: len(kept)] = kept
        self.start, self.block = start, block
        del kept  # the old block goes before the new rows come
        block[first - start :] = self.source[first:last]
        release(self.source)


class RowWriter:
    """Collects what is assigned from top to bottom, and passes it on to `out` in whole blocks of `depth` rows.

    Every part is assigned once. `close` writes the rest; used as a context, only if nothing was raised.
    """

    def __init__(self, out: Writable, dtype: np.dtype[Any], depth: int) -> None:
        self.out, self.shape, self.depth = out, out.shape, depth
        self.start, self.block = 0, np.empty((0, *out.shape[1:]), dtype)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()

    def __setitem__(self, key: Any, value: Any, /) -> None:
        rows, *others = key if isinstance(key, tuple) else (key,)
        if rows.stop > self.start + len(self.block):
            self._pass_on(rows.start // self.depth * self.depth)
            self._grow(rows.stop)
        self.block[(slice(rows.start - self.start, rows.stop - self.start), *others)] = value

    def close(self) -> None:
        """Write what is left."""
        self._pass_on(self.start + len(self.block))

    def _pass_on(self, stop: int) -> None:
        """Write the rows above `stop`, which nothing further will be assigned to, and let them go."""
        done = stop - self.start
        if done > 0:
            self.out[self.start : stop] = self.block[:done]
            self.start, self.block = stop, self.block[done:].copy()

    def _grow(self, stop: int) -> None:
        block = np.empty((stop - self.start, *self.shape[1:]), self.block.dtype)
        block[: len(self.block)] = self.block
        self.block = block


def read_by_rows(image: Typed, most_bytes: int = BAND_BYTES, most_rows: int = MOST_ROWS) -> Typed:
    """Return a `RowReader` of an image that is read in windows from top to bottom.

    Args:
        image: Any typed array; one that is in memory is returned as it is.
        most_bytes: Size of a block of rows; an image of which one row is larger is returned as it is.
        most_rows: Height of a block of rows.

    Returns:
        A reader in blocks of a power of two of rows, which divides the depth of most chunks or is divided by it.
    """
    row_bytes = max(prod(image.shape[1:]) * image.dtype.itemsize, 1)
    if type(image) is np.ndarray or row_bytes > most_bytes:
        return image
    depth = 1 << ((most_bytes // row_bytes).bit_length() - 1)
    return RowReader(image, image.dtype, min(depth, most_rows))


def write_by_rows(out: Writable, dtype: np.dtype[Any], most_bytes: int = BAND_BYTES) -> RowWriter:
    """Return a `RowWriter` for an array that is written in windows from top to bottom.

    Args:
        out: Any writable array.
        dtype: Type of the values to be written.
        most_bytes: Size of a block of rows.

    Returns:
        A writer in blocks as deep as the chunks of `out`; of single rows where it has none, or they are too large.
    """
    depth = out.chunks[0] if isinstance(out, Chunked) else 1
    fits = depth * prod(out.shape[1:]) * dtype.itemsize <= most_bytes
    return RowWriter(out, dtype, depth if fits else 1)
