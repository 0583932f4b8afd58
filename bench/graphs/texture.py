"""A multi-scale filter bank, pooled into segments one response at a time: memory is a few images at any scale."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.graphs.pooling import pixel_counts, segment_moments

SIGMAS = (1.0, 2.0, 4.0, 8.0)  # pixels


def _derivative(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    return ndimage.correlate1d(values, np.array([-0.5, 0, 0.5], np.float32), axis=axis, mode="nearest")


def symmetric_eigenvalues(entries: list[NDArray[np.float32]], axes: int) -> Iterator[NDArray[np.float32]]:
    """Eigenvalues, largest first, of a symmetric matrix per pixel; `entries` is its upper triangle, row by row."""
    if axes == 2:
        a, b, c = entries
        centre: NDArray[np.float32] = (a + c) / np.float32(2)
        radius: NDArray[np.float32] = np.hypot((a - c) / np.float32(2), b)
        yield centre + radius
        yield centre - radius
        return
    rows, columns = np.triu_indices(axes)
    matrix = np.empty((*entries[0].shape, axes, axes), np.float32)
    for row, column, entry in zip(rows, columns, entries, strict=True):
        matrix[..., row, column] = matrix[..., column, row] = entry
    yield from np.moveaxis(np.linalg.eigvalsh(matrix), -1, 0)[::-1]


def responses(channel: NDArray[np.float32], sigma: float) -> Iterator[NDArray[np.float32]]:
    """Filter responses (*spatial) of one channel at one scale in pixels.

    Smoothed intensity, gradient magnitude, eigenvalues of the Hessian and square roots of those of the structure
    tensor, with derivatives multiplied by sigma so that they compare across scales.
    """
    axes = channel.ndim
    pairs = [(row, column) for row in range(axes) for column in range(row, axes)]
    smooth = ndimage.gaussian_filter(channel, sigma, mode="nearest", truncate=3)
    yield smooth
    gradient = [sigma * _derivative(smooth, axis) for axis in range(axes)]
    yield np.sqrt(sum(np.square(part) for part in gradient[1:]) + np.square(gradient[0]))
    hessian = [sigma * _derivative(gradient[row], column) for row, column in pairs]
    yield from symmetric_eigenvalues(hessian, axes)
    del hessian
    tensor = [
        ndimage.gaussian_filter(gradient[row] * gradient[column], sigma, mode="nearest", truncate=3)
        for row, column in pairs
    ]
    for eigenvalue in symmetric_eigenvalues(tensor, axes):
        yield np.sqrt(np.maximum(eigenvalue, 0))


def texture(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Mean and standard deviation of every filter response in each segment, (N, C * scales * (4 + 4 spatial_axes))."""
    counts = pixel_counts(segments)
    columns = [
        segment_moments(response, segments, counts)
        for channel in np.moveaxis(image, -1, 0)
        for sigma in SIGMAS
        for response in responses(np.ascontiguousarray(channel), sigma)
    ]
    return np.concatenate(columns, axis=1)
