"""Which superpixels are neighbours, and what is known about each pair: `EDGES` finders, combined by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import count_threads
from bench.graphs.pooling import NOTHING, Pooled, Wants
from bench.superpixels.adjacency import order_pairs


@dataclass(frozen=True)
class Pairs:
    """Undirected pairs of different segments, each once, the lower id first, in ascending order.

    `index` is (P, 2); `boundary` (P,) is the length of their common boundary in pixel faces and `contrast` (P,) the
    mean absolute step of the image across it, both zero where they do not touch.
    """

    index: NDArray[np.int64]
    boundary: NDArray[np.float32]
    contrast: NDArray[np.float32]


@dataclass(frozen=True)
class EdgeFinder:
    """`find(pooled, neighbours)` the pairs; `wants` is what it needs of the image."""

    find: Callable[[Pooled, int], Pairs]
    wants: Wants = NOTHING


def adjacency(pooled: Pooled, neighbours: int) -> Pairs:
    """Segments that share a boundary."""
    del neighbours
    assert pooled.touching is not None
    touching = pooled.touching
    return Pairs(touching.pairs, touching.length.astype(np.float32), touching.contrast.astype(np.float32))


def adjacency2(pooled: Pooled, neighbours: int) -> Pairs:
    """Segments that do not touch but have a neighbour in common.

    Of each segment the `neighbours` nearest such (by centroids; ties to the lowest id), and those that count it among
    theirs.
    """
    assert pooled.touching is not None
    first, second = pooled.touching.pairs.T
    source, target, _ = _both_ways(first, second, len(pooled.counts))
    starts = _starts(target, len(pooled.counts))
    one, other = _second(starts, source, pooled.centroids, neighbours)
    return _untouched(one, other, len(pooled.counts))


def knn(pooled: Pooled, neighbours: int) -> Pairs:
    """Pairs of which one is among the `neighbours` nearest centroids of the other; all pairs where there are fewer."""
    from scipy.spatial import KDTree  # 20 MiB that other edges do not need

    nodes = len(pooled.centroids)
    reach = min(neighbours + 1, nodes)  # the nearest is the node itself, or a twin at the same place
    _, near = KDTree(pooled.centroids).query(pooled.centroids, k=reach, workers=count_threads())
    near = near.reshape(nodes, reach).ravel()
    return _untouched(np.repeat(np.arange(nodes), reach), near.astype(np.int64, copy=False), nodes)


EDGES: dict[str, EdgeFinder] = {
    "adjacency": EdgeFinder(adjacency, Wants(faces=True)),
    "adjacency2": EdgeFinder(adjacency2, Wants(faces=True)),
    "knn": EdgeFinder(knn),
}


def _untouched(one: NDArray[np.int64], other: NDArray[np.int64], nodes: int) -> Pairs:
    """Each pair of different nodes once, whichever is named first."""
    nothing = np.zeros(len(one), np.float32)
    return _distinct(np.minimum(one, other), np.maximum(one, other), nothing, nothing, nodes)


def union(parts: list[Pairs], num_nodes: int) -> Pairs:
    """Every pair of any part once; boundary and contrast from the part that knows them."""
    if len(parts) == 1:
        return parts[0]
    first, second = np.concatenate([part.index for part in parts]).T
    boundary = np.concatenate([part.boundary for part in parts])
    contrast = np.concatenate([part.contrast for part in parts])
    return _distinct(np.ascontiguousarray(first), np.ascontiguousarray(second), boundary, contrast, num_nodes)


def _distinct(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    boundary: NDArray[np.float32],
    contrast: NDArray[np.float32],
    nodes: int,
) -> Pairs:
    """In ascending order each pair of different nodes once, with the largest of its values."""
    return Pairs(*_unique(first, second, boundary, contrast, order_pairs(first, second, nodes)))


@dataclass(frozen=True)
class DirectedEdges:
    """Both directions of every pair, sorted by target, then source.

    `index` (2, E) is source then target, `attributes` (E, 4 + spatial_axes), `weights` (E,).
    """

    index: NDArray[np.int64]
    attributes: NDArray[np.float32]
    weights: NDArray[np.float32]


def directed(pairs: Pairs, centroids: NDArray[np.float32], means: NDArray[np.float32]) -> DirectedEdges:
    """Both directions of every pair with what a message may want to know.

    `means` (N, C) are the mean intensities. Attributes: share of the target's boundary, contrast across the boundary,
    difference of the mean intensities (root of summed squares), distance of the centroids in units of the graph's
    median, unit vector from source to target. Weight: 1 / (1 + distance^2) in those units: 1/2 at the median spacing
    and never zero.
    """
    first, second = np.ascontiguousarray(pairs.index.T)
    source, target, pair = _both_ways(first, second, len(centroids))
    perimeter, length = _lengths(first, second, pairs.boundary, centroids)
    spacing = max(float(np.median(length)), 1e-6) if len(length) else 1.0
    attributes, weights = _describe(
        source, target, pair, pairs.boundary, pairs.contrast, perimeter, length, spacing, centroids, means
    )
    return DirectedEdges(np.stack([source, target]), attributes, weights)


def _starts(target: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    """Where the edges into each node begin among those sorted by target, and the end: (N + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(target, minlength=nodes))])


@njit(cache=True, nogil=True)
def _both_ways(first, second, nodes):  # type: ignore[no-untyped-def]
    """Source, target and pair of both directions of ascending pairs, sorted by target, then source: a counting sort."""
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
def _lengths(first, second, boundary, centroids):  # type: ignore[no-untyped-def]
    """Boundary of each node, (N,), and distance of the two of each pair, (P,)."""
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
def _describe(source, target, pair, boundary, contrast, perimeter, length, spacing, centroids, means):  # type: ignore[no-untyped-def]
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
def _unique(first, second, boundary, contrast, order):  # type: ignore[no-untyped-def]
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


@njit(cache=True, nogil=True)
def _second(starts, source, centroids, neighbours):  # type: ignore[no-untyped-def]
    """Each node with each of its nearest second neighbours; the neighbours of node i are source[starts[i]..]."""
    nodes = starts.size - 1
    seen = np.full(nodes, -1, dtype=np.int64)
    found = np.empty((2, nodes * neighbours), dtype=np.int64)
    near, steps = np.empty(neighbours, dtype=np.int64), np.empty(neighbours, dtype=np.float64)
    total = 0
    for node in range(nodes):
        seen[node] = node
        for one in source[starts[node] : starts[node + 1]]:
            seen[one] = node
        known = 0
        for one in source[starts[node] : starts[node + 1]]:
            for other in source[starts[one] : starts[one + 1]]:
                if seen[other] == node:
                    continue
                seen[other] = node
                square = 0.0
                for axis in range(centroids.shape[1]):
                    step = np.float64(centroids[other, axis]) - np.float64(centroids[node, axis])
                    square += step * step
                known = _insert(near, steps, known, other, square)
        for place in range(known):
            found[0, total], found[1, total] = node, near[place]
            total += 1
    return found[0, :total].copy(), found[1, :total].copy()


@njit(cache=True, nogil=True)
def _insert(near, steps, known, node, square):  # type: ignore[no-untyped-def]
    """Put a node among the nearest `known`, ascending by square and then id; how many there are now."""
    place = known
    while place > 0 and (square < steps[place - 1] or (square == steps[place - 1] and node < near[place - 1])):
        place -= 1
    if place == near.size:
        return known
    known = min(known + 1, near.size)
    for other in range(known - 1, place, -1):
        near[other], steps[other] = near[other - 1], steps[other - 1]
    near[place], steps[place] = node, square
    return known
