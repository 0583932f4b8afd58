"""Pairs of neighbouring superpixels and their attributes: `EDGES` finders, combined by name.

Pairs become edges in both directions, sorted by target and then source; of three nodes and the pairs 0-1, 0-2, 1-2:

    pair of an edge    0  1  0  2  1  2
    source             1  2  0  2  0  1     index[0]
    target             0  0  1  1  2  2     index[1]
    attributes         share of the target's boundary | contrast | difference of means | distance | unit vector
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import count_threads
from bench.graphs.pooling import MOMENTS_ALONE, Requirements, SegmentStatistics
from bench.superpixels.adjacency import order_pairs


@dataclass(frozen=True)
class NodePairs:
    """Undirected pairs of different segments, each once, the lower id first, in ascending order.

    `index` is (P, 2); `boundary` (P,) is the length of their common boundary in pixel faces and `contrast` (P,) the
    mean absolute step of the image across it, both zero where they do not touch.
    """

    index: NDArray[np.int64]
    boundary: NDArray[np.float32]
    contrast: NDArray[np.float32]


@dataclass(frozen=True)
class EdgeFinder:
    """`find(statistics, neighbours)` returns the pairs; `requires` is what must have been pooled of the image."""

    find: Callable[[SegmentStatistics, int], NodePairs]
    requires: Requirements = MOMENTS_ALONE


def find_adjacent(statistics: SegmentStatistics, neighbours: int) -> NodePairs:
    """Return the pairs of segments that share a boundary."""
    del neighbours
    assert statistics.touching is not None
    touching = statistics.touching
    return NodePairs(touching.pairs, touching.length.astype(np.float32), touching.contrast.astype(np.float32))


def find_nearest(statistics: SegmentStatistics, neighbours: int) -> NodePairs:
    """Return pairs of which one is among the `neighbours` nearest centroids of the other; all pairs of fewer nodes."""
    from scipy.spatial import KDTree  # 20 MiB that other edges do not need

    nodes = len(statistics.centroids)
    reach = min(neighbours + 1, nodes)  # the nearest is the node itself, or a twin at the same place
    _, near = KDTree(statistics.centroids).query(statistics.centroids, k=reach, workers=count_threads())
    near = near.reshape(nodes, reach).ravel()
    one, other, nothing = (
        np.repeat(np.arange(nodes), reach),
        near.astype(np.int64, copy=False),
        np.zeros(len(near), np.float32),
    )
    return _keep_distinct(np.minimum(one, other), np.maximum(one, other), nothing, nothing, nodes)


EDGES: dict[str, EdgeFinder] = {
    "adjacency": EdgeFinder(find_adjacent, Requirements(faces=True)),
    "knn": EdgeFinder(find_nearest),
}


def unite_pairs(parts: list[NodePairs], num_nodes: int) -> NodePairs:
    """Return every pair of any part once; boundary and contrast from the part in which they are not zero."""
    if len(parts) == 1:
        return parts[0]
    first, second = np.concatenate([part.index for part in parts]).T
    boundary = np.concatenate([part.boundary for part in parts])
    contrast = np.concatenate([part.contrast for part in parts])
    return _keep_distinct(np.ascontiguousarray(first), np.ascontiguousarray(second), boundary, contrast, num_nodes)


def _keep_distinct(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    boundary: NDArray[np.float32],
    contrast: NDArray[np.float32],
    nodes: int,
) -> NodePairs:
    """Return each pair of different nodes once, in ascending order, with the largest of its values."""
    return NodePairs(*_select_unique(first, second, boundary, contrast, order_pairs(first, second, nodes)))


class EdgeList(NamedTuple):
    """Source, target and pair (E,) of each edge; a record for kernels."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    pair: NDArray[np.int64]


class PairValues(NamedTuple):
    """Boundary in pixel faces, contrast, and distance of the centroids in pixels (P,) of each pair; for kernels."""

    boundary: NDArray[np.float32]
    contrast: NDArray[np.float32]
    length: NDArray[np.float64]


@dataclass(frozen=True)
class DirectedEdges:
    """Both directions of every pair, sorted by target, then source.

    `index` (2, E) is source then target, `attributes` (E, 4 + spatial_axes), `weights` (E,).
    """

    index: NDArray[np.int64]
    attributes: NDArray[np.float32]
    weights: NDArray[np.float32]


def direct_pairs(pairs: NodePairs, centroids: NDArray[np.float32], means: NDArray[np.float32]) -> DirectedEdges:
    """Make edges of pairs, one in each direction.

    Args:
        pairs: NodePairs of N nodes.
        centroids: Positions (N, spatial_axes) in pixels.
        means: Mean intensities (N, C).

    Returns:
        Edges with the attributes share of the target's boundary, contrast across the boundary, difference of the mean
        intensities (root of summed squares), distance of the centroids in units of the graph's median, and unit vector
        from source to target; and with the weight 1 / (1 + distance^2) in those units, which is 1/2 at the median.
    """
    first, second = np.ascontiguousarray(pairs.index.T)
    source, target, pair = _list_directions(first, second, len(centroids))
    perimeter, length = _measure_pairs(first, second, pairs.boundary, centroids)
    spacing = max(float(np.median(length)), 1e-6) if len(length) else 1.0
    edges, values = EdgeList(source, target, pair), PairValues(pairs.boundary, pairs.contrast, length)
    attributes, weights = _describe(edges, values, perimeter, spacing, centroids, means)
    return DirectedEdges(np.stack([source, target]), attributes, weights)


@njit(cache=True, nogil=True)
def _list_directions(first, second, nodes):  # type: ignore[no-untyped-def]
    """Return source, target and pair of both directions of ascending pairs, sorted as drawn above: a counting sort."""
    source = np.empty(2 * first.size, dtype=np.int64)
    target, of = np.empty_like(source), np.empty_like(source)
    cursor = np.zeros(nodes + 1, dtype=np.int64)
    for pair in range(first.size):
        cursor[first[pair] + 1] += 1
        cursor[second[pair] + 1] += 1
    cursor = np.cumsum(cursor)
    for way in range(2):  # the sources below a target come before those above it
        for pair in range(first.size):
            low, high = first[pair], second[pair]
            to = high if way == 0 else low
            place = cursor[to]
            source[place], target[place], of[place] = low + high - to, to, pair
            cursor[to] = place + 1
    return source, target, of


@njit(cache=True, nogil=True)
def _measure_pairs(first, second, boundary, centroids):  # type: ignore[no-untyped-def]
    """Return the boundary (N,) of each node, and the distance (P,) of the two centroids of each pair."""
    perimeter = np.zeros(centroids.shape[0], dtype=np.float64)
    length = np.empty(first.size, dtype=np.float64)
    for pair in range(first.size):
        one, two = first[pair], second[pair]
        perimeter[one] += boundary[pair]
        perimeter[two] += boundary[pair]
        square = 0.0
        for axis in range(centroids.shape[1]):
            step = np.float64(centroids[two, axis]) - np.float64(centroids[one, axis])
            square += step * step
        length[pair] = np.sqrt(square)
    return perimeter, length


@njit(cache=True, nogil=True)
def _describe(edges, pairs, perimeter, spacing, centroids, means):  # type: ignore[no-untyped-def]
    """Return attributes (E, 4 + spatial_axes) and weights (E,) of edges; the unit of distance is `spacing` pixels."""
    source, target, pair = edges.source, edges.target, edges.pair
    boundary, contrast, length = pairs.boundary, pairs.contrast, pairs.length
    axes = centroids.shape[1]
    attributes = np.empty((source.size, 4 + axes), dtype=np.float32)
    weights = np.empty(source.size, dtype=np.float32)
    for edge in range(source.size):
        here, there, of = source[edge], target[edge], pair[edge]
        square = 0.0
        for channel in range(means.shape[1]):
            step = np.float64(means[there, channel]) - np.float64(means[here, channel])
            square += step * step
        distance = length[of] / spacing
        attributes[edge, 0] = boundary[of] / max(perimeter[there], 1.0)
        attributes[edge, 1] = contrast[of]
        attributes[edge, 2] = np.sqrt(square)
        attributes[edge, 3] = distance
        for axis in range(axes):
            attributes[edge, 4 + axis] = (centroids[there, axis] - centroids[here, axis]) / max(length[of], 1e-6)
        weights[edge] = 1 / (1 + distance * distance)
    return attributes, weights


@njit(cache=True, nogil=True)
def _select_unique(first, second, boundary, contrast, order):  # type: ignore[no-untyped-def]
    """Return index (P, 2), boundary and contrast of each pair of different nodes once; equal ones lie together."""
    index = np.empty((order.size, 2), dtype=np.int64)
    length, step = np.empty(order.size, dtype=np.float32), np.empty(order.size, dtype=np.float32)
    known = 0
    for pair in order:
        low, high = first[pair], second[pair]
        if low == high:
            continue
        if known == 0 or index[known - 1, 0] != low or index[known - 1, 1] != high:
            index[known, 0], index[known, 1] = low, high
            length[known], step[known] = boundary[pair], contrast[pair]
            known += 1
        length[known - 1] = max(length[known - 1], boundary[pair])
        step[known - 1] = max(step[known - 1], contrast[pair])
    return index[:known].copy(), length[:known].copy(), step[:known].copy()
