"""Scratch arrays as large as an image: in memory, or in memory-mapped files whose pages are handed back."""

import contextlib
import ctypes
import mmap
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MALLOPT = {-3: 1 << 20, -1: 1 << 20, -8: 2}  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in bytes, M_ARENA_MAX


def return_freed_memory() -> None:
    """Have the C library hand freed blocks of a MiB and more back to the system at once, where it is glibc.

    By default it keeps up to 64 MiB of them, and more for every thread, once a large array was freed.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in MALLOPT.items():
            library.mallopt(parameter, value)


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
        """Return the array for good: from disk a read-only memory map of its file, which stays in the folder."""
        for path, (_, mapped) in self._maps.items():
            if mapped is array:
                del self._maps[path]
                return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)
        return array

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
