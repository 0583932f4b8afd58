"""A large graph in parts that each know what the whole would tell their nodes: prediction in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from bench.arrays.rows import release
from bench.pipelines.gnn.columns import is_on_disk, make_rows, release_columns, take_rows, walk_rows
from bench.pipelines.gnn.cubes import find_extent, sort_by_cube

_STARTS = "_starts"  # of a graph on the disk, in its own dictionary


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
    if total <= nodes:
        everything = torch.arange(total)
        yield GraphPart(graph, everything, everything)
        return
    extent, starts = find_extent(graph), find_starts(graph)
    cubes = sort_by_cube(graph, extent, extent.double().fit_side(nodes, total))
    found = make_rows(graph, total, np.int32)  # of a member of the part its place there, and one more
    place = torch.from_numpy(found)
    for inner in cubes.split():
        members, edges = _halo(graph.edge_index[0], torch.from_numpy(starts), inner, hops, place)
        place[members] = torch.arange(1, len(members) + 1, dtype=torch.int32)
        data = Data(
            x=take_rows(graph, graph.x, members),
            pos=graph.pos[members],
            edge_index=place[torch.stack([take_rows(graph, ends, edges) for ends in graph.edge_index])].long() - 1,
            edge_attr=take_rows(graph, graph.edge_attr, edges),
            edge_weight=take_rows(graph, graph.edge_weight, edges),
        )
        kept = place[inner].long() - 1
        place[members] = 0
        release_columns(graph)
        for values in (found, starts, *cubes.maps):
            release(values)
        yield GraphPart(data, inner, kept)


def _halo(source: Tensor, starts: Tensor, inner: Tensor, hops: int, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return all nodes within `hops` steps against the direction of the edges from `inner`, and the edges into them.

    Both ascend; edges into the nodes of the last step are left out. `place` (N,) is 0 before and after.
    """
    found, edges, frontier = [inner], [], inner
    place[inner] = 1
    for _ in range(hops):
        into = find_edges_into(starts, frontier)
        edges.append(into)
        near = torch.unique(source[into])
        frontier = near[place[near] == 0]
        place[frontier] = 1
        found.append(frontier)
    members = torch.cat(found)
    place[members] = 0
    return members.sort().values, torch.cat(edges).sort().values if edges else torch.empty(0, dtype=torch.int64)


def find_starts(graph: Data) -> NDArray[np.int64]:
    """Return the first edge into each node, and the number of edges, (N + 1,); edges are sorted by target.

    Of a graph on the disk they are found once, and lie there as well.
    """
    known: NDArray[np.int64] | None = graph.__dict__.get(_STARTS)
    if known is not None:
        return known
    starts, total = make_rows(graph, len(graph.x) + 1, np.int64), 0
    for edges in walk_rows(graph, starts, rows=graph.num_edges):
        targets = graph.edge_index[1, edges].numpy()
        first = int(targets[0])
        counts = np.bincount(targets - first)
        starts[first + 1 : first + 1 + len(counts)] += counts
    for rows in walk_rows(graph, starts, rows=len(starts)):
        starts[rows.start] += total
        np.cumsum(starts[rows], out=starts[rows])
        total = int(starts[rows.stop - 1])
    if is_on_disk(graph):
        graph.__dict__[_STARTS] = starts
    return starts


def forget_starts(graph: Data) -> None:
    """Let go what `find_starts` remembers, because the edges are others now."""
    graph.__dict__.pop(_STARTS, None)


def find_edges_into(starts: Tensor, nodes: Tensor) -> Tensor:
    """Return the edges whose target is one of `nodes`; those into node i are starts[i] to starts[i + 1]."""
    counts = starts[nodes + 1] - starts[nodes]
    before = torch.cumsum(counts, 0) - counts
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(starts[nodes] - before, counts)
