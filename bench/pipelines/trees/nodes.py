"""Superpixels as rows of bin numbers for trees: their features, and means of them over their surroundings. No torch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import count_rows, cut_bands, release
from bench.arrays.scratch import Storage
from bench.arrays.threads import list_singles, start_workers
from bench.config import GraphConfig
from bench.graphs.edges import EDGES, unite_pairs
from bench.graphs.features import join_requirements, stack_features
from bench.graphs.hops import NodeNeighbours, average_hops, list_neighbours
from bench.graphs.pooling import SegmentStatistics, pool_views
from bench.pipelines.scratch import StoredArray, lend_scratch, store_array
from bench.pipelines.trees.bins import BIN_ROWS, Bins, find_bins
from bench.pipelines.trees.drawing import draw_by_class
from bench.pipelines.trees.ensemble import Ensemble

SLAB_VALUES = 1 << 19  # of an image in memory at a time; a smaller one is pooled without the disk
HELD_VALUES = 1 << 20  # features in memory at a time, for each number of hops
HELD_CODES = 1 << 22  # bin numbers in memory at a time


@dataclass(frozen=True)
class NodeTable:
    """The superpixels of one segmentation, on the disk.

    Attributes:
        rows: Features (F, N), one after the other, so that some of them can be read of all nodes.
        pixels: Pixels of each node, (N,).
        starts: Where the neighbours of each node begin, (N + 1,), as in `NodeNeighbours`.
        neighbours: Neighbours of the nodes, (2 P,).
    """

    rows: StoredArray
    pixels: StoredArray
    starts: StoredArray
    neighbours: StoredArray

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.pixels)

    @property
    def nbytes(self) -> int:
        """Bytes in files."""
        return sum(part.nbytes for part in (self.rows, self.pixels, self.starts, self.neighbours))

    def count_columns(self, hops: Sequence[int]) -> int:
        """Return the number of features of a node, with their means over each number of hops."""
        return len(self.rows) * (1 + len(hops))


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


def choose_slab_rows(shape: Sequence[int]) -> int | None:
    """Return how many rows of an image (*spatial, C) are walked at a time; None where all of it is in memory."""
    return None if prod(shape) <= SLAB_VALUES else count_rows(shape, SLAB_VALUES)


def tabulate_nodes(
    image: Readable, views: Sequence[Readable], graph: GraphConfig, place: str | None
) -> Iterator[NodeTable]:
    """Pool the features of superpixels and list their neighbours; the image is read and filtered once for all views.

    Args:
        image: (*spatial, C).
        views: Segmentations, each (*spatial) int32 with ids 0..N-1 all used.
        graph: Feature sets and edge finders, as for a graph network.
        place: Folder for what is as large as the tables, as in `bench.pipelines.scratch.open_scratch`.

    Yields:
        The table of each segmentation.
    """
    requirements, rows = join_requirements(graph.features), choose_slab_rows(image.shape)
    for name in graph.edges:
        requirements |= EDGES[name].requires
    with ExitStack() as stack:
        folder = None if rows is None else stack.enter_context(lend_scratch(place))
        storage = stack.enter_context(Storage(folder))
        waiting = pool_views(image, views, requirements, rows, graph.spacing, storage)
        while waiting:
            yield _tabulate_next(waiting, graph, storage, place)


def _tabulate_next(
    waiting: list[SegmentStatistics], graph: GraphConfig, storage: Storage, place: str | None
) -> NodeTable:
    """Take the first of `waiting` and return its table; features are computed of some nodes at a time."""
    pooled = waiting.pop(0)
    nodes = len(pooled.counts)
    found = [EDGES[name].find(pooled, graph.neighbours) for name in graph.edges]
    neighbours = list_neighbours(unite_pairs(found, nodes).index.astype(np.int32), nodes)
    del found
    lists = [store_array(values, place) for values in (pooled.counts, *neighbours)]
    rows = StoredArray((_count_features(pooled, graph), nodes), np.float32, place)
    table = rows.open()
    for low, high in cut_bands((nodes, len(rows)), HELD_VALUES):
        table[:, low:high] = stack_features(graph.features, pooled.take_nodes(low, high)).T
        release(table)
        storage.release()
    return NodeTable(rows, *lists)


def _count_features(pooled: SegmentStatistics, graph: GraphConfig) -> int:
    """Return the number of features of a node."""
    return int(stack_features(graph.features, pooled.take_nodes(0, 1)).shape[1])


def draw_nodes(counts: Sequence[StoredArray], most: int, rng: np.random.Generator) -> NodeSample:
    """Draw nodes by their majority class (`draw_by_class`); those without a counted pixel are left out.

    Args:
        counts: True pixels of each class in each node, (N, K), of each table.
        most: Nodes to draw at most.
        rng: Decides which.
    """
    classes = counts[0].shape[1]
    sizes = np.stack([np.bincount(_label_nodes(own.open()), minlength=classes + 1)[:classes] for own in counts])
    draw = draw_by_class(sizes, most, rng)
    drawn, chosen, pixels = list[NDArray[np.int64]](), list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    for own, members in zip(counts, draw.members, strict=True):
        nodes = own.open()
        labels = _label_nodes(nodes)
        ids = np.sort(np.concatenate([np.flatnonzero(labels == label)[of] for label, of in enumerate(members)]))
        drawn.append(ids)
        chosen.append(labels[ids])
        pixels.append(nodes[ids].sum(axis=1))
    labels = np.concatenate(chosen)
    return NodeSample(drawn, labels, np.concatenate(pixels) * draw.weights[labels])


def _label_nodes(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the majority class (N,) of nodes with these true pixels (N, K); K without a counted pixel."""
    return np.asarray(np.where(counts.any(axis=1), counts.argmax(axis=1), counts.shape[1]), np.int64)


def gather_drawn(
    tables: Sequence[NodeTable], sample: NodeSample, hops: Sequence[int], place: str | None
) -> StoredArray:
    """Gather the features of the nodes that were drawn from tables, and their means over hops.

    Args:
        tables: The tables that were drawn from.
        sample: What was drawn.
        hops: As in `encode_nodes`.
        place: As in `tabulate_nodes`.

    Returns:
        Features (F (1 + hops), N), one after the other.
    """
    stored = StoredArray((tables[0].count_columns(hops), len(sample.labels)), np.float32, place)
    values, stop = stored.open(), 0
    for table, ids in zip(tables, sample.nodes, strict=True):
        start, stop = stop, stop + len(ids)
        for columns, block in _blocks(table, hops):
            values[columns, start:stop] = block[ids].T
            release(values)
    return stored


def find_node_bins(drawn: StoredArray, rng: np.random.Generator) -> Bins:
    """Find the bins of all features (F, N) from some of the nodes that were drawn; `rng` decides which."""
    values = drawn.open()
    total = values.shape[1]
    some = np.sort(rng.choice(total, min(BIN_ROWS, total), replace=False))
    edges = []
    for line in values:
        edges.append(find_bins(np.asarray(line)[some, None]).edges)
        release(values)
    return Bins(np.concatenate(edges))


def encode_drawn(drawn: StoredArray, bins: Bins) -> NDArray[np.uint8]:
    """Return the bin numbers (F, N) of the features (F, N) of the nodes that were drawn."""
    values, codes = drawn.open(), np.empty(drawn.shape, np.uint8)
    with start_workers(drawn.shape) as workers:
        for low, high in cut_bands(drawn.shape, HELD_VALUES):

            def encode(line: int, _: int, low: int = low) -> None:
                bins.encode_feature(np.asarray(values[low + line]), low + line, codes.T)

            workers.run(encode, list_singles(high - low))
            release(values)
    return codes


def encode_nodes(table: NodeTable, bins: Bins, hops: Sequence[int], place: str | None) -> StoredArray:
    """Return the bin numbers (N, F (1 + hops)) of the nodes of a table.

    Args:
        table: The nodes.
        bins: Of their features, then of their features' means over each number of hops.
        hops: Ascending numbers of steps along the edges, as in `bench.graphs.hops.average_hops`.
        place: As in `tabulate_nodes`.
    """
    turned = StoredArray((len(bins.edges), table.num_nodes), np.uint8, place)
    stored = StoredArray(turned.shape[::-1], np.uint8, place)
    lines = turned.open()
    for columns, block in _blocks(table, hops):
        lines[columns] = Bins(bins.edges[columns]).encode(block).T
        release(lines)
    for low, high in cut_bands(stored.shape, HELD_CODES):
        stored.write_rows(low, turned.read_columns(low, high).T)
    return stored


def add_stored(ensemble: Ensemble, stored: StoredArray, sums: NDArray[np.float64]) -> None:
    """Add the values of trees to the sums of stored rows, some rows at a time.

    Args:
        ensemble: The trees.
        stored: Bin numbers (N, F) uint8, in a file.
        sums: Sums (N, K) of each class, changed in place; they may be mapped from a file.
    """
    codes = stored.open()
    for low, high in cut_bands(codes.shape, HELD_CODES):
        ensemble.add_trees(np.asarray(codes[low:high]), np.asarray(sums[low:high]))
        release(codes)


def _blocks(table: NodeTable, hops: Sequence[int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield some features of all nodes at a time, and their means over each number of hops.

    Args:
        table: The nodes.
        hops: As in `encode_nodes`.

    Yields:
        Columns, among the features and then their means over each number of hops, and values (N, columns).
    """
    rows, pixels = table.rows.open(), np.asarray(table.pixels.open())
    neighbours = NodeNeighbours(np.asarray(table.starts.open()), np.asarray(table.neighbours.open()))
    for low, high in cut_bands(rows.shape, HELD_VALUES):
        own = np.ascontiguousarray(rows[low:high].T)
        release(rows)
        yield slice(low, high), own
        for number, block in enumerate(average_hops(own, pixels, neighbours, hops), start=1):
            yield slice(number * len(rows) + low, number * len(rows) + high), block
