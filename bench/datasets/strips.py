"""Strips of images and masks in files, as arrays of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, read_key
from bench.arrays.protocols import Typed


@dataclass(frozen=True)
class Strip:
    """A part of an image from `start` to `stop` along one spatial axis, whole along all others."""

    axis: int
    start: int
    stop: int

    def cut(self, array: Typed, channel_axis: int | None = None) -> "CutArray":
        """Return this part of a stored array, whose channels are on `channel_axis`; nothing is read."""
        stored = self.axis if channel_axis is None or self.axis < channel_axis else self.axis + 1
        return CutArray(array, stored, self.start, self.stop)


@dataclass(frozen=True)
class CutArray:
    """A part of an array along one axis; slicing reads only the values that are selected."""

    array: Typed
    axis: int
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, that of the cut one being `stop` - `start`."""
        whole = self.array.shape
        return (*whole[: self.axis], self.stop - self.start, *whole[self.axis + 1 :])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return read_key(key, self.shape, self._read)

    def _read(self, box: Box) -> NDArray[Any]:
        part = box[self.axis]
        moved = slice(part.start + self.start, part.stop + self.start)
        return self.array[(*box[: self.axis], moved, *box[self.axis + 1 :])]
