"""Features of a node's surroundings without a network: means over the nodes within some steps of it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.scratch import Storage
from bench.arrays.threads import split_range, start_workers
from bench.superpixels.adjacency import sort_pairs


class NodeNeighbours(NamedTuple):
    """The neighbours of node i, ascending, are ids[starts[i] : starts[i + 1]]; starts (N + 1,), ids (2 P,)."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]


def average_hops(
    rows: NDArray[np.float32], pixels: NDArray[np.integer], neighbours: NodeNeighbours, hops: Sequence[int]
) -> Iterator[NDArray[np.float32]]:
    """Average the features of nodes over their surroundings.

    A step replaces each row by the mean of it and its neighbours' rows, weighted by their pixels; h steps reach h
    edges far. Sums run in the order of the neighbours in float64, so that no threads change them.

    Args:
        rows: Features (N, F).
        pixels: Pixels of each node, (N,).
        neighbours: Those of each node.
        hops: Numbers of steps, ascending and distinct, at least 1.

    Yields:
        The features (N, F) after each of these numbers of steps.
    """
    weights = pixels.astype(np.float64)
    with start_workers(rows.shape) as workers:
        tasks = split_range(len(rows), 4 * workers.threads)
        done = 0
        for hop in hops:
            while done < hop:
                source, rows = rows, np.empty_like(rows)

                def step(
                    low: int, high: int, source: NDArray[np.float32] = source, out: NDArray[np.float32] = rows
                ) -> None:
                    _average(source, weights, neighbours.starts, neighbours.ids, out, low, high)

                workers.run(step, tasks)
                done += 1
            yield rows


def list_neighbours(pairs: NDArray[np.integer], nodes: int) -> NodeNeighbours:
    """List the neighbours of each of so many nodes, given the pairs (P, 2) of them, each once."""
    one, other = pairs[:, 0], pairs[:, 1]
    source, target = np.concatenate([other, one]), np.concatenate([one, other])
    order = sort_pairs(np.stack([target, source], axis=1), nodes, Storage(None))
    starts = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=nodes))])
    return NodeNeighbours(starts.astype(np.int64), source[order].astype(np.int32))


@njit(cache=True, nogil=True)
def _average(rows, weights, starts, neighbours, out, low, high):  # type: ignore[no-untyped-def]
    """Write the weighted means of the nodes low..high and their neighbours.

    Args:
        rows: (N, F) features before the step.
        weights: (N,) pixels of each node.
        starts: (N + 1,) where the neighbours of each node begin; the last entry is their number.
        neighbours: (2 P,) nodes, as `list_neighbours` lists them.
        out: (N, F) features after the step, of which the rows low..high are written.
        low: First node.
        high: Node after the last one.
    """
    total = np.empty(rows.shape[1], dtype=np.float64)
    for node in range(low, high):
        weight = weights[node]
        for feature in range(rows.shape[1]):
            total[feature] = weight * rows[node, feature]
        for place in range(starts[node], starts[node + 1]):
            other = neighbours[place]
            own = weights[other]
            weight += own
            for feature in range(rows.shape[1]):
                total[feature] += own * rows[other, feature]
        for feature in range(rows.shape[1]):
            out[node, feature] = total[feature] / weight
