"""Protocols of arrays that need not fit in memory; numpy arrays, memory maps, Zarr arrays and image files satisfy them.

A function states how much it needs of an array by the weakest protocol that suffices.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Readable(Protocol):
    """An array whose parts are read by slicing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


class Typed(Readable, Protocol):
    """A readable array whose number type is known before anything is read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""


class Source(Typed, Protocol):
    """A typed array that `np.asarray` reads as a whole: an image or a mask of a data set."""

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> NDArray[Any]: ...


class Writable(Protocol):
    """An array whose parts are written by assigning to slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __setitem__(self, key: Any, value: Any, /) -> None: ...


@dataclass(frozen=True)
class PlaneOf:
    """One plane of a writable array, an array itself whose parts are written by assigning to slices."""

    array: Writable
    axis: int  # of the planes, not negative
    plane: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis but that of the planes."""
        whole = self.array.shape
        return (*whole[: self.axis], *whole[self.axis + 1 :])

    def __setitem__(self, key: Any, value: Any, /) -> None:
        """Write a part; `key` is a slice or an index, or a tuple of these, for the first axes."""
        given = key if isinstance(key, tuple) else (key,)
        parts = (*given, *(slice(None) for _ in self.shape[len(given) :]))
        self.array[(*parts[: self.axis], self.plane, *parts[self.axis :])] = value


@runtime_checkable
class Chunked(Protocol):
    """An array that is stored in chunks, as those of Zarr are."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Length of a chunk along each axis."""
