"""Scratch arrays as large as an image: in memory, or in memory-mapped files whose pages are handed back."""

import contextlib
import mmap
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.arrays.threads import Band

ROWS = 1 << 18  # of an array that are copied at a time


class Storage:
    """Arrays in memory or, given `scratch`, in files of that folder, which are deleted at the end of the `with` block.

    A file takes its place on the disk when it is made, so that a full disk is an OSError and not a fault.
    """

    def __init__(self, scratch: Path | None) -> None:
        self._scratch = scratch
        self._maps: dict[Path, tuple[mmap.mmap, NDArray[Any]]] = {}

    def __enter__(self) -> "Storage":
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._maps:
            with contextlib.suppress(PermissionError):  # a mapped file, on some systems; its folder goes later
                path.unlink()
        self._maps.clear()

    @property
    def on_disk(self) -> bool:
        """Whether the arrays lie in files."""
        return self._scratch is not None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array that must be written before it is read."""
        if self._scratch is None or prod(shape) == 0:
            return np.empty(shape, dtype=dtype)
        return self._map(create_file(self._scratch, prod(shape) * np.dtype(dtype).itemsize), shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of zeros, as a new file is."""
        return np.zeros(shape, dtype=dtype) if self._scratch is None else self.empty(shape, dtype)

    def concatenate(self, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """Put `parts` one after the other along the first axis; on disk only one of them is in memory at a time."""
        if self._scratch is None:
            return np.concatenate(list(parts))
        path, length = create_file(self._scratch, 0), 0
        with path.open("wb") as file:
            for part in parts:
                part.tofile(file)
                length += part.shape[0]
                rest, dtype = part.shape[1:], part.dtype
        if length == 0:
            path.unlink()
            return np.empty((0, *rest), dtype=dtype)
        return self._map(path, (length, *rest), dtype)

    def fill(self, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """Return an array of rows that are made part by part; a file is written, which costs no faults of its pages.

        Args:
            shape: Of the array, (rows, ...).
            dtype: Of the array.
            parts: Its rows in their order; each part is let go before the next is made.
        """
        if self._scratch is None or prod(shape) == 0:
            array, low = np.empty(shape, dtype=dtype), 0
            for part in parts:
                array[low : low + len(part)] = part
                low += len(part)
            return array
        path = create_file(self._scratch, prod(shape) * np.dtype(dtype).itemsize)
        with path.open("r+b") as file:
            for part in parts:
                np.ascontiguousarray(part, dtype).tofile(file)
        return self._map(path, shape, dtype)

    def fill_bands(
        self, shape: tuple[int, ...], dtype: DTypeLike, bands: Sequence[Band], write: Callable[[int, int, Any], None]
    ) -> NDArray[Any]:
        """Return an array that is made band by band, in its place in memory or, as by `fill`, in a file.

        Args:
            shape: Of the array, (rows, ...).
            dtype: Of the array.
            bands: First row and end of each band, in ascending order; together they are all rows.
            write: `write(low, high, into)` writes the rows low..high to `into` (high - low, ...).
        """
        if self._scratch is None or prod(shape) == 0:
            array = np.empty(shape, dtype)
            for low, high in bands:
                write(low, high, array[low:high])
            return array

        def make() -> Iterator[NDArray[Any]]:
            for low, high in bands:
                band = np.empty((high - low, *shape[1:]), dtype)
                write(low, high, band)
                yield band

        return self.fill(shape, dtype, make())

    def release(self) -> None:
        """Hand back the resident pages of all files; what they hold stays."""
        if sys.platform != "win32":
            for pages, _ in self._maps.values():
                pages.madvise(mmap.MADV_DONTNEED)

    def drop(self, *arrays: NDArray[Any]) -> None:
        """Delete the files of `arrays`, which must not be used again; arrays of no file are left alone."""
        for array in arrays:
            path = self._find_file(array)
            if path is not None:
                del self._maps[path]
                path.unlink()

    def keep(self, array: NDArray[Any], place: Path | None = None) -> NDArray[Any]:
        """Return the array for good: from disk a memory map of its file, which stays in the folder.

        Args:
            array: An array of this storage, or its first rows; any other is returned as it is.
            place: Name on the same disk that the file takes, and the array is then writable; None leaves it there.
        """
        path = self._find_file(array)
        if path is None:
            return array
        del self._maps[path]
        if place is None:
            return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)
        path.rename(place)
        return np.memmap(place, dtype=array.dtype, mode="r+", shape=array.shape)

    def start_rows(self, dtype: DTypeLike, tail: tuple[int, ...] = ()) -> "RowList":
        """Return an array without rows, each of shape `tail`, that grows at its end."""
        return RowList(self, np.dtype(dtype), tail)

    def start_sums(self, columns: int) -> "RowSums":
        """Return an array of int64 zeros (rows, columns) that gets as many rows as are added to."""
        return RowSums(self, columns)

    def convert(self, array: NDArray[Any], dtype: DTypeLike, rows: int = ROWS) -> NDArray[Any]:
        """Copy an array into this storage in another number type, some rows at a time.

        Args:
            array: Array (rows, ...), of this storage or of any other memory.
            dtype: Number type of the copy; values are cast as by `astype`.
            rows: Rows that are copied before the pages of files are handed back.

        Returns:
            The copy, of the shape of `array`.

        Raises:
            OSError: The disk has no room for the copy.
        """
        copy = self.empty(array.shape, dtype)
        for low in range(0, len(array), rows):
            copy[low : low + rows] = array[low : low + rows]
            self.release()
        return copy

    def _find_file(self, array: NDArray[Any]) -> Path | None:
        """Return the file that an array of this storage, or its first rows, lies in."""
        start = array.__array_interface__["data"][0]
        found = (path for path, (_, whole) in self._maps.items() if whole.__array_interface__["data"][0] == start)
        return next(found, None) if array.size > 0 and array.flags.c_contiguous else None

    def start_file(self) -> Path | None:
        """Return a new, empty file of the folder, for `adopt_file`; None in memory."""
        return None if self._scratch is None else create_file(self._scratch, 0)

    def adopt_file(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Take over a file of `start_file` that values were written to, as a writable array of this storage.

        Args:
            path: The file, which holds the values in C order and nothing else; it is deleted where there are none.
            shape: Shape of the array.
            dtype: Number type of the values.

        Returns:
            The array, mapped from the file; an empty one is in memory.

        Raises:
            ValueError: The file has another number of bytes than such an array.
        """
        if prod(shape) == 0:
            path.unlink()
            return np.empty(shape, dtype)
        return self._map(path, shape, dtype)

    def _map(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        with path.open("r+b") as file:
            pages = mmap.mmap(file.fileno(), 0)
        array = np.frombuffer(pages, dtype=dtype).reshape(shape)
        self._maps[path] = pages, array
        return array


def create_file(folder: Path, size: int) -> Path:
    """Make a file of zeros that has its place on the disk.

    Args:
        folder: Folder to make it in.
        size: Its length in bytes.

    Returns:
        Its path, under a name of its own.

    Raises:
        OSError: There is no such folder, or no room for the file.
    """
    handle, name = tempfile.mkstemp(suffix=".bin", prefix="superpixels-", dir=folder)
    try:
        reserve(handle, size)
    except OSError as error:
        Path(name).unlink()
        raise OSError(error.errno, f"no room for {size / 2**30:.1f} GiB of scratch in {folder}") from error
    finally:
        os.close(handle)
    return Path(name)


def reserve(handle: int, size: int) -> None:
    """Give an open file its length, and on Linux its place on the disk before it is mapped.

    Without its place a full disk shows only when a mapped page is written, and ends the process without a word.

    Args:
        handle: The file.
        size: Its length in bytes.

    Raises:
        OSError: The disk has no room for it.
    """
    if size and sys.platform == "linux":
        os.posix_fallocate(handle, 0, size)
    else:
        os.ftruncate(handle, size)


class RowList:
    """An array that grows by rows at its end; their number need not be known beforehand."""

    def __init__(self, storage: Storage, dtype: np.dtype[Any], tail: tuple[int, ...]) -> None:
        self._storage, self._dtype, self._tail, self._length = storage, dtype, tail, 0
        self._parts: list[NDArray[Any]] = []
        self._path = storage.start_file()

    def append(self, rows: NDArray[Any]) -> None:
        """Add `rows` (R, *tail) at the end."""
        self._length += len(rows)
        if self._path is None:
            self._parts.append(rows)
            return
        try:
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(rows, self._dtype).data)  # `tofile` does not say what went wrong
        except OSError as error:
            raise OSError(error.errno, f"no room for scratch in {self._path.parent}: {error.strerror}") from error

    def finish(self) -> NDArray[Any]:
        """Return all rows as an array of the storage; nothing can be added any more."""
        if self._path is None:
            empty = np.empty((0, *self._tail), self._dtype)
            return np.concatenate([empty, *self._parts], dtype=self._dtype)
        return self._storage.adopt_file(self._path, (self._length, *self._tail), self._dtype)


class RowSums:
    """Whole numbers that are added up row by row, in as many rows as turn out to be needed."""

    def __init__(self, storage: Storage, columns: int) -> None:
        self._storage, self._columns, self._length = storage, columns, 0
        self._sums: NDArray[np.int64] = storage.zeros((0, columns), np.int64)

    def add(self, first: int, part: NDArray[np.int64]) -> None:
        """Add `part` (R, columns) to the rows from `first` on."""
        end = first + len(part)
        if end > len(self._sums):
            self._sums = self._resize(max(end, 2 * len(self._sums)))
        self._length = max(self._length, end)
        self._sums[first:end] += part

    def finish(self) -> NDArray[np.int64]:
        """Return the sums (rows, columns) as an array of the storage."""
        return self._sums if self._length == len(self._sums) else self._resize(self._length)

    def _resize(self, rows: int) -> NDArray[np.int64]:
        """Return the sums in an array of so many rows; the old array goes."""
        new, kept = self._storage.zeros((rows, self._columns), np.int64), min(rows, self._length)
        for low in range(0, kept, ROWS):
            new[low : min(low + ROWS, kept)] = self._sums[low : min(low + ROWS, kept)]
            self._storage.release()
        self._storage.drop(self._sums)
        return new
