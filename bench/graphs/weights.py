"""Edge weights other than `build`'s own: those of Jain et al., Microscopy 2024, as published and put right."""

import torch
from torch import Tensor
from torch_geometric.data import Data

SCHEMES = ("spacing", "published", "normalised")  # values of graph.edge_weight


def weigh_edges(graph: Data, scheme: str, neighbours: int) -> Data:
    """`graph` with the edge weights of `scheme`; for `spacing`, which is what it has, the same graph.

    `published`: exp(-distance of the centroids in pixels), as the published code has it: a pair counts twice where
    each is among the other's `neighbours` nearest, and every node has a loop, which counts twice as well. At ten
    pixels' distance a loop outweighs a neighbour 22 thousand times. `normalised`: the same with the distance in units
    of the median edge. The loops have attributes of zero. Edges stay sorted by target.
    """
    if scheme == "spacing":
        return graph
    if scheme not in SCHEMES:
        raise ValueError(f"graph.edge_weight must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    index = graph.edge_index
    distance = (graph.pos[index[1]] - graph.pos[index[0]]).double().norm(dim=1)  # (E,)
    times = _times_found(index, distance, neighbours, len(graph.pos))
    unit = distance.median() if scheme == "normalised" and len(distance) else torch.ones(())
    weights = times * torch.exp(-distance / unit.clamp_min(1e-6))
    return _with_loops(graph, weights.float())


def _times_found(index: Tensor, distance: Tensor, neighbours: int, nodes: int) -> Tensor:
    """In how many of its two directions each edge leads from one of the `neighbours` nearest, (E,) of 0, 1, 2.

    The edges into a node must hold its nearest ones, as those of `bench.graphs.edges.knn` do.
    """
    order = torch.argsort(distance, stable=True)
    order = order[torch.argsort(index[1, order], stable=True)]  # by target, then distance
    sizes = torch.bincount(index[1], minlength=nodes)
    first = torch.cumsum(sizes, 0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - first[index[1, order]]
    near = (rank < neighbours).double()
    forward, backward = index[1] * nodes + index[0], index[0] * nodes + index[1]
    keys, where = forward.sort()
    return near + near[where[torch.searchsorted(keys, backward)]]


def _with_loops(graph: Data, weights: Tensor) -> Data:
    """The same graph with `weights` (E,), and a loop of weight 2 at every node."""
    nodes = torch.arange(len(graph.pos))
    index = torch.cat([graph.edge_index, torch.stack([nodes, nodes])], dim=1)
    attributes = torch.cat([graph.edge_attr, graph.edge_attr.new_zeros(len(nodes), graph.edge_attr.shape[1])])
    order = torch.argsort(index[1] * len(nodes) + index[0])
    made: Data = graph.clone()
    made.edge_index, made.edge_attr = index[:, order], attributes[order]
    made.edge_weight = torch.cat([weights, torch.full((len(nodes),), 2.0)])[order]
    return made
