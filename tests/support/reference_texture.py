"""The texture features written out slowly with scipy, a whole response at a time: what the fused pass is held to."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.graphs.texture import COARSE, FINE

Image = NDArray[np.float64]


def smoothed(values: Image, sigma: float) -> Image:
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3))


def derivative(values: Image, axis: int) -> Image:
    return np.asarray(ndimage.correlate1d(values, [-0.5, 0, 0.5], axis=axis, mode="nearest"))


def eigenvalues(entries: list[Image], axes: int) -> Iterator[Image]:
    """Largest first, of symmetric matrices given by their upper triangles, row by row."""
    matrix = np.empty((*entries[0].shape, axes, axes))
    for row, column, entry in zip(*np.triu_indices(axes), entries, strict=True):
        matrix[..., row, column] = matrix[..., column, row] = entry
    yield from np.moveaxis(np.linalg.eigvalsh(matrix), -1, 0)[::-1]


def responses(channel: Image, sigma: float) -> Iterator[Image]:
    axes = channel.ndim
    pairs = [(row, column) for row in range(axes) for column in range(row, axes)]
    smooth = smoothed(channel, sigma)
    yield smooth
    gradient = [sigma * derivative(smooth, axis) for axis in range(axes)]
    yield np.sqrt(np.sum(np.square(gradient), axis=0))
    yield from eigenvalues([sigma * derivative(gradient[row], column) for row, column in pairs], axes)
    for value in eigenvalues([smoothed(gradient[row] * gradient[column], sigma) for row, column in pairs], axes):
        yield np.sqrt(np.maximum(value, 0))


def halved(values: Image) -> Image:
    """Mean of each block of 2 pixels along every axis; an odd end is repeated. An axis of one pixel stays."""
    for axis in range(values.ndim):
        if values.shape[axis] > 1:
            even = np.moveaxis(values, axis, 0)
            even = np.concatenate([even, even[-1:]]) if len(even) % 2 else even
            values = np.moveaxis((even[::2] + even[1::2]) / 2, 0, axis)
    return values


def enlarged(values: Image, shape: tuple[int, ...], stride: int) -> Image:
    """Each pixel `stride` times along every axis, cut to `shape`."""
    for axis, size in enumerate(shape):
        values = values.take(np.minimum(np.arange(size) // stride, values.shape[axis] - 1), axis=axis)
    return values


def texture(image: NDArray[np.float32], segments: NDArray[np.int32]) -> Image:
    """(N, C * columns) in the order of the feature set `texture`."""
    columns = []
    parts = [segments == node for node in range(segments.max() + 1)]
    for channel in np.moveaxis(image.astype(np.float64), -1, 0):
        level, stride = channel, 1
        for sigma in FINE:
            for response in responses(level, sigma):
                columns.append([response[part].mean() for part in parts])
                columns.append([response[part].std() for part in parts])
        for sigma in COARSE:
            while sigma >= 8 * stride:
                level, stride = halved(level), 2 * stride
            for response in responses(level, sigma / stride):
                columns.append([enlarged(response, segments.shape, stride)[part].mean() for part in parts])
    return np.array(columns).T
