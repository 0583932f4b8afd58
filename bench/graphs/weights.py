"""Edge weights by scheme: by spacing, and those of Jain et al., Microscopy 2024, as published and normalised."""

import torch
from torch import Tensor
from torch_geometric.data import Data

SPACING = "spacing"
SCHEMES = (SPACING, "published", "normalised")  # values of graph.edge_weight


def weigh_edges(graph: Data, scheme: str, neighbours: int) -> Data:
    """Set the weights of the edges of a graph.

    `spacing`: 1 / (1 + distance^2) in units of the median edge, the weights that `direct_pairs` gives. `published`:
    exp(-distance of the centroids in pixels), as the published code has it: a pair counts twice where each is among
    the other's `neighbours` nearest, and every node has a loop, which counts twice as well. At a distance of ten pixels
    a loop outweighs a neighbour 22 thousand times. `normalised`: the same with distances in units of the median edge.

    Args:
        graph: Graph whose edges are sorted by target, with the weights of `spacing`.
        scheme: One of `SCHEMES`.
        neighbours: Number of nearest neighbours among which a pair counts.

    Returns:
        The graph itself for `spacing`; else one with loops, of attributes zero, whose edges are sorted by target.

    Raises:
        ValueError: There is no such scheme.
    """
    if scheme == SPACING:
        return graph
    if scheme not in SCHEMES:
        raise ValueError(f"graph.edge_weight must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    index = graph.edge_index
    distance = (graph.pos[index[1]] - graph.pos[index[0]]).double().norm(dim=1)  # (E,)
    times = _count_nearest(index, distance, neighbours, len(graph.pos))
    unit = distance.median() if scheme == "normalised" and len(distance) else torch.ones(())
    weights = times * torch.exp(-distance / unit.clamp_min(1e-6))
    return _add_loops(graph, weights.float())


def _count_nearest(index: Tensor, distance: Tensor, neighbours: int, nodes: int) -> Tensor:
    """Count in how many of its two directions each edge leads from one of the `neighbours` nearest: (E,) of 0, 1, 2.

    The edges into a node must hold its nearest ones, as those of `bench.graphs.edges.find_nearest` do.
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


def _add_loops(graph: Data, weights: Tensor) -> Data:
    """Return the same graph with `weights` (E,) and a loop of weight 2 at every node."""
    nodes = torch.arange(len(graph.pos))
    index = torch.cat([graph.edge_index, torch.stack([nodes, nodes])], dim=1)
    attributes = torch.cat([graph.edge_attr, graph.edge_attr.new_zeros(len(nodes), graph.edge_attr.shape[1])])
    order = torch.argsort(index[1] * len(nodes) + index[0])
    made: Data = graph.clone()
    made.edge_index, made.edge_attr = index[:, order], attributes[order]
    made.edge_weight = torch.cat([weights, torch.full((len(nodes),), 2.0)])[order]
    return made
