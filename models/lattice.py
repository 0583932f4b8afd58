"""A lattice of cubes over positions in space: which nodes of a graph lie in the same cube."""

import torch
from torch import Tensor


def fit_side(pos: Tensor, nodes: int) -> float:
    """Return the side, in pixels, of cubes that hold about `nodes` of the nodes at `pos` (N, axes) each."""
    extent = (pos.max(dim=0).values - pos.min(dim=0).values).clamp_min(1)
    return float((extent.prod() * nodes / len(pos)) ** (1 / pos.shape[1]))


def number_cubes(pos: Tensor, side: Tensor | float, shift: Tensor | float = 0.0, batch: Tensor | None = None) -> Tensor:
    """Number the cubes of a lattice in which nodes lie.

    Args:
        pos: Positions (N, axes) in pixels.
        side: Side of a cube in pixels.
        shift: Added to the positions, in pixels: one number, or one per axis.
        batch: Graph (N,) of each node; graphs share no cube. None: all nodes are of one graph.

    Returns:
        Number (N,) of each node's cube. Numbers are consecutive from 0, ascending by graph and then by cube in raster
        order; cubes without nodes have none.
    """
    corner = torch.floor((pos + shift) / side).long()
    corner = corner - corner.amin(dim=0)
    key = pos.new_zeros(len(pos), dtype=torch.int64) if batch is None else batch
    for axis in range(corner.shape[1]):  # torch.unique over the rows of `corner` takes ten times as long
        key = key * (corner[:, axis].amax() + 1) + corner[:, axis]
    found: tuple[Tensor, Tensor] = torch.unique(key, return_inverse=True)
    return found[1]
