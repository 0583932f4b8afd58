"""PNG and JPEG files: what the header says, before anything is allocated, and then the pixels, decoded whole."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.config import require
from bench.datasets.stored import Header, Opened, check_size, decoded_whole, reading

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
BANDS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def open_png_or_jpeg(path: Path, max_values: int, palette_index: bool = False) -> Opened:
    """The picture, decoded when asked; `palette_index` as in `read_picture`."""
    with reading(path):
        header = picture_header(path, palette_index)
        check_size(path, header.shape, max_values)
    array = decoded_whole(path, header.shape, header.dtype, lambda: read_picture(path, palette_index))
    return Opened(path, array, header.channel_axis, header.alpha)


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


def picture_header(path: Path, palette_index: bool) -> Header:
    with open_picture(path) as picture:
        mode, shape = picture.mode, (picture.height, picture.width)
        dtype = np.asarray(Image.new(mode, (1, 1))).dtype
        if mode == "P" and not palette_index:
            mode = "RGBA" if "transparency" in picture.info else "RGB"
    if deep_colour(path):
        dtype = np.dtype(np.uint16)
    if BANDS[mode] == 1:
        return Header(shape, dtype, None, False)
    return Header((*shape, BANDS[mode]), dtype, 2, mode in ("LA", "RGBA"))


def read_picture(path: Path, palette_index: bool = False) -> NDArray[Any]:
    """All pixels, (h, w) or (h, w, bands). A palette gives its colours, or with `palette_index` the stored numbers."""
    if deep_colour(path):
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with open_picture(path) as picture:
        if picture.mode == "P" and not palette_index:
            colours = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            return np.asarray(colours)
        return np.asarray(picture)
