"""Node features of intensity, shape and position: `FEATURES` sets of one row per segment, combined by name."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.graphs.pooling import pixel_counts, segment_centroids, segment_moments, segment_quantiles
from bench.graphs.texture import texture

DECILES = np.arange(1, 10) / 10
QUANTILES = np.array([0.0, 0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1.0])

FeatureSet = Callable[[NDArray[np.float32], NDArray[np.int32]], NDArray[np.float32]]


def intensity(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Mean, standard deviation and the nine deciles of each channel, (N, 11 C).

    The eleven statistics of Jain et al., Microscopy 2024, as in their published code.
    """
    counts = pixel_counts(segments)
    columns = []
    for channel in np.moveaxis(image, -1, 0):
        columns.append(segment_moments(channel, segments, counts))
        columns.append(segment_quantiles(channel, segments, counts, DECILES))
    return np.concatenate(columns, axis=1)


def quantiles(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Minimum, maximum and seven quantiles that favour the tails, of each channel, (N, 9 C)."""
    counts = pixel_counts(segments)
    channels = np.moveaxis(image, -1, 0)
    return np.concatenate([segment_quantiles(channel, segments, counts, QUANTILES) for channel in channels], axis=1)


def _covariance(segments: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covariance of the pixel positions of each segment, (N, axes, axes), with the pixel's own extent (1/12) added."""
    axes = segments.ndim
    flat = segments.ravel()
    centroids = segment_centroids(segments, counts)
    offsets = []
    for axis, index in enumerate(np.ogrid[tuple(slice(size) for size in segments.shape)]):
        offsets.append((np.broadcast_to(index, segments.shape).ravel() - centroids[flat, axis]).astype(np.float32))
    covariance = np.zeros((counts.size, axes, axes))
    for row in range(axes):
        for column in range(row, axes):
            total = np.bincount(flat, weights=offsets[row] * offsets[column], minlength=counts.size)
            covariance[:, row, column] = covariance[:, column, row] = total / counts
    return covariance + np.eye(axes) / 12


def _boundary_faces(segments: NDArray[np.int32], num_nodes: int) -> NDArray[np.int64]:
    """Pixel faces between each segment and another one, or the image's border, (N,)."""
    faces = np.zeros(num_nodes, np.int64)
    for axis in range(segments.ndim):
        lines = np.moveaxis(segments, axis, 0)
        ahead, behind = lines[1:], lines[:-1]
        differ = ahead != behind
        for side in (ahead[differ], behind[differ], lines[0].ravel(), lines[-1].ravel()):
            faces += np.bincount(side, minlength=num_nodes)
    return faces


def shape(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Log of the pixel count, elongation, compactness, (N, 3).

    Elongation is 1 - shortest / longest axis of the ellipse of equal second moments, in [0, 1). Compactness is the
    number of faces of a square (cube) of the same size over the segment's own, in (0, 1].
    """
    del image
    axes = segments.ndim
    counts = pixel_counts(segments)
    moments = np.linalg.eigvalsh(_covariance(segments, counts))  # ascending
    elongation = 1 - np.sqrt(moments[:, 0] / moments[:, -1])
    square_faces = 2 * axes * counts ** ((axes - 1) / axes)
    compactness = square_faces / _boundary_faces(segments, counts.size)
    return np.stack([np.log(counts), elongation, compactness], axis=1).astype(np.float32)


def position(image: NDArray[np.float32], segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Centroid in [0, 1] along each axis of the image, (N, spatial_axes)."""
    del image
    centroids = segment_centroids(segments, pixel_counts(segments))
    return (centroids / np.maximum(np.array(segments.shape, np.float32) - 1, 1)).astype(np.float32)


FEATURES: dict[str, FeatureSet] = {
    "intensity": intensity,
    "quantiles": quantiles,
    "texture": texture,
    "shape": shape,
    "position": position,
}
