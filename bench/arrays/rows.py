"""Images too large for memory, walked from the first row to the last: rows are read once and written in whole chunks.

A row is what one index of the first axis selects: a line of a flat image, a slice of a volume. Numpy only.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.arrays.tiles import Readable, Writable

BAND_BYTES = 1 << 27  # of rows held at once, unless a tile needs more
MOST_ROWS = 1024  # read at once: as deep as the chunks of most files
T = TypeVar("T")


class Typed(Readable, Protocol):
    """An array that can be sliced, and says its type before."""

    @property
    def dtype(self) -> np.dtype[Any]: ...


@runtime_checkable
class Chunked(Protocol):
    """An array that is stored in chunks, such as Zarr's."""

    @property
    def chunks(self) -> tuple[int, ...]: ...


class RowReader:
    """The rows of `image` around those asked for last, in memory; made for windows that come from top to bottom.

    Rows are read in blocks of `rows`, so each chunk of a file is decoded once if its depth divides that. Rows already
    read are kept until a window starts below them. Going back is allowed, and costs reading again.
    """

    def __init__(self, image: Typed, rows: int | None = None) -> None:
        self.image, self.shape = image, image.shape
        self.rows = rows or _depth(image)
        self.start, self.block = 0, np.empty((0, *image.shape[1:]), image.dtype)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        wanted: slice = key[0]
        self._hold(wanted.start, wanted.stop)
        part: NDArray[Any] = self.block[(slice(wanted.start - self.start, wanted.stop - self.start), *key[1:])]
        return part

    def _hold(self, start: int, stop: int) -> None:
        """Make `block` cover the rows from `start` to `stop`."""
        end = self.start + len(self.block)
        if self.start <= start and stop <= end:
            return
        kept = self.block[start - self.start :] if self.start <= start < end else self.block[:0]
        first = start + len(kept)
        last = min(-(-stop // self.rows) * self.rows, self.shape[0])
        block = np.empty((last - start, *self.shape[1:]), self.block.dtype)
        block[: len(kept)] = kept
        self.start, self.block = start, block
        del kept  # the old block goes before the new rows come
        block[first - start :] = self.image[first:last]


class RowWriter:
    """Collects what is assigned from top to bottom, and passes it on to `out` in whole blocks of `rows` rows.

    Every part is assigned once. `close` writes the rest; used as a context, only if nothing was raised.
    """

    def __init__(self, out: Writable, dtype: np.dtype[Any], rows: int) -> None:
        self.out, self.shape, self.rows = out, out.shape, rows
        self.start, self.block = 0, np.empty((0, *out.shape[1:]), dtype)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()

    def __setitem__(self, key: Any, value: Any, /) -> None:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first.stop > self.start + len(self.block):
            self._pass_on(first.start // self.rows * self.rows)
            self._grow(first.stop)
        self.block[(slice(first.start - self.start, first.stop - self.start), *rest)] = value

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


def reader(image: Typed) -> Readable:
    """`image` itself where it is in memory already or one row fills a band; else a `RowReader` of it."""
    if type(image) is np.ndarray or _row_bytes(image.shape, image.dtype) > BAND_BYTES:
        return image
    return RowReader(image)


def writer(out: Writable, dtype: np.dtype[Any]) -> RowWriter:
    """A `RowWriter` in blocks of the chunks of `out`; of single rows where it has none, or they do not fit a band."""
    rows = out.chunks[0] if isinstance(out, Chunked) else 1
    return RowWriter(out, dtype, rows if rows * _row_bytes(out.shape, dtype) <= BAND_BYTES else 1)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the last is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return prod(shape[1:]) * dtype.itemsize


def _depth(image: Typed) -> int:
    """Rows to read at once: a power of two, so that it divides the depth of most chunks or is divided by it."""
    fitting = BAND_BYTES // max(_row_bytes(image.shape, image.dtype), 1)
    return int(min(1 << max(fitting.bit_length() - 1, 0), MOST_ROWS))
