"""A large graph in parts that each know what the whole would tell their nodes: prediction in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from bench.pipelines.gnn.columns import release_columns
from models.lattice import fit_side, number_cubes


@dataclass(frozen=True)
class GraphPart:
    """The nodes `inner` (M,) of a graph, within a graph `data` of them and all that their messages come from.

    `kept` (M,) are the rows of `data` that are `inner`.
    """

    data: Data
    inner: Tensor
    kept: Tensor


def parts(graph: Data, nodes: int, hops: int) -> Iterator[GraphPart]:
    """Cut a graph into cubes of nodes; a small graph stays whole.

    Every node is in `inner` of exactly one part. The output of a network of `hops` layers for `inner` is the same as
    within the whole graph: all nodes that can reach them in so many steps are there, with all edges that such a message
    takes.

    Args:
        graph: Its edges are sorted by target, as `bench.graphs.build` leaves them.
        nodes: About how many nodes a part has inside.
        hops: Width of its halo, in edges.

    Yields:
        The parts.
    """
    total = int(graph.x.shape[0])
    everything = torch.arange(total)
    if total <= nodes:
        yield GraphPart(graph, everything, everything)
        return
    starts = torch.searchsorted(graph.edge_index[1].contiguous(), torch.arange(total + 1))  # first edge into each node
    place = torch.full((total,), -1)
    for inner in _split_cubes(graph.pos, nodes):
        members, edges = _halo(graph.edge_index[0], starts, inner, hops, place)
        place[members] = torch.arange(len(members))
        index = place[graph.edge_index[:, edges]]
        data = Data(
            x=graph.x[members],
            pos=graph.pos[members],
            edge_index=index,
            edge_attr=graph.edge_attr[edges],
            edge_weight=graph.edge_weight[edges],
        )
        release_columns(graph)
        yield GraphPart(data, inner, place[inner])
        place[members] = -1


def _split_cubes(pos: Tensor, nodes: int) -> Iterator[Tensor]:
    """Yield the nodes of each cube of a lattice over `pos` (N, axes), ascending within a cube."""
    cube = number_cubes(pos - pos.min(dim=0).values, fit_side(pos.double(), nodes))
    order = torch.argsort(cube, stable=True)
    yield from torch.split(order, torch.bincount(cube).tolist())


def _halo(source: Tensor, starts: Tensor, inner: Tensor, hops: int, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return all nodes within `hops` steps against the direction of the edges from `inner`, and the edges into them.

    Both ascend; edges into the nodes of the last step are left out. `place` (N,) is -1 before and after.
    """
    found, edges, frontier = [inner], [], inner
    place[inner] = 0
    for _ in range(hops):
        into = find_edges_into(starts, frontier)
        edges.append(into)
        near = torch.unique(source[into])
        frontier = near[place[near] < 0]
        place[frontier] = 0
        found.append(frontier)
    members = torch.cat(found)
    place[members] = -1
    return members.sort().values, torch.cat(edges).sort().values if edges else torch.empty(0, dtype=torch.int64)


def find_edges_into(starts: Tensor, nodes: Tensor) -> Tensor:
    """Return the edges whose target is one of `nodes`; those into node i are starts[i] to starts[i + 1]."""
    counts = starts[nodes + 1] - starts[nodes]
    before = torch.cumsum(counts, 0) - counts
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(starts[nodes] - before, counts)
