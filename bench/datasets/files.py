"""Images and masks that stay in their files: every access reads what was asked for, and nothing is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.normalization import Scaling
from bench.datasets.readers import read_mask, read_pixels


@dataclass(frozen=True)
class Layout:
    """How the stored array of an image becomes (*spatial, C)."""

    channel_axis: int | None  # of the stored array; None: it has no channels
    alpha: bool  # drop the last channel

    def arrange(self, stored: NDArray[Any]) -> NDArray[Any]:
        """A view of `stored` as (*spatial, C)."""
        if self.channel_axis is None:
            return stored[..., None]
        image = np.moveaxis(stored, self.channel_axis, -1)
        return image[..., :-1] if self.alpha else image


@dataclass(frozen=True)
class ImageFile:
    """An image in a file, (*spatial, C) float32: every access reads the file and scales what was asked for."""

    path: Path
    layout: Layout
    scaling: Scaling
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return self.scaling.apply(self.layout.arrange(read_pixels(self.path)), key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Classes:
    """How the numbers in mask files become class indices."""

    mapping: tuple[tuple[int, int], ...] | None  # (number, class), sorted; None: they are the same
    dtype: np.dtype[Any]

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Class indices of a part of a mask whose numbers are all known."""
        if self.mapping is None:
            return numbers.astype(self.dtype, copy=False)
        known, classes = (np.array(side) for side in zip(*self.mapping, strict=True))
        return np.asarray(classes.astype(self.dtype)[np.searchsorted(known, numbers)])


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file, (*spatial) class indices: every access reads the file."""

    path: Path
    classes: Classes
    shape: tuple[int, ...]
    max_pixels: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.classes.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return self.classes.of(read_mask(self.path, self.max_pixels)[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)
