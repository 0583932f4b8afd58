"""Where what is as large as the image lives: in memory, or in memory-mapped files whose pages are handed back."""

import contextlib
import mmap
import os
import sys
import tempfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

_BAND = 1 << 22  # values in memory at a time, where the rest is on disk


class Image(Protocol):
    """(*spatial, C) with 2 or 3 spatial axes: an array, or a file that is read when asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


def lifted(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image (*spatial, C) with three spatial axes."""
    return (1,) * (4 - len(shape)) + tuple(shape)


def read(image: Image, start: int, stop: int) -> NDArray[np.float32]:
    """A part of the first axis: (D, H, W, C), contiguous, without a copy where it is that already."""
    part = np.ascontiguousarray(image[start:stop], dtype=np.float32)
    return part.reshape(lifted(part.shape))


def rows_at_once(shape: tuple[int, ...], scratch: Path | None, rows: int | None) -> int:
    """Steps along the first axis of an image (*spatial, C) to take at a time: `rows`, else what suits the storage."""
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    if rows is None:
        rows = shape[0] if scratch is None else max(_BAND // prod(shape[1:]), 1)
    return min(rows, shape[0])


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
        return self._scratch is not None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array to be written to before it is read."""
        if self._scratch is None or prod(shape) == 0:
            return np.empty(shape, dtype=dtype)
        return self._mapped(self._file(self._scratch, prod(shape) * np.dtype(dtype).itemsize), shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of zeros, as a new file is."""
        return np.zeros(shape, dtype=dtype) if self._scratch is None else self.empty(shape, dtype)

    def joined(self, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """`parts` one after the other along the first axis; on disk only one of them is in memory at a time."""
        if self._scratch is None:
            return np.concatenate(list(parts))
        path, length = self._file(self._scratch, 0), 0
        with path.open("wb") as file:
            for part in parts:
                part.tofile(file)
                length += part.shape[0]
                rest, dtype = part.shape[1:], part.dtype
        if length == 0:
            path.unlink()
            return np.empty((0, *rest), dtype=dtype)
        return self._mapped(path, (length, *rest), dtype)

    def release(self) -> None:
        """Hand back the resident pages of all files; what they hold stays."""
        if sys.platform != "win32":
            for pages, _ in self._maps.values():
                pages.madvise(mmap.MADV_DONTNEED)

    def drop(self, *arrays: NDArray[Any]) -> None:
        """Delete the files of `arrays`, which must not be used again."""
        for array in arrays:
            for path, (_, mapped) in list(self._maps.items()):
                if mapped is array:
                    del self._maps[path]
                    path.unlink()

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array for good: from disk a read-only memory map of its file, which stays in the folder."""
        for path, (_, mapped) in self._maps.items():
            if mapped is array:
                del self._maps[path]
                return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)
        return array

    def _file(self, folder: Path, size: int) -> Path:
        handle, name = tempfile.mkstemp(suffix=".bin", prefix="superpixels-", dir=folder)
        try:
            if size and sys.platform == "linux":
                os.posix_fallocate(handle, 0, size)
            else:
                os.ftruncate(handle, size)
        except OSError as error:
            Path(name).unlink()
            raise OSError(error.errno, f"no room for {size / 2**30:.1f} GiB of scratch in {folder}") from error
        finally:
            os.close(handle)
        return Path(name)

    def _mapped(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        with path.open("r+b") as file:
            pages = mmap.mmap(file.fileno(), 0)
        array = np.frombuffer(pages, dtype=dtype).reshape(shape)
        self._maps[path] = pages, array
        return array
