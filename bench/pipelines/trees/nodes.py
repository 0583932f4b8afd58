"""Superpixels as rows of bin numbers for trees: their features, and means of them over their surroundings. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.config import GraphConfig
from bench.graphs.edges import EDGES, unite_pairs
from bench.graphs.features import join_requirements, stack_features
from bench.graphs.hops import average_hops
from bench.graphs.pooling import SegmentStatistics, pool_views
from bench.pipelines.trees.bins import BIN_ROWS, Bins, find_bins
from bench.pipelines.trees.drawing import draw_by_class


@dataclass(frozen=True)
class NodeTable:
    """The superpixels of one segmentation.

    Attributes:
        rows: Features (N, F).
        pixels: Pixels of each, (N,).
        pairs: Pairs of neighbours (P, 2), each once.
    """

    rows: NDArray[np.float32]
    pixels: NDArray[np.int64]
    pairs: NDArray[np.int32]


@dataclass(frozen=True)
class NodeSample:
    """Nodes drawn from several tables.

    Attributes:
        nodes: Those of each table, ascending.
        labels: Their majority classes, of all tables after one another.
        weights: Their counted pixels times what their class was drawn too rarely.
    """

    nodes: Sequence[NDArray[np.int64]]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]


def tabulate_nodes(image: Readable, views: Sequence[Readable], graph: GraphConfig) -> Iterator[NodeTable]:
    """Pool the features of superpixels and list their neighbours; the image is read and filtered once for all views.

    Args:
        image: (*spatial, C).
        views: Segmentations, each (*spatial) int32 with ids 0..N-1 all used.
        graph: Feature sets and edge finders, as for a graph network.

    Yields:
        The table of each segmentation.
    """
    requirements = join_requirements(graph.features)
    for name in graph.edges:
        requirements |= EDGES[name].requires
    waiting = pool_views(image, views, requirements, spacing=graph.spacing)
    while waiting:
        yield _tabulate_next(waiting, graph)


def _tabulate_next(waiting: list[SegmentStatistics], graph: GraphConfig) -> NodeTable:
    """Take the first of `waiting` and return its table."""
    pooled = waiting.pop(0)
    found = [EDGES[name].find(pooled, graph.neighbours) for name in graph.edges]
    pairs = unite_pairs(found, len(pooled.counts)).index.astype(np.int32)
    return NodeTable(stack_features(graph.features, pooled), pooled.counts, pairs)


def draw_nodes(counts: Sequence[NDArray[np.integer]], most: int, rng: np.random.Generator) -> NodeSample:
    """Draw nodes by their majority class (`draw_by_class`); those without a counted pixel are left out.

    Args:
        counts: True pixels of each class in each node, (N, K), of each table.
        most: Nodes to draw at most.
        rng: Decides which.
    """
    classes = counts[0].shape[1]
    labels = [np.where(nodes.any(axis=1), nodes.argmax(axis=1), classes) for nodes in counts]
    sizes = np.stack([np.bincount(own, minlength=classes + 1)[:classes] for own in labels])
    draw = draw_by_class(sizes, most, rng)
    drawn = [
        np.sort(np.concatenate([np.flatnonzero(own == label)[ids] for label, ids in enumerate(members)]))
        for own, members in zip(labels, draw.members, strict=True)
    ]
    chosen = np.concatenate([own[ids] for own, ids in zip(labels, drawn, strict=True)])
    pixels = np.concatenate([nodes[ids].sum(axis=1) for nodes, ids in zip(counts, drawn, strict=True)])
    return NodeSample(drawn, chosen, pixels * draw.weights[chosen])


def find_node_bins(
    tables: Sequence[NodeTable], sample: NodeSample, hops: Sequence[int], rng: np.random.Generator
) -> Bins:
    """Find the bins of all features from some of the nodes that were drawn.

    Args:
        tables: The tables that were drawn from.
        sample: What was drawn.
        hops: As in `encode_nodes`.
        rng: Decides which nodes.
    """
    total = len(sample.labels)
    some = np.sort(rng.choice(total, min(BIN_ROWS, total), replace=False))
    found = np.empty((len(some), tables[0].rows.shape[1] * (1 + len(hops))), np.float32)
    ends = np.cumsum([0, *(len(ids) for ids in sample.nodes)])
    for table, ids, start, stop in zip(tables, sample.nodes, ends[:-1], ends[1:], strict=True):
        first, last = np.searchsorted(some, (start, stop))
        for columns, block in _blocks(table, hops):
            found[first:last, columns] = block[ids[some[first:last] - start]]
    return find_bins(found)


def encode_drawn(tables: Sequence[NodeTable], sample: NodeSample, bins: Bins, hops: Sequence[int]) -> NDArray[np.uint8]:
    """Return the bin numbers of the nodes that were drawn from tables, a row per feature: (F (1 + hops), N)."""
    codes = np.empty((len(bins.edges), len(sample.labels)), np.uint8)
    stop = 0
    for table, ids in zip(tables, sample.nodes, strict=True):
        start, stop = stop, stop + len(ids)
        codes[:, start:stop] = encode_nodes(table, bins, hops)[ids].T
    return codes


def encode_nodes(table: NodeTable, bins: Bins, hops: Sequence[int]) -> NDArray[np.uint8]:
    """Return the bin numbers (N, F (1 + hops)) of the nodes of a table.

    Args:
        table: The nodes.
        bins: Of their features, then of their features' means over each number of hops.
        hops: Ascending numbers of steps along the edges, as in `bench.graphs.hops.average_hops`.
    """
    codes = np.empty((len(table.rows), len(bins.edges)), np.uint8)
    for columns, block in _blocks(table, hops):
        codes[:, columns] = Bins(bins.edges[columns]).encode(block)
    return codes


def _blocks(table: NodeTable, hops: Sequence[int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The features of the nodes, then their means over each number of hops: their columns, and values (N, F)."""
    features = table.rows.shape[1]
    yield slice(0, features), table.rows
    for number, block in enumerate(average_hops(table.rows, table.pixels, table.pairs, hops), start=1):
        yield slice(number * features, (number + 1) * features), block
