"""PNG, JPEG and TIFF files as arrays: what the header says, before anything is allocated, and then the pixels.

Whatever a decoder raises on a broken file leaves this module as an `InputError` that names the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.config import InputError, require

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
TIFFS = (".tif", ".tiff")
SUFFIXES = (*PICTURES, *TIFFS)
LOSSLESS = (".png", *TIFFS)
BANDS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}


@dataclass(frozen=True)
class Header:
    """What a file says of its array. `channel_axis` is None where the file does not say."""

    shape: tuple[int, ...]
    channel_axis: int | None
    alpha: bool  # the last of the channels is transparency


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure of a decoder into a sentence about `path`."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{path} cannot be read as an image: {reason}") from error


def check_size(path: Path, shape: tuple[int, ...], max_pixels: int) -> None:
    """Refuse an array of more values than `max_pixels`, or of none."""
    require(prod(shape) > 0, f"{path} holds no pixels: its shape is {shape}")
    require(
        prod(shape) <= max_pixels,
        f"{path} says that it has {prod(shape)} values, more than dataset.max_pixels = {max_pixels}: raise that "
        "setting if this is right and fits in memory",
    )


# --------------------------------------------------------------------------------------------------- PNG and JPEG


def open_picture(path: Path) -> Image.Image:
    """The file, decoded no further than its header."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header
    try:
        picture = Image.open(path, formats=sorted(set(PICTURES.values())))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    require(
        picture.mode in BANDS,
        f"{path} has the colour mode {picture.mode}: save it as grey, RGB or RGBA, or as a TIFF",
    )
    return picture


def deep_colour(path: Path) -> bool:
    """Whether a file is a PNG of 16-bit colours, which Pillow would cut down to 8 bits."""
    with path.open("rb") as file:
        start = file.read(26)
    return start.startswith(b"\x89PNG") and len(start) == 26 and start[24] == 16 and start[25] in (2, 4, 6)


def picture_header(path: Path) -> Header:
    with open_picture(path) as picture:
        mode = picture.mode
        if mode == "P":
            mode = "RGBA" if "transparency" in picture.info else "RGB"
        shape = (picture.height, picture.width)
    if BANDS[mode] == 1:
        return Header(shape, None, False)
    return Header((*shape, BANDS[mode]), 2, mode in ("LA", "RGBA"))


def read_picture(path: Path, palette_index: bool = False) -> NDArray[Any]:
    """All pixels, (h, w) or (h, w, bands). A palette gives its colours, or with `palette_index` the stored numbers."""
    if deep_colour(path):
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with open_picture(path) as picture:
        if picture.mode == "P" and not palette_index:
            colours = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            return np.asarray(colours)
        return np.asarray(picture)


# ----------------------------------------------------------------------------------------------------------- TIFF


def check_whole(path: Path, series: Any) -> None:
    """Refuse a TIFF whose pixels reach beyond the end of the file: decoders may fill the rest with zeros."""
    size = path.stat().st_size
    if series.dataoffset is not None:
        ends = [series.dataoffset + series.nbytes]
    else:
        pages = [page for page in series.pages if page is not None]
        spans = [zip(page.dataoffsets, page.databytecounts, strict=True) for page in pages]
        ends = [offset + count for span in spans for offset, count in span]
    require(
        max(ends, default=0) <= size, f"{path} is truncated: it ends at byte {size} and its pixels at byte {max(ends)}"
    )


def tiff_header(path: Path) -> Header:
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        check_whole(path, series)
        axes, shape = series.axes, tuple(int(length) for length in series.shape)
        axis = next((axes.index(letter) for letter in "SC" if letter in axes), None)
        extra = tuple(series.keyframe.extrasamples)
    alpha = "S" in axes and any(int(kind) in (1, 2) for kind in extra)
    return Header(shape, axis, alpha)


def read_tiff(path: Path) -> NDArray[Any]:
    """The first series; a memory map where the file allows one."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        mappable = series.dataoffset is not None and series.keyframe.is_memmappable
        if not mappable:
            return np.asarray(series.asarray())
    return np.asanyarray(tifffile.memmap(path, mode="r", series=0))


# ---------------------------------------------------------------------------------------------------------- either


def read_header(path: Path, max_pixels: int) -> Header:
    """What the header says, checked against `max_pixels`."""
    require(path.is_file(), f"{path} does not exist or is not a file")
    require(path.suffix.lower() in SUFFIXES, f"{path} is of a kind that is not read: use one of {', '.join(SUFFIXES)}")
    with reading(path):
        header = tiff_header(path) if path.suffix.lower() in TIFFS else picture_header(path)
        check_size(path, header.shape, max_pixels)
    return header


def read_pixels(path: Path) -> NDArray[Any]:
    """The stored array, in the file's own type."""
    with reading(path):
        return read_tiff(path) if path.suffix.lower() in TIFFS else read_picture(path)


def read_mask(path: Path, max_pixels: int) -> NDArray[Any]:
    """The numbers of a mask, (*spatial) integers. Of a palette, its indices; of equal colour channels, one."""
    header = read_header(path, max_pixels)
    require(path.suffix.lower() in LOSSLESS, f"{path} is a JPEG, which changes numbers: save the mask as PNG or TIFF")
    with reading(path):
        numbers = read_tiff(path) if path.suffix.lower() in TIFFS else read_picture(path, palette_index=True)
    if header.channel_axis is not None and numbers.ndim == len(header.shape):
        numbers = one_channel(path, np.moveaxis(numbers, header.channel_axis, -1), header.alpha)
    require(
        numbers.dtype.kind in "bui",
        f"{path} holds {numbers.dtype} values: a mask must hold whole numbers, one per class",
    )
    require(numbers.ndim in (2, 3), f"{path} has {numbers.ndim} axes: a mask must have 2 or 3")
    return numbers


def one_channel(path: Path, numbers: NDArray[Any], alpha: bool) -> NDArray[Any]:
    """The one channel of a grey mask that was saved in colour."""
    colours = numbers[..., :-1] if alpha else numbers
    grey = bool(np.all(colours == colours[..., :1]))
    require(grey, f"{path} is a coloured picture: a mask must hold one number per pixel, the class")
    return np.asarray(colours[..., 0])
