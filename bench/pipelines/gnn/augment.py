"""Training graphs as they might also have been: edges and features missing, image brighter, steeper or mirrored."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from bench.config import GraphConfig
from bench.graphs.build import build_graph

CONTRAST = slice(1, 3)  # attributes of an edge that grow with the intensities: steps of the image, of the means
DIRECTION = 4  # the first of its direction
SIDE = 16  # of the image that the features are tried on


@dataclass(frozen=True)
class Response:
    """How each feature answers to gain and offset of the image: x -> x * gain^power + offset * level, both (F,)."""

    power: Tensor
    level: Tensor


def response(spatial_axes: int, channels: int, config: GraphConfig) -> Response:
    """Found by trying: the features of a small random image, and of the same with another gain and another offset.

    A feature that answers otherwise than by one of gain and level is left as it is.
    """
    rng = np.random.default_rng(0)
    ramp = np.indices((SIDE,) * spatial_axes).sum(axis=0)[..., None] / 8
    image = (ramp + rng.normal(3, 1, (*ramp.shape[:-1], channels))).astype(np.float32)
    segments = (np.indices(ramp.shape[:-1])[0] // 8).astype(np.int32)
    plain, steeper, brighter = (build_graph(made, segments, config).x for made in (image, image * 4, image + 4))
    scaled = _close(steeper, plain * 4) & ~_close(steeper, plain)
    raised = _close(brighter, plain + 4)
    known = scaled & (raised | _close(brighter, plain))
    return Response(known.float(), (known & raised).float())


def _close(one: Tensor, other: Tensor) -> Tensor:
    """Whether columns agree to a hundredth of their size."""
    return (one - other).abs().amax(dim=0) <= 0.01 * other.abs().amax(dim=0)


def jittered(graph: Data, strength: float, answers: Response) -> Data:
    """The graph of the image with a random gain around 1 and offset around 0, for each graph of a batch its own.

    Both have a spread of `strength`, the offset in units of the image (standard deviations, if it was normalised).
    """
    which = graph.batch if graph.batch is not None else torch.zeros(len(graph.x), dtype=torch.long)
    count = int(which.max()) + 1
    gain, offset = torch.exp(strength * torch.randn(count))[which], (strength * torch.randn(count))[which]
    changed: Data = graph.clone()
    changed.x = graph.x * gain[:, None] ** answers.power + offset[:, None] * answers.level
    changed.edge_attr = graph.edge_attr.clone()
    changed.edge_attr[:, CONTRAST] *= gain[graph.edge_index[1]][:, None]
    return changed


def mirrored(graph: Data) -> Data:
    """The graph of the image turned over along a random choice of its axes, all graphs of a batch alike.

    Shape and texture do not know of it; positions and the directions of the edges do.
    """
    sign = torch.where(torch.rand(graph.pos.shape[1]) < 0.5, -1.0, 1.0)
    changed: Data = graph.clone()
    changed.pos = graph.pos * sign
    changed.edge_attr = graph.edge_attr.clone()
    changed.edge_attr[:, DIRECTION:] *= sign
    return changed


def edges_dropped(graph: Data, share: float) -> Data:
    """Without a random `share` of the edges; loops stay."""
    kept = (torch.rand(graph.edge_index.shape[1]) >= share) | (graph.edge_index[0] == graph.edge_index[1])
    changed: Data = graph.clone()
    changed.edge_index, changed.edge_attr = graph.edge_index[:, kept], graph.edge_attr[kept]
    changed.edge_weight = graph.edge_weight[kept]
    return changed


def features_dropped(graph: Data, share: float, mean: Tensor) -> Data:
    """With a random `share` of all features at their `mean` (F,)."""
    changed: Data = graph.clone()
    changed.x = torch.where(torch.rand(graph.x.shape) < share, mean, graph.x)
    return changed
