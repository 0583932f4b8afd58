"""The ceiling of a network at lower resolution: the true mask averaged down and interpolated up again."""

import numpy as np
from numpy.typing import NDArray


def reduce_and_restore(
    truth: NDArray[np.integer], scale: int, num_classes: int, ignore_index: int | None = None
) -> NDArray[np.integer]:
    """Compute the mask of the best class shares at lower resolution.

    Args:
        truth: True classes (*spatial, H, W); of a volume each plane by itself.
        scale: Side of the blocks of pixels whose class shares are known.
        num_classes: Classes.
        ignore_index: Class of pixels that count for nothing.

    Returns:
        The class with the largest share at each pixel, shares interpolated bilinearly between the centres of blocks.
    """
    planes = truth.reshape(-1, *truth.shape[-2:])
    best = np.stack([_restore_plane(plane, scale, num_classes, ignore_index) for plane in planes])
    return best.reshape(truth.shape)


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
