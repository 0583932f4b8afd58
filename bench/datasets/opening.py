"""One way into every kind of image file: PNG, JPEG, TIFF, Zarr; and into masks, which are images of whole numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import split_key
from bench.arrays.protocols import Typed
from bench.config import require
from bench.datasets import zarr_files
from bench.datasets.pictures import PICTURES, open_png_or_jpeg
from bench.datasets.stored import Opened
from bench.datasets.tiffs import TIFFS, open_tiff

ZARR = ".zarr"
SUFFIXES = (*PICTURES, *TIFFS, ZARR)
MAX_PIXELS = 1 << 30


def is_image(path: Path) -> bool:
    """Whether a name, and for Zarr a folder, is of a kind that is read."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and path.is_dir() == (suffix == ZARR)


def stem_of(path: Path) -> str:
    """The name without its suffix, `.ome.tif` and `.ome.zarr` being one."""
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return stem[: -len(".ome")] if path.suffix.lower() in (*TIFFS, ZARR) and stem.lower().endswith(".ome") else stem


def open_image(path: Path, channel_axis: int | None = None, max_pixels: int = MAX_PIXELS) -> Opened:
    """The stored values of an image, decoded when asked, and what the file says of its channels and pixel sizes.

    What is decoded at once (a chunk, tile or strip, else the whole file) may hold `max_pixels` values, so a file that
    is read in parts may be larger. `channel_axis` outweighs the file's own word. Raises `InputError` naming the file.
    """
    return _open(path, channel_axis, max_pixels, palette_index=False)


def _open(path: Path, channel_axis: int | None, max_pixels: int, palette_index: bool) -> Opened:
    if path.is_dir():
        return zarr_files.open_store(path, max_pixels, channel_axis)
    require(path.is_file(), f"{path} does not exist or is not a file")
    suffix = path.suffix.lower()
    require(
        suffix in SUFFIXES and suffix != ZARR, f"{path} is of a kind that is not read: use one of {', '.join(SUFFIXES)}"
    )
    if suffix in TIFFS:
        return open_tiff(path, max_pixels, channel_axis)
    return open_png_or_jpeg(path, max_pixels, palette_index)


# ---------------------------------------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class StoredMask:
    """The numbers of a mask, (*spatial) integers, decoded when asked; of equal colour channels, one."""

    path: Path
    array: Typed
    channel_axis: int | None
    alpha: bool

    @property
    def shape(self) -> tuple[int, ...]:
        stored = self.array.shape
        return tuple(length for axis, length in enumerate(stored) if axis != self.channel_axis)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if self.channel_axis is None:
            return self.array[key]
        if found is None:
            return np.asarray(self[...][key])
        box, rest = found
        stored = self.array[(*box[: self.channel_axis], slice(None), *box[self.channel_axis :])]
        return np.asarray(one_channel(self.path, np.moveaxis(stored, self.channel_axis, -1), self.alpha)[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


def open_mask(path: Path, max_pixels: int = MAX_PIXELS) -> StoredMask:
    """The numbers of a mask, decoded when asked. Of a palette, its indices. Raises `InputError` naming the file."""
    require(
        path.suffix.lower() not in (".jpg", ".jpeg") or path.is_dir(),
        f"{path} is a JPEG, which changes numbers: save the mask as PNG, TIFF or Zarr",
    )
    opened = _open(path, None, max_pixels, palette_index=True)
    array = opened.array
    require(
        array.dtype.kind in "bui",
        f"{path} holds {array.dtype} values: a mask must hold whole numbers, one per class",
    )
    mask = StoredMask(path, array, opened.channel_axis, opened.alpha)
    require(len(mask.shape) in (2, 3), f"{path} has {len(mask.shape)} axes: a mask must have 2 or 3")
    return mask


def one_channel(path: Path, numbers: NDArray[Any], alpha: bool) -> NDArray[Any]:
    """The one channel of a grey mask that was saved in colour."""
    colours = numbers[..., :-1] if alpha else numbers
    grey = bool(np.all(colours == colours[..., :1]))
    require(grey, f"{path} is a coloured picture: a mask must hold one number per pixel, the class")
    return np.asarray(colours[..., 0])
