"""What the superpixel methods share: number of segments, grid of cells, bands of rows, intensities in [0, 1]."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import count_rows
from bench.arrays.spacing import relate_spacing
from bench.config import SuperpixelsConfig

SCRATCH_VALUES = 1 << 22  # of an image in memory at a time, where what is as large as the image is on disk


def choose_n_segments(shape: tuple[int, ...], config: SuperpixelsConfig) -> int:
    """Return the number of segments wanted in an image of `shape` (*spatial): at least 1, at most one per pixel."""
    pixels = prod(shape)
    count = config.n_segments if config.superpixel_size is None else round(pixels / config.superpixel_size)
    return min(max(count or 1, 1), pixels)


def fit_grid(shape: tuple[int, ...], n_segments: int, spacing: Sequence[float] | None = None) -> tuple[int, ...]:
    """Return the cells along each axis of a grid of about `n_segments` cells that are as cubic as the image allows.

    Short axes are settled first, so that an axis shorter than a cell leaves its share to the others; before them, for
    the same reason, those of which one pixel is longer than a cell.

    Args:
        shape: Spatial shape of the image in pixels.
        n_segments: Number of cells wanted.
        spacing: Length of a pixel along each axis; None: pixels are cubes.
    """
    pitch = relate_spacing(spacing, len(shape))
    lengths = [number * length for number, length in zip(shape, pitch, strict=True)]
    cells = [1] * len(shape)
    left = float(n_segments)
    side = max((prod(lengths) / left) ** (1 / len(shape)), 1.0)
    order = sorted(range(len(shape)), key=lambda axis: (pitch[axis] <= side, lengths[axis]))
    for done, axis in enumerate(order):
        volume = prod(lengths[other] for other in order[done:])
        step = max((volume / left) ** (1 / (len(shape) - done)), 1.0)
        cells[axis] = min(max(round(lengths[axis] / step), 1), shape[axis])
        left = max(left / cells[axis], 1.0)
    return tuple(cells)


def divide_axis(length: int, cells: int) -> NDArray[np.int64]:
    """Return the first pixel of each of `cells` equal intervals of an axis, and its `length`: (cells + 1,) int64."""
    return (np.arange(cells + 1) * length) // cells


def choose_rows(shape: tuple[int, ...], scratch: Path | None, rows: int | None = None) -> int:
    """Choose how many rows of an image are worked on at a time.

    Args:
        shape: Shape of the image (*spatial, C).
        scratch: Folder of the scratch files; None if everything is in memory.
        rows: Number of rows that was set; None chooses by the size of the image.

    Returns:
        Number of rows, at most those of the image: all of them in memory, about `SCRATCH_VALUES` values on disk.
    """
    if rows is None:
        rows = shape[0] if scratch is None else count_rows(shape, SCRATCH_VALUES)
    return min(rows, shape[0])


def rescale(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map the range of an image onto [0, 1], as scikit-image's SLIC does; a constant image becomes 0."""
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("the image must be finite, got NaN or infinity")
    scale = high - low if high > low else 1.0
    return ((image - np.float32(low)) / np.float32(scale)).astype(np.float32, copy=False)
