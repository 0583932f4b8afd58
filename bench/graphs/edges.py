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

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.selection import find_median
from bench.arrays.threads import count_threads, split_range, start_workers
from bench.graphs.pooling import MOMENTS_ALONE, Requirements, SegmentStatistics
from bench.superpixels.adjacency import PAIRS, sort_pairs, sum_up


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
    touching, storage = statistics.touching, statistics.storage
    boundary, contrast = (storage.convert(values, np.float32) for values in (touching.length, touching.contrast))
    return NodePairs(touching.pairs, boundary, contrast)


def find_nearest(statistics: SegmentStatistics, neighbours: int) -> NodePairs:
    """Return pairs of which one is among the `neighbours` nearest centroids of the other; all pairs of fewer nodes."""
    from scipy.spatial import KDTree  # 20 MiB that other edges do not need

    nodes = len(statistics.centroids)
    reach = min(neighbours + 1, nodes)  # the nearest is the node itself, or a twin at the same place
    _, near = KDTree(statistics.centroids).query(statistics.centroids, k=reach, workers=count_threads())
    near = near.reshape(nodes, reach).ravel()
    one, other = np.repeat(np.arange(nodes), reach), near.astype(np.int64, copy=False)
    index, nothing = np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1), np.zeros(len(near), np.float32)
    return _keep_distinct(index, nothing, nothing, nodes)


EDGES: dict[str, EdgeFinder] = {
    "adjacency": EdgeFinder(find_adjacent, Requirements(faces=True)),
    "knn": EdgeFinder(find_nearest),
}


def unite_pairs(parts: list[NodePairs], num_nodes: int) -> NodePairs:
    """Return every pair of any part once; boundary and contrast from the part in which they are not zero."""
    if len(parts) == 1:
        return parts[0]
    index = np.concatenate([part.index for part in parts])
    boundary = np.concatenate([part.boundary for part in parts])
    contrast = np.concatenate([part.contrast for part in parts])
    return _keep_distinct(index, boundary, contrast, num_nodes)


def _keep_distinct(
    index: NDArray[np.int64], boundary: NDArray[np.float32], contrast: NDArray[np.float32], nodes: int
) -> NodePairs:
    """Return each pair of different nodes once, in ascending order, with the largest of its values."""
    return NodePairs(*_select_unique(index, boundary, contrast, sort_pairs(index, nodes, Storage(None))))


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


def direct_pairs(
    pairs: NodePairs,
    centroids: NDArray[np.float32],
    means: NDArray[np.float32],
    storage: Storage | None = None,
) -> DirectedEdges:
    """Make edges of pairs, one in each direction.

    Args:
        pairs: NodePairs of N nodes.
        centroids: Positions (N, spatial_axes) in pixels.
        means: Mean intensities (N, C).
        storage: Where these arrays lie and the edges are put; None: in memory.

    Returns:
        Edges with the attributes share of the target's boundary, contrast across the boundary, difference of the mean
        intensities (root of summed squares), distance of the centroids in units of the graph's median, and unit vector
        from source to target; and with the weight 1 / (1 + distance^2) in those units, which is 1/2 at the median.
    """
    storage = storage or Storage(None)
    perimeter = storage.zeros((len(centroids),), np.float64)
    length = storage.empty(pairs.boundary.shape, np.float64)
    for low, high in cut_bands(length.shape, PAIRS):
        _measure_pairs(pairs.index, pairs.boundary, centroids, low, high, perimeter, length)
        storage.release()
    spacing = max(find_median(length, storage), 1e-6) if len(length) else 1.0
    index, of = _list_directions(pairs.index, len(centroids), storage)
    values = PairValues(pairs.boundary, pairs.contrast, length)
    attributes = storage.empty((len(of), 4 + centroids.shape[1]), np.float32)
    weights = storage.empty(of.shape, np.float32)
    with start_workers(attributes.shape) as workers:

        def describe(low: int, high: int) -> None:
            _describe(index, of, values, perimeter, spacing, centroids, means, low, high, attributes, weights)

        for low, high in cut_bands(of.shape, PAIRS):
            workers.run(describe, split_range(high, workers.threads, low))
            storage.release()
    storage.drop(of, perimeter, length)
    return DirectedEdges(index, attributes, weights)


def _list_directions(
    pairs: NDArray[np.int64], nodes: int, storage: Storage
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return source and target (2, E), and the pair (E,), of both directions of ascending pairs, sorted as drawn above.

    A counting sort: the sources below a target come before those above it.
    """
    index, of = storage.empty((2, 2 * len(pairs)), np.int64), storage.empty((2 * len(pairs),), np.int64)
    cursor = storage.zeros((nodes + 1,), np.int64)
    bands = cut_bands((len(pairs),), PAIRS)
    for low, high in bands:
        _count_ends(pairs, low, high, cursor)
        storage.release()
    sum_up(cursor, storage)
    for way in (0, 1):
        for low, high in bands:
            _place_edges(pairs, way, low, high, cursor, index, of)
            storage.release()
    storage.drop(cursor)
    return index, of


@njit(cache=True, nogil=True)
def _count_ends(pairs, low, high, cursor):  # type: ignore[no-untyped-def]
    """Count how often a node n is in the pairs low..high, in `cursor[n + 1]`."""
    for pair in range(low, high):
        cursor[pairs[pair, 0] + 1] += 1
        cursor[pairs[pair, 1] + 1] += 1


@njit(cache=True, nogil=True)
def _place_edges(pairs, way, start, stop, cursor, index, of):  # type: ignore[no-untyped-def]
    """Write one direction of the pairs start..stop, to the higher node (`way` 0) or to the lower one (1).

    Args:
        pairs: (P, 2) ids, the lower first.
        way: Which direction.
        start: First pair.
        stop: Pair after the last one.
        cursor: (N + 1,) place of the next edge into each node, moved on.
        index: (2, E) receives source and target.
        of: (E,) receives the pair.
    """
    for pair in range(start, stop):
        low, high = pairs[pair, 0], pairs[pair, 1]
        to = high if way == 0 else low
        place = cursor[to]
        index[0, place], index[1, place], of[place] = low + high - to, to, pair
        cursor[to] = place + 1


@njit(cache=True, nogil=True)
def _measure_pairs(index, boundary, centroids, low, high, perimeter, length):  # type: ignore[no-untyped-def]
    """Add the pairs low..high to the `perimeter` (N,) of each node; write the distance (P,) of their centroids."""
    for pair in range(low, high):
        one, two = index[pair, 0], index[pair, 1]
        perimeter[one] += boundary[pair]
        perimeter[two] += boundary[pair]
        square = 0.0
        for axis in range(centroids.shape[1]):
            step = np.float64(centroids[two, axis]) - np.float64(centroids[one, axis])
            square += step * step
        length[pair] = np.sqrt(square)


@njit(cache=True, nogil=True)
def _describe(  # type: ignore[no-untyped-def]
    index, pair, pairs, perimeter, spacing, centroids, means, low, high, attributes, weights
):
    """Write attributes (E, 4 + spatial_axes) and weights (E,) of the edges low..high.

    Args:
        index: (2, E) source and target.
        pair: (E,) pair of each edge.
        pairs: The `PairValues`.
        perimeter: (N,) boundary of each node.
        spacing: Unit of distance in pixels.
        centroids: (N, spatial_axes).
        means: (N, C).
        low: First edge.
        high: Edge after the last one.
        attributes: (E, 4 + spatial_axes).
        weights: (E,).
    """
    boundary, contrast, length = pairs.boundary, pairs.contrast, pairs.length
    axes = centroids.shape[1]
    for edge in range(low, high):
        here, there, of = index[0, edge], index[1, edge], pair[edge]
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


@njit(cache=True, nogil=True)
def _select_unique(pairs, boundary, contrast, order):  # type: ignore[no-untyped-def]
    """Return index (P, 2), boundary and contrast of each pair of different nodes once; equal ones lie together."""
    index = np.empty((order.size, 2), dtype=np.int64)
    length, step = np.empty(order.size, dtype=np.float32), np.empty(order.size, dtype=np.float32)
    known = 0
    for pair in order:
        low, high = pairs[pair, 0], pairs[pair, 1]
        if low == high:
            continue
        if known == 0 or index[known - 1, 0] != low or index[known - 1, 1] != high:
            index[known, 0], index[known, 1] = low, high
            length[known], step[known] = boundary[pair], contrast[pair]
            known += 1
        length[known - 1] = max(length[known - 1], boundary[pair])
        step[known - 1] = max(step[known - 1], contrast[pair])
    return index[:known].copy(), length[:known].copy(), step[:known].copy()
