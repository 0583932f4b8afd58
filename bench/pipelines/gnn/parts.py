"""A large graph in parts that each know what the whole would tell their nodes: prediction in bounded memory."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from bench.arrays.rows import release
from bench.pipelines.gnn.columns import is_on_disk, make_rows, release_columns, take_rows, walk_rows
from bench.pipelines.gnn.cubes import SLACK, find_extent, sort_by_cube

EDGE_COLUMNS = ("edge_weight", "edge_attr")
_STARTS = "_starts"  # of a graph on the disk, in its own dictionary


@dataclass(frozen=True)
class GraphPart:
    """The nodes `inner` (M,) of a graph, within a graph `data` of them and all that their messages come from.

    `kept` (M,) are the rows of `data` that are `inner`.
    """

    data: Data
    inner: Tensor
    kept: Tensor


def parts(graph: Data, nodes: int, hops: int, edge_columns: Collection[str] = EDGE_COLUMNS) -> Iterator[GraphPart]:
    """Cut a graph into cuboids of about as many nodes each; a small graph stays whole.

    Every node is in `inner` of exactly one part. The output of a network of `hops` layers for `inner` is the same as
    within the whole graph: all nodes that can reach them in so many steps are there, with all edges that such a message
    takes.

    Args:
        graph: Its edges are sorted by target, as `bench.graphs.build` leaves them.
        nodes: About how many nodes a part has inside.
        hops: Width of its halo, in edges.
        edge_columns: Those of `EDGE_COLUMNS` that are needed; the others of a part have no rows.

    Yields:
        The parts.
    """
    total = int(graph.x.shape[0])
    if total <= SLACK * nodes:
        everything = torch.arange(total)
        yield GraphPart(graph, everything, everything)
        return
    extent, starts = find_extent(graph), find_starts(graph)
    cubes = sort_by_cube(graph, extent, extent.double().divide(nodes, total))
    mark = make_rows(graph, total, np.int32)
    source = graph.edge_index[0].numpy()
    for inner in cubes.split():
        found = cut_part(source, starts, inner.numpy(), hops, mark)
        members, edges, index, kept = (torch.from_numpy(values) for values in found)
        data = Data(x=take_rows(graph, graph.x, members), pos=graph.pos[members], edge_index=index)
        for name in EDGE_COLUMNS:
            data[name] = take_rows(graph, graph[name], edges if name in edge_columns else edges[:0])
        release_columns(graph)
        for values in (mark, starts, *cubes.maps):
            release(values)
        yield GraphPart(data, inner, kept)


def warm_up_parts() -> None:
    """Compile the kernel that `parts` needs, on two nodes with an edge into each."""
    cut_part(np.array([1, 0]), np.arange(3), np.arange(1), 1, np.zeros(2, np.int32))


@njit(cache=True, nogil=True)
def cut_part(source, starts, inner, hops, mark):  # type: ignore[no-untyped-def]
    """Find all nodes within `hops` steps against the direction of the edges from some nodes, and the edges into them.

    Edges into the nodes of the last step are left out.

    Args:
        source: Node (E,) from which each edge comes; edges are sorted by target.
        starts: First edge into each node, and the number of edges, (N + 1,).
        inner: The nodes (M,) to begin with.
        hops: Number of steps.
        mark: (N,) int32 room; zeros before and after.

    Returns:
        The nodes, ascending; the edges, ascending; these as places of their ends among the nodes, (2, edges); and the
        places (M,) of `inner`.
    """
    members, count = np.empty(2 * inner.size + 16, dtype=np.int64), inner.size
    members[:count] = inner
    for node in inner:
        mark[node] = 1
    first, entering = 0, 0  # the nodes of the last step, and the edges into all nodes before
    for hop in range(hops):
        stop = count
        for place in range(first, stop):
            node = members[place]
            entering += starts[node + 1] - starts[node]
            for edge in range(starts[node], starts[node + 1]):
                if mark[source[edge]] == 0:
                    mark[source[edge]] = hop + 2
                    if count == members.size:
                        members = np.concatenate((members, np.empty_like(members)))
                    members[count] = source[edge]
                    count += 1
        first = stop
    members = np.sort(members[:count])
    edges, index = np.empty(entering, dtype=np.int64), np.empty((2, entering), dtype=np.int64)
    known = 0
    for place in range(count):
        node = members[place]
        last = mark[node] > hops
        mark[node] = place + 1
        for edge in range(0 if last else starts[node + 1] - starts[node]):
            edges[known], index[1, known] = starts[node] + edge, place
            known += 1
    for edge in range(entering):
        index[0, edge] = mark[source[edges[edge]]] - 1
    kept = np.empty(inner.size, dtype=np.int64)
    for place in range(inner.size):
        kept[place] = mark[inner[place]] - 1
    for node in members:
        mark[node] = 0
    return members, edges, index, kept


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
