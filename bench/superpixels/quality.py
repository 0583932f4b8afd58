"""How good a superpixel partition is for a mask, before anything has learned: its ceiling and two classic errors."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.superpixels.labels import count_classes, majority_labels, paint


def paint_oracle(
    mask: NDArray[np.integer], segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> NDArray[np.integer]:
    """The mask that a perfect classifier of these superpixels would paint: their majority classes."""
    return paint(majority_labels(mask, segments, num_classes, ignore_index), segments)


def undersegmentation_error(
    mask: NDArray[np.integer], segments: NDArray[np.integer], ignore_index: int | None = None
) -> float:
    """Pixels that leak across the classes, over all pixels: 0 for a partition that respects the mask; lower is better.

    1 / pixels * sum over classes S, superpixels P of min(|P in S|, |P outside S|): Neubert and Protzel, "Superpixel
    benchmark and comparison", Forum Bildverarbeitung 2012, with the mask's classes as regions. Not a number when no
    pixel counts.
    """
    num_classes = int(mask.max()) + 1
    counts = count_classes(mask, segments, num_classes, ignore_index)
    sizes = counts.sum(axis=1, keepdims=True)
    return float(np.minimum(counts, sizes - counts).sum() / sizes.sum()) if sizes.any() else float("nan")


def boundary_recall(
    mask: NDArray[np.integer],
    segments: NDArray[np.integer],
    tolerance: float,
    ignore_index: int | None = None,
) -> float:
    """Share of the mask's boundary pixels with a superpixel boundary within `tolerance` pixels (Euclidean), in [0, 1].

    A boundary pixel has a face neighbour of another value; steps to or from ignored pixels are none. Not a number for
    a mask without boundary.
    """
    truth = find_boundary(mask, ignore_index)
    if not truth.any():
        return float("nan")
    found = ndimage.binary_dilation(find_boundary(segments), structure=_ball(tolerance, mask.ndim))
    return float(np.count_nonzero(truth & found) / np.count_nonzero(truth))


def find_boundary(labels: NDArray[np.integer], ignore_index: int | None = None) -> NDArray[np.bool_]:
    """Where a pixel has a face neighbour of another value, neither being `ignore_index`: (*spatial) bool."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    for axis in range(labels.ndim):
        before, after = _either_side(axis, labels.ndim)
        step = labels[before] != labels[after]
        if ignore_index is not None:
            step &= (labels[before] != ignore_index) & (labels[after] != ignore_index)
        edge[before] |= step
        edge[after] |= step
    return edge


def _either_side(axis: int, ndim: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    before, after = [slice(None)] * ndim, [slice(None)] * ndim
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def _ball(radius: float, ndim: int) -> NDArray[np.bool_]:
    reach = int(radius)
    offsets = np.indices((2 * reach + 1,) * ndim) - reach
    return np.asarray((offsets**2).sum(axis=0) <= radius**2)
