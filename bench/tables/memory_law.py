"""Memory by size: bytes = constant + per pixel + per node, fitted to measured peaks and tried on sizes left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from bench.config import InputError, require

FEWEST_SIZES = 3  # of images: with fewer, no size can be left out of a fit
WORST = 0.25  # relative error on a size left out, beyond which the data do not follow the law


@dataclass(frozen=True)
class MemoryLaw:
    """Peak memory = `constant` + `per_pixel` x pixels + `per_node` x nodes, in bytes.

    Attributes:
        constant: What a tiny image takes.
        per_pixel: Bytes for each pixel.
        per_node: Bytes for each superpixel; 0 for an arm without any.
        error: The largest relative error of a peak whose image size was left out of the fit.
        sizes: Numbers of pixels that were measured, ascending.
    """

    constant: float
    per_pixel: float
    per_node: float
    error: float
    sizes: tuple[float, ...]

    def predict(self, pixels: float, nodes: float = 0.0) -> float:
        """Return the bytes that an image of `pixels` with `nodes` superpixels takes."""
        return self.constant + self.per_pixel * pixels + self.per_node * nodes

    def find_largest(self, memory: float, pixels_per_node: float = inf) -> float:
        """Find the largest image for which some memory is enough.

        Args:
            memory: Bytes.
            pixels_per_node: Size of a superpixel; infinite for an arm without any.

        Returns:
            Pixels; 0 where even a tiny image does not fit, infinite where memory does not depend on the image.
        """
        slope = self.per_pixel + self.per_node / pixels_per_node
        if memory <= self.constant:
            return 0.0
        return (memory - self.constant) / slope if slope > 0 else inf


def fit_memory_law(pixels: Sequence[float], nodes: Sequence[float], peaks: Sequence[float]) -> MemoryLaw:
    """Fit the law to peaks by least squares of relative errors, no coefficient below 0.

    Args:
        pixels: Of each image, (n,).
        nodes: Superpixels of each image, (n,); all 0 for an arm without any.
        peaks: Bytes that each took, (n,), positive.

    Returns:
        The law, with its largest error on sizes left out: each size in turn is predicted by the fit to the others.

    Raises:
        InputError: There are fewer than `FEWEST_SIZES` sizes; nodes and pixels grow in step, so that their shares
            cannot be told apart; or a size left out is missed by more than `WORST`.
    """
    design, measured = _make_design(pixels, nodes), np.array(peaks, np.float64)
    sizes = np.unique(np.array(pixels, np.float64))
    require(
        len(sizes) >= FEWEST_SIZES,
        f"a law of memory by size needs images of at least {FEWEST_SIZES} sizes, and {len(sizes)} were measured",
    )
    errors = []
    for size in sizes:
        held_out = np.array(pixels) == size
        found = _solve(design[~held_out], measured[~held_out])
        errors += list(np.abs(design[held_out] @ found / measured[held_out] - 1))
    require(
        max(errors) <= WORST,
        f"memory does not follow the law: a size left out of the fit is missed by {max(errors):.0%}, "
        f"more than {WORST:.0%}",
    )
    constant, per_pixel, *rest = _solve(design, measured)
    return MemoryLaw(
        float(constant), float(per_pixel), float(rest[0]) if rest else 0.0, float(max(errors)), tuple(map(float, sizes))
    )


def _make_design(pixels: Sequence[float], nodes: Sequence[float]) -> NDArray[np.float64]:
    """Columns of ones, pixels and, where there are any, nodes: (n, 2 or 3)."""
    columns = [np.ones(len(pixels)), np.array(pixels, np.float64)]
    return np.stack([*columns, np.array(nodes, np.float64)] if np.any(nodes) else columns, axis=1)


def _solve(design: NDArray[np.float64], peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients, not negative, with the least sum of squared relative errors."""
    from scipy.optimize import nnls

    scale = design.max(axis=0)
    scaled = design / scale
    if len(design) < design.shape[1] or np.linalg.cond(scaled / np.linalg.norm(scaled, axis=0)) > 1e4:
        raise InputError(
            "the images do not tell apart what pixels, nodes and neither take: measure more sizes, "
            "with superpixels of two sizes"
        )
    found, _ = nnls(scaled / peaks[:, None], np.ones(len(peaks)))
    return np.asarray(found / scale, np.float64)
