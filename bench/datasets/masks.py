"""Masks, which are images of whole numbers: opened, checked for what changes numbers, and counted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import split_key
from bench.arrays.protocols import Typed
from bench.arrays.rows import cut_bands
from bench.config import require
from bench.datasets.normalization import BAND_VALUES
from bench.datasets.opening import MAX_PIXELS, open_numbers
from bench.datasets.stored import Coding

TABLE = 1 << 16  # numbers that are counted by a table; masks with a wider range are sorted


@dataclass(frozen=True)
class StoredMask:
    """The numbers of a mask, (*spatial) integers, decoded on access; of equal colour channels, one."""

    path: Path
    array: Typed
    channel_axis: int | None
    alpha: bool
    coding: Coding = field(default_factory=Coding)
    siblings: tuple[Path, ...] = ()
    planes: int = 0  # as in `Opened`

    @property
    def shape(self) -> tuple[int, ...]:
        stored = self.array.shape
        return tuple(length for axis, length in enumerate(stored) if axis != self.channel_axis)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int64) if self.array.dtype.kind == "f" else self.array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if self.channel_axis is None:
            return require_whole_numbers(self.path, self.array[key])
        if found is None:
            return np.asarray(self[...][key])
        box, rest = found
        stored = self.array[(*box[: self.channel_axis], slice(None), *box[self.channel_axis :])]
        numbers = take_one_channel(self.path, np.moveaxis(stored, self.channel_axis, -1), self.alpha)
        return require_whole_numbers(self.path, numbers[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


def open_mask(path: Path, max_pixels: int = MAX_PIXELS, plane: int | None = None) -> StoredMask:
    """Open a mask; its numbers are decoded on access. Of a palette they are its indices.

    Args:
        path: A file, or the folder of a Zarr store.
        max_pixels: Most values that may be decoded at once.
        plane: Index of the plane of a stack that is meant; None: all of it.

    Returns:
        The numbers.

    Raises:
        InputError: The file cannot be read, was compressed in a way that changes numbers, or has no 2 or 3 axes.
    """
    opened = open_numbers(path, max_pixels, plane)
    array, lossy = opened.array, opened.coding.lossy
    require(
        lossy is None,
        f"{path} is compressed by {lossy}, which changes numbers: make the mask again and save it as PNG, or as TIFF "
        "with LZW or Deflate",
    )
    require(
        array.dtype.kind in "buif",
        f"{path} holds {array.dtype} values: a mask must hold whole numbers, one per class",
    )
    mask = StoredMask(path, array, opened.channel_axis, opened.alpha, opened.coding, opened.siblings, opened.planes)
    require(len(mask.shape) in (2, 3), f"{path} has {len(mask.shape)} axes: a mask must have 2 or 3")
    return mask


def take_one_channel(path: Path, numbers: NDArray[Any], alpha: bool) -> NDArray[Any]:
    """Return the one channel of a grey mask that was saved in colour.

    Args:
        path: The file, for the message.
        numbers: (*spatial, C).
        alpha: Whether the last channel is transparency.

    Returns:
        Numbers (*spatial).

    Raises:
        InputError: The channels differ.
    """
    colours = numbers[..., :-1] if alpha else numbers
    grey = bool(np.all(colours == colours[..., :1]))
    require(grey, f"{path} is a coloured picture: a mask must hold one number per pixel, the class")
    return np.asarray(colours[..., 0])


def require_whole_numbers(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Return values as integers. Raises `InputError` for one that is none, as 0.5, NaN or infinity."""
    if values.dtype.kind != "f":
        return values
    numbers = values.astype(np.float64)
    fractional = ~((np.abs(numbers) < 2.0**53) & (numbers == np.floor(numbers)))
    if fractional.any():
        first = numbers[fractional].flat[0]
        require(False, f"{path} holds {first:g}: a mask must hold whole numbers, one per class")
    return numbers.astype(np.int64)


# -------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class Count:
    """What one number of a mask covers.

    `euler` is the number of its pieces less that of their holes (of 4-connected pixels, or 6-connected voxels; in 3-D
    cavities count as pieces); `runs` says for each axis how many stretches of equal pixels there are along it.
    """

    pixels: int
    euler: int
    runs: tuple[int, ...]


def count_numbers(mask: StoredMask, band_values: int = BAND_VALUES) -> dict[int, Count]:
    """Count the pixels, pieces and stretches of each number; the mask is read once, in bands of `band_values` pixels.

    The Euler characteristic is the alternating sum of the numbers of pixels, pairs, squares and cubes of equal pixels.
    """
    axes = len(mask.shape)
    cells = [directions for size in range(axes + 1) for directions in combinations(range(axes), size)]
    totals: dict[int, NDArray[np.int64]] = {}
    for band, fresh in cut_overlapping_bands(mask, band_values):
        numbers, places = index_numbers(band)
        parts = [places if 0 in directions else places[fresh:] for directions in cells]
        counts = np.stack(
            [np.bincount(select_cells(*pair), minlength=len(numbers)) for pair in zip(parts, cells, strict=True)],
            axis=1,
        )
        for place in np.flatnonzero(counts.any(axis=1)):
            totals[numbers[place]] = totals.get(numbers[place], 0) + counts[place]
    signs = np.array([(-1) ** len(directions) for directions in cells])
    singles = [cells.index((axis,)) for axis in range(axes)]
    return {
        number: Count(int(row[0]), int(row @ signs), tuple(int(row[0] - row[column]) for column in singles))
        for number, row in sorted(totals.items())
        if row[0] > 0
    }


def cut_overlapping_bands(mask: StoredMask, band_values: int) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield bands of a mask, each but the first with the last row of the one before, and how many rows came before."""
    last: NDArray[Any] | None = None
    for start, stop in cut_bands(mask.shape, band_values):
        rows = mask[start:stop]
        yield (rows, 0) if last is None else (np.concatenate([last, rows]), 1)
        last = rows[-1:]


def index_numbers(band: NDArray[Any]) -> tuple[list[int], NDArray[np.intp]]:
    """Return the numbers that may occur in a band, and for each pixel the place of its number among them."""
    if band.dtype == bool:
        band = band.view(np.uint8)
    low, high = int(band.min()), int(band.max())
    if high - low < TABLE:
        return list(range(low, high + 1)), band.astype(np.intp) - low
    numbers, places = np.unique(band, return_inverse=True)
    return [int(number) for number in numbers], places.reshape(band.shape)


def select_cells(places: NDArray[np.intp], directions: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the numbers of all cells that extend by one pixel along `directions` and hold one number only."""
    alike = np.ones(places.shape, dtype=bool)
    for axis in directions:
        first, second = (slice_axis(axis, part, places.ndim) for part in (slice(None, -1), slice(1, None)))
        alike = alike[first] & alike[second] & (places[first] == places[second])
        places = places[first]
    return places[alike]


def slice_axis(axis: int, part: slice, axes: int) -> tuple[slice, ...]:
    """Return a key that applies `part` to one axis and takes all of the others.

    Args:
        axis: The axis.
        part: Part of it.
        axes: Number of axes.
    """
    return tuple(part if other == axis else slice(None) for other in range(axes))
