"""Large graphs cut into windows for training, so that a step has the same size whatever the size of the images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from bench.pipelines.gnn.columns import release_columns
from bench.pipelines.gnn.parts import find_edges_into
from models.lattice import fit_side, number_cubes


@dataclass(frozen=True)
class Partition:
    """Which window each node of a graph is in.

    Attributes:
        window: Number of the window of each node, (N,) int32.
        place: Its place among the nodes of the window, (N,) int32.
        starts: First of the edges into each node, and their number, (N + 1,): edges are sorted by target.
    """

    window: Tensor
    place: Tensor
    starts: Tensor


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
        return counts

    def extract(self) -> Data:
        """Return the window as a graph with the edges between its nodes; the graph itself where it is all of it."""
        graph, nodes, partition = self.graph, self.nodes, self.partition
        if partition is None or len(nodes) == len(graph.x):
            return graph
        into = find_edges_into(partition.starts, nodes)
        source = graph.edge_index[0, into]
        inside = partition.window[source] == partition.window[nodes[0]]
        edges = into[inside]
        ends = torch.stack([source[inside], graph.edge_index[1, edges]])
        part = Data(
            x=graph.x[nodes],
            pos=graph.pos[nodes],
            num_pixels=graph.num_pixels[nodes],
            y_counts=graph.y_counts[nodes],
            edge_index=partition.place[ends].long(),
            edge_attr=graph.edge_attr[edges],
            edge_weight=graph.edge_weight[edges],
        )
        release_columns(graph)
        return part


def wrap_graph(graph: Data) -> Subgraph:
    """Return a whole graph as its own window."""
    return Subgraph(graph, torch.arange(len(graph.x)))


def cut_subgraphs(graph: Data, nodes: int, rng: np.random.Generator) -> list[Subgraph]:
    """Cut a graph into windows by a lattice of cubes over `graph.pos` that is shifted at random.

    Args:
        graph: Graph with node rows x, pos, num_pixels and y_counts, and edges sorted by target.
        nodes: About how many nodes a window has.
        rng: Generator of the shift.

    Returns:
        Windows that hold every node once; an edge is kept where both of its ends are in one window. A graph of no more
        than `nodes` nodes is its own window.
    """
    total = graph.x.shape[0]
    if total <= nodes:
        return [wrap_graph(graph)]
    side = fit_side(graph.pos, nodes)
    shift = torch.from_numpy(rng.uniform(0, side, graph.pos.shape[1])).to(graph.pos.dtype)
    window = number_cubes(graph.pos - graph.pos.min(dim=0).values, side, shift)  # (N,)
    order = torch.argsort(window, stable=True)
    sizes = torch.bincount(window)
    first = torch.cumsum(sizes, 0) - sizes
    place = torch.empty(total, dtype=torch.int32)
    place[order] = (torch.arange(total) - first[window[order]]).int()
    starts = torch.searchsorted(graph.edge_index[1].contiguous(), torch.arange(total + 1))
    release_columns(graph)
    partition = Partition(window.int(), place, starts)
    return [Subgraph(graph, chosen, partition) for chosen in torch.split(order, sizes.tolist())]
