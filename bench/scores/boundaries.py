"""Agreement of two masks on what has no area, such as the borders of a class: matches counted from either side."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands, release
from bench.arrays.spacing import relate_spacing

BAND_PIXELS = 1 << 22  # whose boundaries are compared at a time
SHIFTED = 4.0  # tolerance in pixels up to which shifting the edges about beats a distance transform


@dataclass(frozen=True)
class Matches:
    """Pixels of a structure of one class on either side, and those of them that match the other side.

    Sums over images are the matches of all images.
    """

    predicted_matched: int = 0
    predicted: int = 0
    true_matched: int = 0
    true: int = 0

    def __add__(self, other: "Matches") -> "Matches":
        return Matches(
            self.predicted_matched + other.predicted_matched,
            self.predicted + other.predicted,
            self.true_matched + other.true_matched,
            self.true + other.true,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where only one side has the structure, NaN where neither has."""
        if self.predicted + self.true == 0:
            return float("nan")
        if self.predicted_matched == 0 or self.true_matched == 0:
            return 0.0
        precision, recall = self.predicted_matched / self.predicted, self.true_matched / self.true
        return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class WideBand:
    """Rows of an image: those that count, `own`, as counted from the first of those that are read."""

    read: slice
    own: slice


def cut_wide_bands(
    shape: Sequence[int], tolerance: float, spacing: Sequence[float] | None = None, pixels: int = BAND_PIXELS
) -> list[WideBand]:
    """Cut an image into bands with the rows around them on which their boundaries hang.

    Args:
        shape: Of the image (*spatial).
        tolerance: Distance up to which two boundaries match, in units of the shortest side of a pixel.
        spacing: Length of a pixel along each axis; None: pixels are cubes.
        pixels: About how many pixels of a band count.

    Returns:
        Bands of which each row of the image is `own` to one.
    """
    reach = int(tolerance / relate_spacing(spacing, len(shape))[0]) + 2  # a boundary hangs on the next row as well
    found = []
    for start, stop in cut_bands(shape, pixels):
        first = max(start - reach, 0)
        found.append(WideBand(slice(first, min(stop + reach, shape[0])), slice(start - first, stop - first)))
    return found


def match_boundaries(
    truth: Readable,
    predicted: Readable,
    num_classes: int,
    tolerance: float,
    ignore_index: int | None = None,
    spacing: Sequence[float] | None = None,
    pixels: int = BAND_PIXELS,
) -> list[Matches]:
    """Match the boundary pixels of each class within a tolerance: Csurka et al., BMVC 2013, the boundary F1.

    Args:
        truth: True classes (*spatial).
        predicted: Predicted classes, of the same shape.
        num_classes: Number of classes K.
        tolerance: Euclidean distance, in units of the shortest side of a pixel, up to which two boundary pixels match.
        ignore_index: True value of pixels that do not count; None counts all.
        spacing: Length of a pixel along each axis; None: pixels are cubes.
        pixels: About how many pixels are in memory at a time; the result does not depend on it.

    Returns:
        The matches of each of the K classes.
    """
    found = [Matches()] * num_classes
    for band in cut_wide_bands(truth.shape, tolerance, spacing, pixels):
        true, guess = np.asarray(truth[band.read]), np.asarray(predicted[band.read])
        kept = np.ones(true.shape, bool)
        if ignore_index is not None:
            kept = true != ignore_index
            true = np.where(kept, true, guess)  # so that ignored pixels make no boundaries
        for label in range(num_classes):
            edges = class_boundary(true, label) & kept, class_boundary(guess, label) & kept
            found[label] += _match(*edges, tolerance, spacing, band.own)
        release(truth)
        release(predicted)
    return found


def class_boundary(mask: NDArray[np.integer], label: int) -> NDArray[np.bool_]:
    """Pixels of `label` with a face neighbour of another class; the image's edge is no boundary. (*spatial) bool."""
    inside: NDArray[np.bool_] = mask == label
    edge = np.zeros_like(inside)
    for axis in range(mask.ndim):
        before, after = neighbours(mask.ndim, axis)
        differs = inside[before] != inside[after]
        edge[before] |= differs
        edge[after] |= differs
    edge &= inside
    return edge


def neighbours(ndim: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two index tuples whose views are neighbours along `axis`."""
    whole = [slice(None)] * ndim
    before, after = whole.copy(), whole.copy()
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def _match(
    true: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    tolerance: float,
    spacing: Sequence[float] | None,
    own: slice,
) -> Matches:
    """Match two edges; only pixels of the rows `own` count."""
    near_true, near_predicted = (dilate(edge, tolerance, spacing=spacing)[own] for edge in (true, predicted))
    true, predicted = true[own], predicted[own]
    return Matches(
        int((predicted & near_true).sum()), int(predicted.sum()), int((true & near_predicted).sum()), int(true.sum())
    )


def dilate(
    edge: NDArray[np.bool_], tolerance: float, shifted: float = SHIFTED, spacing: Sequence[float] | None = None
) -> NDArray[np.bool_]:
    """Find the pixels near an edge.

    Args:
        edge: (*spatial) bool.
        tolerance: Largest Euclidean distance, in units of the shortest side of a pixel.
        shifted: Tolerance up to which the edge is shifted about, which is faster there than a distance transform.
        spacing: Length of a pixel along each axis; None: pixels are cubes.

    Returns:
        (*spatial) bool.
    """
    if not edge.any():
        return edge
    pitch = relate_spacing(spacing, edge.ndim)
    if tolerance > shifted:
        from scipy import ndimage

        sampling = None if spacing is None else pitch
        near_enough: NDArray[np.bool_] = ndimage.distance_transform_edt(~edge, sampling) <= tolerance
        return near_enough
    near = np.zeros_like(edge)
    reach = range(-int(tolerance), int(tolerance) + 1)
    for offset in itertools.product(reach, repeat=edge.ndim):
        if sum((step * length) ** 2 for step, length in zip(offset, pitch, strict=True)) <= tolerance * tolerance:
            there = tuple(slice(max(step, 0), min(step, 0) or None) for step in offset)
            here = tuple(slice(max(-step, 0), min(-step, 0) or None) for step in offset)
            near[there] |= edge[here]
    return near
