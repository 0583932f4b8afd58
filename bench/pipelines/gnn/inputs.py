"""What a training step of a graph network takes of a batch, and how it takes one shape whatever the batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.data import Data

from bench.learning.recording import FixedInputs
from bench.pipelines.gnn.sampler import GraphSampler
from models.neighbours import Neighbours, find_neighbours, remember_neighbours

ADDED_ROWS = 64  # at least: among which the edges are spread that are added
MORE_EDGES = 1.1  # a window may have more edges for its nodes than its graph has


def list_graph(data: Data) -> list[Tensor]:
    """Return features (N, F), edges (2, E), and their weights (E,) and attributes (E, D)."""
    return [data.x, data.edge_index, data.edge_weight, data.edge_attr]


def list_inputs(batch: Data) -> list[Tensor]:
    """Return what `list_graph` does, and the pixels of each class (N, K)."""
    return [*list_graph(batch), batch.y_counts]


@dataclass(frozen=True)
class FixedShape:
    """Numbers of nodes and edges to which every batch of windows is filled up.

    Attributes:
        rows: Nodes, those that are added included.
        edges: Edges.
    """

    rows: int
    edges: int

    def fill(self, inputs: Sequence[Tensor]) -> list[Tensor] | None:
        """Fill a batch up, and find the neighbours of its nodes, on the host.

        The nodes that are added have features and pixels of 0, so that they count for nothing in the loss, and share
        the edges that are added, each from a node to itself.

        Args:
            inputs: What `list_inputs` returns of a batch.

        Returns:
            The same tensors in these shapes, and five of `Neighbours`; None of a batch that is larger.
        """
        x, edge_index, edge_weight, edge_attr, counts = inputs
        nodes, rows, edges = len(x), self.rows - len(x), self.edges - edge_index.shape[1]
        if rows < ADDED_ROWS or edges < 0:
            return None
        ends = nodes + torch.arange(edges) * rows // max(edges, 1)
        edge_index = torch.cat([edge_index, ends.expand(2, -1)], dim=1)
        filled = [functional.pad(x, (0, 0, 0, rows)), edge_index, functional.pad(edge_weight, (0, edges))]
        filled += [functional.pad(edge_attr, (0, 0, 0, edges)), functional.pad(counts, (0, 0, 0, rows))]
        return filled + find_neighbours(edge_index, self.rows, gradient=True).to_tensors()


def choose_shape(sampler: GraphSampler) -> FixedShape | None:
    """Choose the shape of all batches of a sampler, but for rare ones; None where each batch is a whole graph."""
    if sampler.most_nodes == 0:
        return None
    degree = max(graph.edge_index.shape[1] / max(len(graph.x), 1) for graph in sampler.graphs)
    return FixedShape(sampler.most_nodes + ADDED_ROWS, int(MORE_EDGES * degree * sampler.most_nodes))


def fix_inputs(
    sampler: GraphSampler,
    augment: Callable[[Data], list[Tensor]],
    compute_loss: Callable[[Sequence[Tensor]], Tensor],
) -> FixedInputs[Data] | None:
    """Return how a batch is brought to one shape; None where each batch is a whole graph.

    Args:
        sampler: The batches.
        augment: What `list_inputs` returns of a batch, after a random change.
        compute_loss: The loss of these on the device.

    Returns:
        What a recorded step needs.
    """
    shape = choose_shape(sampler)
    if shape is None:
        return None

    def compute_filled_loss(inputs: Sequence[Tensor]) -> Tensor:
        x, edge_index, *_ = inputs
        remember_neighbours(edge_index, len(x), Neighbours.from_tensors(inputs[5:]))
        return compute_loss(inputs[:5])

    return FixedInputs(lambda batch: shape.fill(augment(batch)), compute_filled_loss)


def choose_targets(counts: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Choose what nodes are compared with.

    Args:
        counts: Pixels of each class (N, K); ignored ones are not counted.
        kind: majority | fractions.

    Returns:
        Classes (N,) or shares of classes (N, K), and the pixels of each node (N,).
    """
    pixels = counts.sum(dim=1)
    return counts.argmax(dim=1) if kind == "majority" else counts / pixels.clamp_min(1)[:, None], pixels
