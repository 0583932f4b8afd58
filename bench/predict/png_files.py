"""Predicted masks to look at: PNG in the colours of the classes, and the image with the classes laid over it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands
from bench.predict.meaning import choose_colour
from bench.scores.panels import display

LONGEST = 4096  # pixels of an overlay's longer side, at most
BAND_PIXELS = 1 << 24  # of an image that are read at once
SHARE = 0.35  # of a class's colour within it; its boundary has all of it
OUTLINE = 2  # pixels of a boundary on either side of it


def write_png(path: Path, mask: Any) -> None:
    """Write a mask (H, W) as an indexed PNG: its numbers are the classes, its colour table shows them in colour."""
    picture = Image.fromarray(np.asarray(mask[...]).astype(np.uint8), mode="P")
    picture.putpalette([part for number in range(256) for part in choose_colour(number)])
    picture.save(path, format="PNG")


def write_overlay(path: Path, image: Readable, mask: Any) -> None:
    """Write a PNG of an image with the classes of its mask in colour, at most `LONGEST` pixels a side.

    Args:
        path: File to write.
        image: Grey values (H, W, C); the first three channels are shown as red, green and blue, fewer as grey.
        mask: Classes (H, W); class 0, the background, has no colour.
    """
    step = -(-max(mask.shape) // LONGEST)
    Image.fromarray(lay_over(thin_pixels(image, step), thin_pixels(mask, step))).save(path, format="PNG")


def thin_pixels(array: Any, step: int, band_pixels: int = BAND_PIXELS) -> NDArray[Any]:
    """Take every `step`-th row and column of an array.

    Args:
        array: (H, W, ...), read by slices.
        step: At least 1.
        band_pixels: About how many pixels are read at once.

    Returns:
        (ceil(H / step), ceil(W / step), ...).
    """
    bands = cut_bands(array.shape, band_pixels)
    rows = [np.asarray(array[start:stop])[-start % step :: step, ::step] for start, stop in bands]
    return np.concatenate(rows)


def lay_over(image: NDArray[Any], mask: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the image (H, W, C) in grey or colour with the classes of `mask` (H, W) laid over it, (H, W, 3)."""
    shown = display(image)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    table = np.array([choose_colour(number) for number in range(int(mask.max()) + 1)], np.float32)
    share = np.where(find_edges(mask), 1.0, SHARE).astype(np.float32) * (mask > 0)
    blended = shown + share[..., None] * (table[mask] - shown)
    drawn: NDArray[np.uint8] = np.rint(blended).astype(np.uint8)
    return drawn


def find_edges(mask: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return where another class lies within `OUTLINE` pixels along a row or a column, (H, W)."""
    edges = np.zeros(mask.shape, bool)
    for distance in range(1, OUTLINE + 1):
        for one, two in ((mask[distance:], mask[:-distance]), (mask[:, distance:], mask[:, :-distance])):
            differ = one != two
            rows, columns = mask.shape[0] - differ.shape[0], mask.shape[1] - differ.shape[1]
            edges[rows:, columns:] |= differ
            edges[: mask.shape[0] - rows, : mask.shape[1] - columns] |= differ
    return edges
