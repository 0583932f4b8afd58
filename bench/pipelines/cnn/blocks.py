"""Crops at lower resolution: means of blocks of pixels, and how many pixels of each class are in them. Numpy only."""

import numpy as np
from numpy.typing import NDArray


def average_blocks(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Average blocks of `scale` x `scale` pixels of an image (*lead, H, W, C), as `reduce_images` does of a batch."""
    height, width, channels = image.shape[-3:]
    rows = image.reshape(*image.shape[:-3], height // scale, scale, width * channels).sum(axis=-2)
    sums = rows.reshape(*rows.shape[:-1], width // scale, scale, channels).sum(axis=-2)
    return np.asarray(sums / np.float32(scale * scale), np.float32)


def count_in_blocks(labels: NDArray[np.integer], num_classes: int, scale: int) -> NDArray[np.float32]:
    """Count the pixels of each class in blocks of `scale` x `scale` pixels, as `count_blocks` does of a batch.

    Args:
        labels: Classes (*lead, H, W), H and W multiples of `scale`; numbers outside [0, num_classes) count for nothing.
        num_classes: K.
        scale: Side of a block in pixels.

    Returns:
        Counts (*lead, H / scale, W / scale, K), float32.
    """
    height, width = labels.shape[-2:]
    blocks = labels.reshape(*labels.shape[:-2], height // scale, scale, width // scale, scale)
    counts = [(blocks == label).sum(axis=-3, dtype=np.int32).sum(axis=-1) for label in range(num_classes)]
    return np.stack(counts, axis=-1).astype(np.float32)
