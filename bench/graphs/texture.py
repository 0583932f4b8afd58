"""A multi-scale filter bank, pooled into segments one response at a time: memory is a few images at any scale."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.graphs.pooling import pixel_counts, segment_means, segment_moments

FINE = (1.0, 2.0, 4.0)  # standard deviations of the Gaussians, in pixels
COARSE = (8.0, 16.0, 32.0)


def _smoothed(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3)


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
    smooth = _smoothed(channel, sigma)
    yield smooth
    gradient = [np.float32(sigma) * _derivative(smooth, axis) for axis in range(axes)]
    yield np.sqrt(sum(np.square(part) for part in gradient[1:]) + np.square(gradient[0]))
    hessian = [np.float32(sigma) * _derivative(gradient[row], column) for row, column in pairs]
    yield from symmetric_eigenvalues(hessian, axes)
    del hessian
    tensor = [_smoothed(gradient[row] * gradient[column], sigma) for row, column in pairs]
    for eigenvalue in symmetric_eigenvalues(tensor, axes):
        yield np.sqrt(np.maximum(eigenvalue, 0))


def halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each block of 2 pixels along every axis; an odd end is repeated. An axis of one pixel stays."""
    for axis in range(values.ndim):
        if values.shape[axis] > 1:
            even = np.moveaxis(values, axis, 0)
            even = np.concatenate([even, even[-1:]]) if len(even) % 2 else even
            values = np.moveaxis((even[::2] + even[1::2]) / np.float32(2), 0, axis)
    return values


def enlarged(values: NDArray[np.float32], shape: tuple[int, ...], stride: int) -> NDArray[np.float32]:
    """Each pixel `stride` times along every axis, cut to `shape`: undoes the sizes of repeated halving."""
    if stride == 1:
        return values
    for axis, size in enumerate(shape):
        index = np.minimum(np.arange(size) // stride, values.shape[axis] - 1)
        values = values.take(index, axis=axis)
    return values


def texture(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Filter responses pooled in each segment: (N, C * (2 * fine + coarse scales) * (2 + 2 spatial_axes)).

    Mean and standard deviation of the fine scales; the mean of the coarse ones, which hardly vary within a segment. The
    latter are filtered on a halved, quartered, ... image, where they are four pixels wide: context at little cost.
    """
    counts = pixel_counts(segments)
    columns = []
    for channel in np.moveaxis(image, -1, 0):
        level, stride = np.ascontiguousarray(channel), 1
        for sigma in FINE:
            columns += [segment_moments(response, segments, counts) for response in responses(level, sigma)]
        for sigma in COARSE:
            while sigma >= 8 * stride:
                level, stride = halved(level), 2 * stride
            for response in responses(level, sigma / stride):
                columns.append(segment_means(enlarged(response, segments.shape, stride), segments, counts)[:, None])
    return np.concatenate(columns, axis=1)
