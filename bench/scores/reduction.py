"""The ceiling of a network at lower resolution: the true mask averaged down and interpolated up again."""

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands
from bench.arrays.threads import Band
from bench.scores.boundaries import BAND_PIXELS
from bench.scores.metrics import Counts, confusion_matrix


def count_reduced(truth: Readable, scale: int, num_classes: int, ignore_index: int | None = None) -> Counts:
    """Count the pixels of the mask of `reduce_and_restore` by true class (row) and class (column), band by band.

    Args:
        truth: True classes (*spatial, H, W); an array, or anything that gives its rows as arrays.
        scale: As in `reduce_and_restore`.
        num_classes: Number of classes K.
        ignore_index: Class of pixels that count for nothing.

    Returns:
        Pixels (K, K) int64.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    for start, stop in cut_bands(truth.shape, BAND_PIXELS):
        best = reduce_and_restore(truth, scale, num_classes, ignore_index, (start, stop))
        counts += confusion_matrix(truth[start:stop], best, num_classes, ignore_index)
    return counts


def reduce_and_restore(
    truth: Readable, scale: int, num_classes: int, ignore_index: int | None = None, rows: Band | None = None
) -> NDArray[np.integer]:
    """Compute the mask of the best class shares at lower resolution.

    Args:
        truth: True classes (*spatial, H, W); of a volume each plane by itself.
        scale: Side of the blocks of pixels whose class shares are known.
        num_classes: Classes.
        ignore_index: Class of pixels that count for nothing.
        rows: First row that is wanted and the one after the last, of a volume planes; None: all.

    Returns:
        The class with the largest share at each pixel, shares interpolated bilinearly between the centres of blocks.
    """
    start, stop = (0, truth.shape[0]) if rows is None else rows
    if len(truth.shape) == 2:
        low = max(start // scale - 1, 0) * scale  # a row lies between the centres of two blocks
        around = truth[low : (-(-stop // scale) + 1) * scale]
        return _restore_plane(around, scale, num_classes, ignore_index)[start - low : stop - low]
    planes = truth[start:stop].reshape(-1, *truth.shape[-2:])
    best = np.stack([_restore_plane(plane, scale, num_classes, ignore_index) for plane in planes])
    return best.reshape(stop - start, *truth.shape[1:])


def _restore_plane(
    plane: NDArray[np.integer], scale: int, num_classes: int, ignore_index: int | None
) -> NDArray[np.integer]:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % scale), (0, -width % scale)), mode="edge")
    rows, columns = padded.shape[0] // scale, padded.shape[1] // scale
    blocks = padded.reshape(rows, scale, columns, scale)
    counted = np.maximum((blocks != ignore_index).sum(axis=(1, 3)), 1) if ignore_index is not None else scale**2
    winner = np.zeros(plane.shape, np.min_scalar_type(max(num_classes - 1, 1)))
    highest = np.full(plane.shape, -1.0, np.float32)
    for index in range(num_classes):  # one class at a time: the shares of all would take K times the memory
        share = ((blocks == index).sum(axis=(1, 3)) / counted).astype(np.float32)
        restored = _stretch(_stretch(share, scale, height).T, scale, width).T
        np.putmask(winner, restored > highest, index)
        np.maximum(highest, restored, out=highest)
    return winner


def _stretch(values: NDArray[np.float32], scale: int, length: int) -> NDArray[np.float32]:
    """Interpolate linearly along the first axis, from block centres to `length` pixel centres."""
    position = np.clip((np.arange(length) + 0.5) / scale - 0.5, 0, len(values) - 1)
    before = position.astype(np.intp)
    weight = (position - before).astype(np.float32)[:, None]
    after = np.minimum(before + 1, len(values) - 1)
    stretched: NDArray[np.float32] = values[before] * (1 - weight) + values[after] * weight
    return stretched
