"""Whether the edges of a graph network do anything: what they carry, and what changes when they go."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from bench.config import IDLE_FLIPS
from bench.pipelines.gnn.columns import walk_rows
from bench.pipelines.gnn.parts import forget_starts

NORM_EPSILON = 1e-12


def remove_edges(graph: Data) -> Data:
    """Return the same nodes with their loops alone, where they have any."""
    found = [torch.empty(0, dtype=torch.int64)]
    for edges in walk_rows(graph, rows=graph.num_edges):
        source, target = graph.edge_index[:, edges]
        found.append(torch.nonzero(source == target)[:, 0] + edges.start)
    loops = torch.cat(found)
    alone: Data = copy(graph)  # shares the columns of the nodes
    forget_starts(alone)
    alone.edge_index = graph.edge_index[:, loops]
    alone.edge_attr, alone.edge_weight = graph.edge_attr[loops], graph.edge_weight[loops]
    return alone


def ablate_edges(
    model: nn.Module, graphs: Sequence[Data], classify: Callable[[Data], NDArray[np.integer]]
) -> dict[str, float]:
    """Measure what the edges of graphs do to a fitted network.

    Args:
        model: The network, in eval mode.
        graphs: Graphs of N nodes each.
        classify: Gives the classes (N,) of a graph's nodes.

    Returns:
        Empty for a network without convolutions. Else `edge_message_share`, in [0, 1]: of what a convolution hands each
        node, the share that does not come from the node itself, ||m - m0|| / (||m - m0|| + ||m0||), where m is its
        output at the node and m0 that of the same convolution on the same input without edges (loops stay); the mean
        over nodes, convolutions and graphs. And `edge_flip_share`, in [0, 1]: the share of pixels (`num_pixels` of a
        node) whose class changes when all edges are removed.
    """
    if not any(isinstance(module, MessagePassing) for module in model.modules()):
        return {}
    flipped = pixels = 0
    with _shares(model) as shares:
        with_edges = [classify(graph) for graph in graphs]
    for graph, classes in zip(graphs, with_edges, strict=True):
        weight, others = graph.num_pixels.numpy(), classify(remove_edges(graph))
        for rows in walk_rows(graph, classes, others):
            flipped += int(weight[rows][others[rows] != classes[rows]].sum())
            pixels += int(weight[rows].sum())
    total, nodes = np.sum(shares, axis=0)
    return {"edge_message_share": float(total / nodes), "edge_flip_share": flipped / pixels}


@contextmanager
def _shares(model: nn.Module) -> Iterator[list[tuple[float, int]]]:
    """While open, collects of each convolution that runs the sum of the shares over its nodes, and their number."""
    found: list[tuple[float, int]] = []

    def record_message(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], message: Tensor) -> None:
        x, edge_index, *rest = args
        loops = edge_index[0] == edge_index[1]
        named = {name: value[loops] for name, value in kwargs.items()}
        alone = module.forward(x, edge_index[:, loops], *(value[loops] for value in rest), **named)
        other, own = (message - alone).float().norm(dim=1), alone.float().norm(dim=1)
        found.append((float((other / (other + own + NORM_EPSILON)).sum()), len(other)))

    hooks = [
        module.register_forward_hook(record_message, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, MessagePassing)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def find_idle_edges(facts: dict[str, float]) -> tuple[str, ...]:
    """A warning for the run's row where the edges do nothing, else none."""
    share = facts.get("edge_flip_share", 1.0)
    return (f"warn: removing all edges changes {share:.2%} of the labels",) if share < IDLE_FLIPS else ()
