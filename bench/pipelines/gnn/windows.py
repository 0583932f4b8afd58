"""Large graphs cut into windows for training, so that a step has the same size whatever the size of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

from bench.arrays.rows import release
from bench.pipelines.gnn.columns import release_columns, take_rows
from bench.pipelines.gnn.cubes import Cubes, find_extent, sort_by_cube
from bench.pipelines.gnn.parts import find_edges_into, find_starts


@dataclass(frozen=True)
class Partition:
    """Which window each node of a graph is in.

    Attributes:
        windows: The nodes by window.
        starts: First of the edges into each node, and their number, (N + 1,): edges are sorted by target.
    """

    windows: Cubes
    starts: NDArray[np.int64]

    def release(self) -> None:
        """Hand back what lies on the disk."""
        for values in (*self.windows.maps, self.starts):
            release(values)


@dataclass(frozen=True)
class Subgraph:
    """Some nodes of a graph, whose rows are read by `extract` and not before; the whole graph without a `partition`.

    An epoch's windows, copied all at once, would take the memory of all graphs again, and the numbers of their edges
    alone would take more than those of the nodes.
    """

    graph: Data
    nodes: Tensor
    partition: Partition | None = None

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the window."""
        return len(self.nodes)

    def count_pixels(self) -> NDArray[np.int64]:
        """Count the pixels of each class (K,) in the window."""
        counts: NDArray[np.int64] = self.graph.y_counts[self.nodes].sum(dim=0).numpy()
        release_columns(self.graph)
        if self.partition is not None:
            self.partition.release()
        return counts

    def extract(self) -> Data:
        """Return the window as a graph with the edges between its nodes; the graph itself where it is all of it."""
        graph, nodes, partition = self.graph, self.nodes, self.partition
        if partition is None or len(nodes) == len(graph.x):
            return graph
        into = find_edges_into(torch.from_numpy(partition.starts), nodes)
        source = graph.edge_index[0, into]
        window, place = torch.from_numpy(partition.windows.cube), torch.from_numpy(partition.windows.place)
        inside = window[source] == window[nodes[0]]
        edges = into[inside]
        ends = torch.stack([source[inside], graph.edge_index[1, edges]])
        part = Data(
            x=take_rows(graph, graph.x, nodes),
            pos=graph.pos[nodes],
            num_pixels=graph.num_pixels[nodes],
            y_counts=graph.y_counts[nodes],
            edge_index=place[ends].long(),
            edge_attr=take_rows(graph, graph.edge_attr, edges),
            edge_weight=take_rows(graph, graph.edge_weight, edges),
        )
        release_columns(graph)
        partition.release()
        return part


def join_windows(windows: Sequence[Subgraph]) -> Batch:
    """Copy windows into one graph, and hand back what those of the disk have in memory."""
    batch = Batch.from_data_list([window.extract() for window in windows])
    for window in windows:
        release_columns(window.graph)
    return batch


def wrap_graph(graph: Data) -> Subgraph:
    """Return a whole graph as its own window."""
    return Subgraph(graph, torch.arange(len(graph.x)))


def cut_subgraphs(graph: Data, nodes: int, rng: np.random.Generator, most: int = 0) -> list[Subgraph]:
    """Cut a graph into windows by a lattice of cubes over `graph.pos` that is shifted at random.

    Args:
        graph: Graph with node rows x, pos, num_pixels and y_counts, and edges sorted by target.
        nodes: About how many nodes a window has.
        rng: Generator of the shift.
        most: Nodes up to which a graph stays whole, where they are more than `nodes`.

    Returns:
        Windows that hold every node once; an edge is kept where both of its ends are in one window. A graph of no more
        than `nodes`, or `most`, nodes is its own window.
    """
    total = graph.x.shape[0]
    if total <= max(nodes, most):
        return [wrap_graph(graph)]
    extent = find_extent(graph)
    side = extent.fit_side(nodes, total)
    shift = torch.from_numpy(rng.uniform(0, side, graph.pos.shape[1])).to(graph.pos.dtype)
    windows = sort_by_cube(graph, extent, side, shift)
    partition = Partition(windows, find_starts(graph))
    return [Subgraph(graph, chosen, partition) for chosen in windows.split()]
