"""Augmentation of training graphs: the graph that a brighter image, or one of more contrast, would have had."""

from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from bench.config import GraphConfig
from bench.graphs.build import build_graph

CONTRAST = slice(1, 3)  # attributes of an edge that grow with the intensities: steps of the image, of the means
SIDE = 16  # of the image that the features are tried on


@dataclass(frozen=True)
class Response:
    """How each feature responds to gain and offset of the image: x -> x * gain^power + offset * level, both (F,)."""

    power: Tensor
    level: Tensor

    def extend(self, columns: int) -> "Response":
        """Return the response with further features, which are left as they are."""
        return Response(*(torch.cat([own, own.new_zeros(columns)]) for own in (self.power, self.level)))


def find_response(spatial_axes: int, channels: int, config: GraphConfig) -> Response:
    """Find out how features respond, from those of a small random image before and after a change of gain and offset.

    Args:
        spatial_axes: 2 or 3.
        channels: Channels of the images.
        config: The feature sets.

    Returns:
        The response; a feature that follows neither gain nor offset is left as it is.
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


def jitter(graph: Data, strength: float, response: Response) -> Data:
    """Return the graph that the image would have after a random change of gain and offset.

    Args:
        graph: A graph, or a batch of which each graph gets a change of its own.
        strength: Standard deviation of the logarithm of the gain, and of the offset in units of the image.
        response: How each feature responds.

    Returns:
        A copy with other features and edge contrasts.
    """
    which = graph.batch if graph.batch is not None else torch.zeros(len(graph.x), dtype=torch.long)
    count = int(which.max()) + 1
    gain, offset = torch.exp(strength * torch.randn(count))[which], (strength * torch.randn(count))[which]
    changed: Data = copy(graph)  # the other columns stay the same tensors
    changed.x = graph.x * gain[:, None] ** response.power + offset[:, None] * response.level
    changed.edge_attr = graph.edge_attr.clone()
    changed.edge_attr[:, CONTRAST] *= gain[graph.edge_index[1]][:, None]
    return changed
