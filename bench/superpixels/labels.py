"""From mask to nodes and back: votes of the pixels in each superpixel, and nodes painted onto pixels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def class_counts(
    mask: NDArray[np.integer], segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """Pixels of each class in each superpixel: (N, num_classes). Pixels of `ignore_index` are counted nowhere.

    Raises ValueError for shapes that differ and for classes outside [0, num_classes).
    """
    if mask.shape != segments.shape:
        raise ValueError(f"mask and segments must have one shape, got {mask.shape} and {segments.shape}")
    ignored = -1 if ignore_index is None else ignore_index
    counts = np.zeros((int(segments.max()) + 1, num_classes), dtype=np.int64)
    stray = _count(np.ravel(mask), np.ravel(segments), ignored, ignore_index is not None, counts)
    if stray >= 0:
        value = np.ravel(mask)[stray]
        raise ValueError(f"mask must hold classes in [0, {num_classes}) or ignore_index {ignore_index}, got {value}")
    return counts


def majority_labels(
    mask: NDArray[np.integer], segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """Most frequent class of each superpixel: (N,). Ties, and superpixels of ignored pixels, get the lowest index."""
    return np.asarray(class_counts(mask, segments, num_classes, ignore_index).argmax(axis=1))


def paint(node_labels: NDArray[np.integer], segments: NDArray[np.integer]) -> NDArray[np.integer]:
    """Give each pixel the label of its superpixel: (N,) and (*spatial) -> (*spatial), of the labels' type."""
    return np.asarray(np.take(node_labels, segments))


@njit(cache=True, nogil=True)
def _count(mask, segments, ignored, ignoring, counts):  # type: ignore[no-untyped-def]
    for pixel in range(mask.size):
        value = np.int64(mask[pixel])
        if ignoring and value == ignored:
            continue
        if value < 0 or value >= counts.shape[1]:
            return pixel
        counts[segments[pixel], value] += 1
    return -1
