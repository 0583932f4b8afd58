"""How far apart the borders of a class lie on two masks, in the unit of the pixels' lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.scores.boundaries import class_boundary


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances from the boundary pixels of a class on either mask to the nearest one on the other.

    Sums over images are the distances of all images. Where only one mask has a boundary, each pixel of it counts as the
    image's diagonal away: who finds nothing must not be nearest.

    Attributes:
        total: Their sum.
        pixels: Number of boundary pixels, of both masks together.
    """

    total: float = 0.0
    pixels: int = 0

    def __add__(self, other: "SurfaceDistances") -> "SurfaceDistances":
        return SurfaceDistances(self.total + other.total, self.pixels + other.pixels)

    @property
    def mean(self) -> float:
        """Average symmetric surface distance; NaN where no image has a boundary on either mask."""
        return self.total / self.pixels if self.pixels else float("nan")


def measure_surfaces(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    num_classes: int,
    spacing: Sequence[float],
    ignore_index: int | None = None,
) -> list[SurfaceDistances]:
    """Measure the distances between the boundary pixels of each class, centre to centre.

    Args:
        truth: True classes (*spatial).
        predicted: Predicted classes, of the same shape.
        num_classes: Number of classes K.
        spacing: Length of a pixel along each axis, in the unit of the result.
        ignore_index: True value of pixels that do not count; None counts all.

    Returns:
        The distances of each of the K classes.
    """
    kept = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    masks = (np.where(kept, truth, predicted), predicted)  # so that ignored pixels make no borders
    diagonal = float(np.linalg.norm(np.asarray(truth.shape) * np.asarray(spacing)))
    found = []
    for label in range(num_classes):
        one, other = (np.argwhere(class_boundary(mask, label) & kept) * np.asarray(spacing) for mask in masks)
        found.append(_measure(one, other, diagonal))
    return found


def _measure(one: NDArray[np.float64], other: NDArray[np.float64], furthest: float) -> SurfaceDistances:
    """Measure the distances between two sets of points, (N, axes) and (M, axes); `furthest` where one is empty."""
    from scipy.spatial import cKDTree  # here, as few data sets say how long their pixels are

    if len(one) == 0 or len(other) == 0:
        points = len(one) + len(other)
        return SurfaceDistances(furthest * points, points)
    there, back = (np.asarray(cKDTree(one_side).query(points)[0]) for one_side, points in ((other, one), (one, other)))
    return SurfaceDistances(float(there.sum() + back.sum()), len(one) + len(other))
