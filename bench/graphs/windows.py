"""Large graphs cut into windows for training, so that a step has the same size whatever the size of the images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data


@dataclass(frozen=True)
class Window:
    """Part of a graph, whose rows are copied when they are asked for: an epoch's windows would be all graphs again.

    `nodes` (N,) and `edges` (E,) are those of `graph`, `edge_index` (2, E) counts within the window.
    """

    graph: Data
    nodes: Tensor
    edges: Tensor
    edge_index: Tensor

    @property
    def num_nodes(self) -> int:
        return len(self.nodes)

    def data(self) -> Data:
        """The window as a graph; the graph itself where it has no more nodes than the window."""
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


def whole(graph: Data) -> Window:
    """A graph as its own window."""
    return Window(graph, torch.arange(len(graph.x)), torch.arange(graph.edge_index.shape[1]), graph.edge_index)


def cut(graph: Data, nodes: int, rng: np.random.Generator) -> list[Window]:
    """Windows of about `nodes` nodes, a randomly shifted lattice of cubes over `graph.pos`; the graph itself if small.

    Every node is in exactly one window, with its rows of x, pos, num_pixels and y_counts; an edge is kept where both
    of its ends are in one window.
    """
    total = graph.x.shape[0]
    if total <= nodes:
        return [whole(graph)]
    window = _window_of_nodes(graph.pos, nodes, rng)  # (N,)
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
    return [Window(graph, chosen, kept, place[graph.edge_index[:, kept]] - start) for chosen, kept, start in parts]


def _window_of_nodes(pos: Tensor, nodes: int, rng: np.random.Generator) -> Tensor:
    """Number of the window of each node, (N,), consecutive from 0."""
    low = pos.min(dim=0).values
    extent = (pos.max(dim=0).values - low).clamp_min(1)
    side = float((extent.prod() * nodes / len(pos)) ** (1 / pos.shape[1]))
    shift = torch.from_numpy(rng.uniform(0, side, pos.shape[1])).to(pos.dtype)
    cells = ((pos - low + shift) / side).long()  # (N, axes)
    number = cells[:, 0]  # of a node's cell, row by row; torch.unique over the rows of `cells` takes ten times as long
    for axis in range(1, cells.shape[1]):
        number = number * (cells[:, axis].max() + 1) + cells[:, axis]
    unique: tuple[Tensor, Tensor] = torch.unique(number, return_inverse=True)
    return unique[1]
