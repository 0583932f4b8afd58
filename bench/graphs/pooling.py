"""Pixel values to one row per segment, each in a single compiled pass over the pixels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

_VECTOR_SORT = 48  # pixels per segment


@njit(cache=True, nogil=True)
def _sums(values: NDArray[np.float32], ids: NDArray[np.int32], sums: NDArray[np.float64]) -> None:
    for pixel in range(ids.size):
        value = np.float64(values[pixel])
        node = ids[pixel]
        sums[node, 0] += value
        sums[node, 1] += value * value


@njit(cache=True, nogil=True)
def _grouped(
    values: NDArray[np.float32], ids: NDArray[np.int32], ends: NDArray[np.int64], ascending: bool
) -> NDArray[np.float32]:
    """Values segment after segment (a counting sort), within each ascending if asked for."""
    cursor = np.zeros(ends.size, np.int64)
    cursor[1:] = ends[:-1]
    grouped = np.empty(values.size, np.float32)
    for pixel in range(ids.size):
        grouped[cursor[ids[pixel]]] = values[pixel]
        cursor[ids[pixel]] += 1
    if ascending:
        start = 0
        for end in ends:
            grouped[start:end].sort()
            start = end
    return grouped


def _sorted_groups(values: NDArray[np.float32], ids: NDArray[np.int32], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """Values segment after segment, ascending within each.

    numpy sorts with vector instructions, which pays the cost of its calls from some dozens of values on.
    """
    large = values.size >= _VECTOR_SORT * ends.size
    grouped = _grouped(values, ids, ends, not large)
    start = 0
    for end in ends.tolist() if large else ():
        grouped[start:end].sort()
        start = end
    return np.asarray(grouped)


@njit(cache=True, nogil=True)
def _centroid_sums(segments: NDArray[np.int32], sums: NDArray[np.int64]) -> None:
    """Add up z, y, x over the pixels of each segment of (D, H, W)."""
    depth, height, width = segments.shape
    for z in range(depth):
        for y in range(height):
            line = segments[z, y]
            for x in range(width):
                sums[line[x], 0] += z
                sums[line[x], 1] += y
                sums[line[x], 2] += x


def pixel_counts(segments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pixels of each segment, (N,)."""
    return np.bincount(segments.ravel())


def segment_means(
    values: NDArray[np.float32], segments: NDArray[np.int32], counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean of `values` (*spatial) in each segment, (N,)."""
    return segment_moments(values, segments, counts)[:, 0]


def segment_moments(
    values: NDArray[np.float32], segments: NDArray[np.int32], counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean and population standard deviation of `values` (*spatial) in each segment, (N, 2).

    Summed in double precision around a common offset, so that a bright background costs no digits.
    """
    offset = np.float32(values.mean())
    sums = np.zeros((counts.size, 2))
    _sums(np.ascontiguousarray(values - offset).ravel(), segments.ravel(), sums)
    mean, square = (sums / counts[:, None]).T
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return np.stack([mean + offset, spread], axis=1).astype(np.float32)


def segment_quantiles(
    values: NDArray[np.float32], segments: NDArray[np.int32], counts: NDArray[np.int64], quantiles: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Quantiles in [0, 1] of `values` (*spatial) in each segment, (N, Q), linear between ranks as `numpy.quantile`."""
    ends = np.cumsum(counts)
    grouped = _sorted_groups(np.ascontiguousarray(values).ravel(), segments.ravel(), ends)
    rank = quantiles * (counts[:, None] - 1)  # (N, Q), from the segment's first value
    low = np.floor(rank).astype(np.int64)
    high = np.ceil(rank).astype(np.int64)
    first = (ends - counts)[:, None]
    share = (rank - low).astype(np.float32)
    return np.asarray(grouped[first + low] * (1 - share) + grouped[first + high] * share, np.float32)


def segment_centroids(segments: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean pixel index of each segment along each axis, (N, spatial_axes)."""
    sums = np.zeros((counts.size, 3), np.int64)
    _centroid_sums(np.ascontiguousarray(segments).reshape((1,) * (3 - segments.ndim) + segments.shape), sums)
    return (sums[:, 3 - segments.ndim :] / counts[:, None]).astype(np.float32)
