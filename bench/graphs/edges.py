"""Which superpixels are neighbours, and what is known about each pair: `EDGES` finders, combined by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bench.graphs.pooling import NOTHING, Pooled, Wants
from bench.superpixels.adjacency import pair_order
from bench.superpixels.threads import thread_count


@dataclass(frozen=True)
class Pairs:
    """Undirected pairs of different segments, each once, the lower id first.

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


def knn(pooled: Pooled, neighbours: int) -> Pairs:
    """Pairs of which one is among the `neighbours` nearest centroids of the other; all pairs where there are fewer."""
    nodes = len(pooled.centroids)
    reach = min(neighbours + 1, nodes)  # the nearest is the node itself, or a twin at the same place
    _, near = KDTree(pooled.centroids).query(pooled.centroids, k=reach, workers=thread_count())
    near = near.reshape(nodes, reach)
    return _untouched(np.repeat(np.arange(nodes), reach), near.ravel(), nodes)


def _untouched(one: NDArray[np.int64], other: NDArray[np.int64], nodes: int) -> Pairs:
    """Each pair of different nodes once, whichever is named first."""
    index = _once(np.minimum(one, other), np.maximum(one, other), nodes)
    nothing = np.zeros(len(index), np.float32)
    return Pairs(index, nothing, nothing)


def _once(first: NDArray[np.integer], second: NDArray[np.integer], nodes: int) -> NDArray[np.int64]:
    different = first != second
    first, second = first[different], second[different]
    order = pair_order(first, second, nodes)
    index = np.stack([first[order], second[order]], axis=1)
    fresh = np.ones(len(index), np.bool_)
    fresh[1:] = (np.diff(index, axis=0) != 0).any(axis=1)
    return index[fresh].astype(np.int64)


EDGES: dict[str, EdgeFinder] = {
    "adjacency": EdgeFinder(adjacency, Wants(faces=True)),
    "knn": EdgeFinder(knn),
}


def union(parts: list[Pairs], num_nodes: int) -> Pairs:
    """Every pair of any part once; boundary and contrast from the part that knows them."""
    index = np.concatenate([part.index for part in parts]).astype(np.int64)
    keys, where = np.unique(index[:, 0] * num_nodes + index[:, 1], return_inverse=True)
    boundary, contrast = np.zeros((2, len(keys)), np.float32)
    np.maximum.at(boundary, where, np.concatenate([part.boundary for part in parts]))
    np.maximum.at(contrast, where, np.concatenate([part.contrast for part in parts]))
    return Pairs(np.stack([keys // num_nodes, keys % num_nodes], axis=1), boundary, contrast)


@dataclass(frozen=True)
class DirectedEdges:
    """Both directions of every pair, sorted by target.

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
    first, second = pairs.index.T
    index = np.stack([np.concatenate([first, second]), np.concatenate([second, first])])
    order = np.lexsort(index)  # by target, then source
    index = index[:, order]
    source, target = index
    boundary = np.tile(pairs.boundary, 2)[order]
    perimeter = np.bincount(target, weights=boundary, minlength=len(centroids))
    share = boundary / np.maximum(perimeter[target], 1)
    step = centroids[target] - centroids[source]
    length = np.linalg.norm(step, axis=1)
    distance = length / max(np.median(length), 1e-6) if len(length) else length
    difference = np.linalg.norm(means[target] - means[source], axis=1)
    unit = step / np.maximum(length, 1e-6)[:, None]
    columns = [share, np.tile(pairs.contrast, 2)[order], difference, distance]
    attributes = np.concatenate([np.stack(columns, axis=1), unit], axis=1).astype(np.float32)
    return DirectedEdges(index, attributes, (1 / (1 + distance**2)).astype(np.float32))
