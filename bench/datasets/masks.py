"""Masks, which are images of whole numbers: opened, checked for what changes numbers, and counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import split_key
from bench.arrays.protocols import Typed
from bench.arrays.rows import cut_bands
from bench.config import MAX_PIXELS, require
from bench.datasets.normalization import BAND_VALUES
from bench.datasets.opening import TIFFS, open_numbers
from bench.datasets.stored import Coding, Colours
from bench.datasets.strips import Strip

FEWEST_SHADES = 8  # of a channel of a picture; smaller numbers are classes
MOST_COLOURS = 8  # that a sentence lists
TABLE = 1 << 16  # numbers that are counted by a table; masks with a wider range are sorted


@dataclass(frozen=True)
class StoredMask:
    """The numbers of a mask, (*spatial) integers, decoded on access; of equal colour channels, one.

    With `colours` the numbers are the places of the pixels' colours among them.
    """

    path: Path
    array: Typed
    channel_axis: int | None
    alpha: bool
    coding: Coding = field(default_factory=Coding)
    siblings: tuple[Path, ...] = ()
    planes: int = 0  # as in `Opened`
    colours: tuple[str, ...] = ()  # six hexadecimal digits in lower case for each number
    palette: Colours = ()  # of the file, where colours are looked up in it

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial): that of the stored array without its axis of channels."""
        stored = self.array.shape
        return tuple(length for axis, length in enumerate(stored) if axis != self.channel_axis)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers: the smallest with `colours`, int64 for floating-point values, else that of the file."""
        if self.colours:
            return np.min_scalar_type(len(self.colours) - 1)
        return np.dtype(np.int64) if self.array.dtype.kind == "f" else self.array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if self.channel_axis is None:
            values = self.array[key]
            return number_greys(self, values) if self.colours else require_whole_numbers(self.path, values)
        if found is None:
            return np.asarray(self[...][key])
        box, rest = found
        stored = self.array[(*box[: self.channel_axis], slice(None), *box[self.channel_axis :])]
        bands = np.moveaxis(stored, self.channel_axis, -1)
        if self.colours:
            return number_colours(self.path, bands[..., : bands.shape[-1] - self.alpha], self.colours)[rest]
        numbers = take_one_channel(self.path, bands, self.alpha)
        return require_whole_numbers(self.path, numbers[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def cut(self, strip: Strip | None) -> "StoredMask":
        """Return the mask of a part of the image, of all of it for None."""
        return self if strip is None else replace(self, array=strip.cut(self.array, self.channel_axis))


def open_mask(
    path: Path, max_pixels: int = MAX_PIXELS, plane: int | None = None, colours: Sequence[str] = ()
) -> StoredMask:
    """Open a mask; its numbers are decoded on access. Of a palette they are its indices, unless colours are given.

    Args:
        path: A file, or the folder of a Zarr store.
        max_pixels: Most values that may be decoded at once.
        plane: Index of the plane of a stack that is meant; None: all of it.
        colours: Six hexadecimal digits in lower case for each number from 0 on; none: the numbers as stored.

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
    # where colours decide, neither the order of a palette nor its differences from that of another file matter
    coding = replace(opened.coding, palette=()) if colours else opened.coding
    palette, channels, alpha = opened.coding.palette, opened.channel_axis, opened.alpha
    mask = StoredMask(path, array, channels, alpha, coding, opened.siblings, opened.planes, tuple(colours), palette)
    require(len(mask.shape) in (2, 3), f"{path} has {len(mask.shape)} axes: a mask must have 2 or 3")
    return mask


def check_transparency(mask: StoredMask, numbers: Mapping[int, Any]) -> None:
    """Refuse a mask of one colour, not black, whose transparency varies: what it shows lies in that, which is not read.

    One that is black throughout may be that of an image without objects.

    Args:
        mask: The mask.
        numbers: By number, what `count_numbers` found.
    """
    if not mask.alpha or mask.channel_axis is None or len(numbers) != 1:
        return
    bands = np.moveaxis(np.asarray(mask.array[...]), mask.channel_axis, -1)
    alpha = bands[..., -1]
    require(
        not bands[..., :-1].any() or bool(alpha.min() == alpha.max()),
        f"{mask.path} has one colour throughout, and shows its objects by transparency, which is not read: save the "
        "mask with a number or a colour for each class, without transparency",
    )


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
    advice = "" if grey else propose_planes(path) if colours.max() < FEWEST_SHADES else propose_colours(colours)
    require(grey, f"{path} is a coloured picture: a mask must hold one number per pixel, the class{advice}")
    return np.asarray(colours[..., 0])


def propose_planes(path: Path) -> str:
    """Return, in words, how to save what looks like planes of class numbers: writers of TIFF take three for colours."""
    how = " (tifffile: photometric='minisblack')" if path.suffix.lower() in TIFFS else ""
    return f"; its numbers are too small for colours: if its channels are planes of a volume, save each as a page{how}"


def propose_colours(pixels: NDArray[Any]) -> str:
    """Return, in words, the setting that maps the colours of pixels (*spatial, 3), black first, then by their number.

    Where they are more than `MOST_COLOURS`, they are hardly classes, and none are listed.
    """
    if pixels.dtype != np.uint8 or pixels.shape[-1] != 3:
        return ""
    packed, counts = np.unique(pack_colours(pixels), return_counts=True)
    if len(packed) > MOST_COLOURS:
        return f"; its {len(packed)} colours are too many to be classes"
    order = sorted(range(len(packed)), key=lambda n: (packed[n] != 0, -counts[n]))
    shown = ",".join(f"{packed[n]:06x}" for n in order)
    return f"; if each colour is a class, list them, background first, as in 'dataset.mask_colours=[{shown}]'"


def pack_colours(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return colours (*spatial, 3) of 8 bits a channel as one number each: red in the highest bits, blue lowest."""
    return np.asarray(pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def number_colours(path: Path, pixels: NDArray[Any], colours: Sequence[str]) -> NDArray[np.unsignedinteger]:
    """Return the place of each pixel's colour among the given ones.

    Args:
        path: The file, for the message.
        pixels: Colours (*spatial, 3), or greys (*spatial, 1).
        colours: Six hexadecimal digits each, in lower case.

    Returns:
        Numbers (*spatial), of the smallest type that holds the places of all colours.

    Raises:
        InputError: A pixel has another colour, or the file no colours of 8 bits a channel.
    """
    within = pixels.dtype.kind in "ui" and pixels.shape[-1] in (1, 3)
    within = within and (pixels.size == 0 or (pixels.min() >= 0 and pixels.max() <= 255))
    require(within, f"{path} holds no colours of 8 bits a channel, which dataset.mask_colours needs: save it as RGB")
    packed = pack_colours(np.broadcast_to(pixels, (*pixels.shape[:-1], 3)))
    known = np.array([int(colour, 16) for colour in colours])
    order = np.argsort(known)
    places = order[np.searchsorted(known[order], packed).clip(max=len(known) - 1)]
    others = packed[known[places] != packed]
    require(
        others.size == 0,
        f"{path} holds the colour {others[:1].sum():06x}, which dataset.mask_colours does not list: add it there, or "
        "correct the mask",
    )
    return np.asarray(places.astype(np.min_scalar_type(len(colours) - 1)))


def number_greys(mask: StoredMask, values: NDArray[Any]) -> NDArray[np.unsignedinteger]:
    """Return the place of each pixel's colour among those of a mask, of a palette's indices or of greys (*spatial)."""
    if mask.palette:
        return number_colours(mask.path, np.array(mask.palette)[values], mask.colours)
    return number_colours(mask.path, values[..., None], mask.colours)


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


def count_numbers(mask: StoredMask, band_values: int = BAND_VALUES, table: int = TABLE) -> dict[int, Count]:
    """Count the pixels, pieces and stretches of each number; the mask is read once, in bands.

    The Euler characteristic is the alternating sum of the numbers of pixels, pairs, squares and cubes of equal pixels.

    Args:
        mask: The mask.
        band_values: About how many pixels a band has.
        table: Range of numbers up to which they are counted by a table; of a wider range they are sorted.

    Returns:
        The counts by number, ascending.
    """
    axes = len(mask.shape)
    cells = [directions for size in range(axes + 1) for directions in combinations(range(axes), size)]
    totals: dict[int, NDArray[np.int64]] = {}
    for band, fresh in cut_overlapping_bands(mask, band_values):
        numbers, places = index_numbers(band, table)
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


def index_numbers(band: NDArray[Any], table: int = TABLE) -> tuple[list[int], NDArray[np.intp]]:
    """Return the numbers that may occur in a band, and for each pixel the place of its number among them."""
    if band.dtype == bool:
        band = band.view(np.uint8)
    low, high = int(band.min()), int(band.max())
    if high - low < table:
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
