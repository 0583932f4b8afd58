"""What is too large for memory, in files of the folder that `graph.scratch_dir` names."""

import contextlib
import tempfile
import weakref
from collections.abc import Iterator
from math import prod
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.arrays.protocols import Typed
from bench.arrays.rows import cut_bands, release
from bench.arrays.scratch import create_file
from bench.config import InputError

MOUNTS = Path("/proc/mounts")
MEMORY_KINDS = ("tmpfs", "ramfs")  # file systems whose files lie in memory
COPIED = 1 << 20  # values that are copied at once


def open_scratch(place: str | None) -> Path:
    """Make a folder for what is too large for memory; its caller removes it, or `tie_scratch` has it removed.

    Args:
        place: Folder to make it in (`graph.scratch_dir`); None takes the system's own for temporary files.

    Raises:
        InputError: No folder can be made there.
    """
    try:
        return Path(tempfile.mkdtemp(prefix="graphs-", dir=place))
    except OSError as error:
        raise _refuse_place(place, error) from error


@contextlib.contextmanager
def lend_scratch(place: str | None) -> Iterator[Path]:
    """Yield a folder as `open_scratch` makes it, and remove it with all that is in it at the end of the block."""
    folder = open_scratch(place)
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def tie_scratch(owner: object, folder: Path) -> None:
    """Have a folder removed when `owner`, whose values lie there, is gone, or when the process ends."""
    weakref.finalize(owner, rmtree, folder, ignore_errors=True)


def map_scratch(shape: tuple[int, ...], dtype: DTypeLike, place: str | None) -> NDArray[Any]:
    """Return an array of zeros in a file that goes with the array.

    Args:
        shape: Shape of the array.
        dtype: Type of its values.
        place: As in `open_scratch`.

    Raises:
        InputError: There is no such folder.
        OSError: The disk is full.
    """
    folder = open_scratch(place)
    try:
        path = create_file(folder, prod(shape) * np.dtype(dtype).itemsize)
        mapped: Any = np.memmap(path, dtype, "r+", shape=shape)
    except OSError:
        rmtree(folder, ignore_errors=True)
        raise
    tie_scratch(mapped, folder)
    return mapped  # type: ignore[no-any-return]


class StoredArray:
    """An array of zeros in a file of its own, which is mapped only while it is used and goes with the object.

    Any number of them takes neither memory nor open files. A pickled one carries its values.

    Attributes:
        shape: Length of each axis.
        dtype: Type of the values.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, place: str | None) -> None:
        """Make the file.

        Args:
            shape: Length of each axis.
            dtype: Type of the values.
            place: Folder of the file, as in `open_scratch`.

        Raises:
            InputError: There is no such folder.
            OSError: The disk is full.
        """
        self.shape, self.dtype, self._place = tuple(shape), np.dtype(dtype), place
        try:
            self._path = create_file(Path(place or tempfile.gettempdir()), prod(shape) * self.dtype.itemsize)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise _refuse_place(place, error) from error
        weakref.finalize(self, remove_file, self._path)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return store_array, (np.array(self.open()), self._place)

    @property
    def nbytes(self) -> int:
        """Length of the file."""
        return prod(self.shape) * self.dtype.itemsize

    def open(self) -> NDArray[Any]:
        """Map the file; what is written to the array is kept. `bench.arrays.rows.release` hands back its pages."""
        if prod(self.shape) == 0:  # an empty file cannot be mapped
            return np.empty(self.shape, self.dtype)
        return np.memmap(self._path, self.dtype, "r+", shape=self.shape)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Return a copy of a part; the file is mapped while it is read, and its pages are handed back."""
        return np.array(self.open()[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def read_columns(self, low: int, high: int) -> NDArray[Any]:
        """Read the columns low..high (R, high - low) of an array of two axes.

        They are read and not mapped: the system maps pages around each one that is touched, here around every row.
        """
        values = np.empty((self.shape[0], high - low), self.dtype)
        with self._path.open("rb") as file:
            for row, line in enumerate(values):
                file.seek((row * self.shape[1] + low) * self.dtype.itemsize)
                file.readinto(line.data)
        return values

    def write_rows(self, low: int, values: NDArray[Any]) -> None:
        """Write rows (R, ...) of the type of the array, from row `low` on, without mapping them."""
        assert values.dtype == self.dtype
        assert values.shape[1:] == self.shape[1:]
        with self._path.open("r+b") as file:
            file.seek(low * prod(self.shape[1:]) * self.dtype.itemsize)
            np.ascontiguousarray(values).tofile(file)


def store_array(values: Typed, place: str | None) -> StoredArray:
    """Copy an array, or what is read by rows, to a file, as `StoredArray`; a band of it is in memory at a time."""
    stored = StoredArray(tuple(values.shape), values.dtype, place)
    target = stored.open()
    for low, high in cut_bands(stored.shape, COPIED):
        target[low:high] = values[low:high]
        release(target)
    return stored


def warn_of_memory(place: str | None, stored_bytes: int, mounts: Path = MOUNTS) -> tuple[str, ...]:
    """Return a flag where files take memory that no meter counts, as their folder lies in memory itself.

    Args:
        place: As in `open_scratch`.
        stored_bytes: Bytes in files; without any there is nothing to warn of.
        mounts: The table of mounted file systems, which Linux has; elsewhere nothing is known.
    """
    folder = Path(place or tempfile.gettempdir()).resolve()
    if stored_bytes == 0 or not mounts.is_file():
        return ()
    found = {
        Path(fields[1]): fields[2] for fields in map(str.split, mounts.read_text().splitlines()) if len(fields) > 2
    }
    mounted = next((one for one in (folder, *folder.parents) if one in found), None)
    if mounted is None or found[mounted] not in MEMORY_KINDS:
        return ()
    return (
        f"warn: {stored_bytes / 2**20:.0f} MiB lie in {folder}, memory ({found[mounted]}) that is not counted: "
        "graph.scratch_dir names a folder on a disk",
    )


def _refuse_place(place: str | None, error: OSError) -> InputError:
    """Return the error of a folder in which nothing can be made."""
    return InputError(
        f"graph.scratch_dir {place or tempfile.gettempdir()} cannot be used ({error.strerror}): name a folder on a "
        "disk with room for some 40 bytes for each pixel of the images"
    )


def remove_file(path: Path) -> None:
    """Delete a file, unless it is mapped still and the system forbids that: its folder is for temporary files."""
    with contextlib.suppress(PermissionError):
        path.unlink(missing_ok=True)
