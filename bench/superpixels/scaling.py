"""What the superpixel methods share: how many segments an image gets, where their grid lies, intensities in [0, 1]."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from bench.config import SuperpixelsConfig


def segments_asked(shape: tuple[int, ...], config: SuperpixelsConfig) -> int:
    """Segments to ask for in an image of `shape` (spatial axes only): at least 1, at most one per pixel."""
    pixels = prod(shape)
    count = config.n_segments if config.superpixel_size is None else round(pixels / config.superpixel_size)
    return min(max(count or 1, 1), pixels)


def grid_shape(shape: tuple[int, ...], n_segments: int) -> tuple[int, ...]:
    """Cells along each axis of a grid of about `n_segments` cells that are as cubic as the image allows.

    Short axes are settled first, so that an axis shorter than a cell leaves its share to the others.
    """
    cells = [1] * len(shape)
    left = float(n_segments)
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    for done, axis in enumerate(order):
        pixels = prod(shape[other] for other in order[done:])
        step = max((pixels / left) ** (1 / (len(shape) - done)), 1.0)
        cells[axis] = min(max(round(shape[axis] / step), 1), shape[axis])
        left = max(left / cells[axis], 1.0)
    return tuple(cells)


def cell_edges(length: int, cells: int) -> NDArray[np.int64]:
    """First pixel of each of `cells` equal intervals of `length` pixels, and `length` itself: (cells + 1,)."""
    return (np.arange(cells + 1) * length) // cells


def rescaled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image over its whole range in [0, 1], as scikit-image's SLIC does it; a constant image becomes 0."""
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("the image must be finite, got NaN or infinity")
    scale = high - low if high > low else 1.0
    return ((image - np.float32(low)) / np.float32(scale)).astype(np.float32, copy=False)
