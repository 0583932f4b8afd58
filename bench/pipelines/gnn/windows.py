"""Large graphs cut into windows for training, so that a step has the same size whatever the size of the images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from models.lattice import fit_side, number_cubes


@dataclass(frozen=True)
class Subgraph:
    """Some nodes of a graph and the edges between them, whose rows are copied by `extract` and not before.

    An epoch's windows, copied all at once, would take the memory of all graphs again. `nodes` (N,) and `edges` (E,)
    are those of `graph`; `edge_index` (2, E) counts within the window.
    """

    graph: Data
    nodes: Tensor
    edges: Tensor
    edge_index: Tensor

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the window."""
        return len(self.nodes)

    def count_pixels(self) -> NDArray[np.int64]:
        """Count the pixels of each class (K,) in the window."""
        counts: NDArray[np.int64] = self.graph.y_counts[self.nodes].sum(dim=0).numpy()
        return counts

    def extract(self) -> Data:
        """Return the window as a graph; the graph itself where it has no more nodes than the window."""
        graph, nodes, edges = self.graph, self.nodes, self.edges
        if len(nodes) == len(graph.x):
            return graph
        return Data(
            x=graph.x[nodes],
            pos=graph.pos[nodes],
            num_pixels=graph.num_pixels[nodes],
            y_counts=graph.y_counts[nodes],
            edge_index=self.edge_index,
            edge_attr=graph.edge_attr[edges],
            edge_weight=graph.edge_weight[edges],
        )


def wrap_graph(graph: Data) -> Subgraph:
    """Return a whole graph as its own window."""
    return Subgraph(graph, torch.arange(len(graph.x)), torch.arange(graph.edge_index.shape[1]), graph.edge_index)


def cut_subgraphs(graph: Data, nodes: int, rng: np.random.Generator) -> list[Subgraph]:
    """Cut a graph into windows by a lattice of cubes over `graph.pos` that is shifted at random.

    Args:
        graph: Graph with node rows x, pos, num_pixels and y_counts.
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
    starts = torch.cumsum(sizes, 0) - sizes
    place = torch.empty_like(order)
    place[order] = torch.arange(total)
    inside = window[graph.edge_index[0]] == window[graph.edge_index[1]]
    of_edge = window[graph.edge_index[0, inside]]
    edges = torch.nonzero(inside).flatten()[torch.argsort(of_edge, stable=True)]
    edge_sizes = torch.bincount(of_edge, minlength=len(sizes)).tolist()
    parts = zip(torch.split(order, sizes.tolist()), torch.split(edges, edge_sizes), starts.tolist(), strict=True)
    return [Subgraph(graph, chosen, kept, place[graph.edge_index[:, kept]] - start) for chosen, kept, start in parts]
