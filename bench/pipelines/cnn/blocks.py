"""Crops at lower resolution: means of blocks of pixels, and how many pixels of each class are in them. Numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def average_blocks(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Average blocks of `scale` x `scale` pixels of an image (*lead, H, W, C), as `reduce_images` does of a batch."""
    height, width, channels = image.shape[-3:]
    rows = image.reshape(*image.shape[:-3], height // scale, scale, width * channels).sum(axis=-2)
    sums = _add_neighbours(rows.reshape(*rows.shape[:-1], width // scale, scale, channels))
    return np.asarray(sums / np.float32(scale * scale), np.float32)


def count_in_blocks(labels: NDArray[np.integer], num_classes: int, scale: int) -> NDArray[np.float32]:
    """Count the pixels of each class in blocks of `scale` x `scale` pixels, as `count_blocks` does of a batch.

    Args:
        labels: Classes (*lead, H, W), H and W multiples of `scale`; numbers outside [0, num_classes) count for nothing.
        num_classes: K.
        scale: Side of a block in pixels, 15 at most: a byte counts them.

    Returns:
        Counts (*lead, H / scale, W / scale, K), float32.
    """
    height, width = labels.shape[-2:]
    counts = np.empty((*labels.shape[:-2], height // scale, width // scale, num_classes), np.float32)
    for label in range(num_classes):
        found = (labels == label).view(np.uint8).reshape(*labels.shape[:-2], height // scale, scale, width)
        rows = found.sum(axis=-2, dtype=np.uint8)
        counts[..., label] = _add_neighbours(rows.reshape(*rows.shape[:-1], width // scale, scale, 1))[..., 0]
    return counts


def _add_neighbours(rows: NDArray[Any]) -> NDArray[Any]:
    """The sums over the last axis but one of rows (..., W, scale, C): numpy's own is slow over so few values."""
    sums = rows[..., 0, :].copy()
    for place in range(1, rows.shape[-2]):
        sums += rows[..., place, :]
    return sums
