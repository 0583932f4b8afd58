"""Nodes sorted by the cuboids of a lattice in which they lie; of a graph on the disk a band of nodes at a time."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from bench.pipelines.gnn.columns import make_rows, walk_rows

SLACK = 1.1  # so many times the nodes that were asked for may be in a cuboid
EDGE = 1e-9  # by which the cuboids are longer than their share, so that the last one holds the node at the end


@dataclass(frozen=True)
class Cubes:
    """The nodes of a graph by cube.

    Attributes:
        cube: Number (N,) int32 of the cube of each node; those that hold nodes are numbered in raster order.
        order: Nodes (N,) int64, those of cube 0 first, ascending within a cube.
        sizes: Number of nodes (C,) of each cube.
        place: Place (N,) int32 of each node among those of its cube.
    """

    cube: NDArray[np.int32]
    order: NDArray[np.int64]
    sizes: NDArray[np.int64]
    place: NDArray[np.int32]

    @property
    def maps(self) -> tuple[NDArray[Any], ...]:
        """The arrays that are as long as the graph."""
        return self.cube, self.order, self.place

    def split(self) -> list[Tensor]:
        """Return the nodes of each cube."""
        return list(torch.split(torch.from_numpy(self.order), self.sizes.tolist()))


@dataclass(frozen=True)
class Extent:
    """The lowest and the highest position (axes,) of the nodes of a graph."""

    low: Tensor
    high: Tensor

    def fit_side(self, nodes: int, total: int) -> float:
        """Return the side, in pixels, of cubes that hold about `nodes` of `total` nodes each."""
        lengths = (self.high - self.low).clamp_min(1)
        return float((lengths.prod() * nodes / total) ** (1 / len(lengths)))

    def divide(self, nodes: int, total: int) -> Tensor:
        """Return the sides (axes,), in pixels, of equal cuboids that hold about `nodes` of `total` nodes each.

        The longest side is cut until they are few enough, so that no thin remainder is left at the end of an axis.
        """
        lengths = [max(length, 1.0) for length in (self.high - self.low).tolist()]
        cuts = [1] * len(lengths)
        while total > SLACK * nodes * prod(cuts):
            sides = [length / cut for length, cut in zip(lengths, cuts, strict=True)]
            cuts[sides.index(max(sides))] += 1
        return torch.tensor(lengths, dtype=torch.float64) / torch.tensor(cuts) * (1 + EDGE)

    def double(self) -> "Extent":
        """Return the same in double precision."""
        return Extent(self.low.double(), self.high.double())


def find_extent(graph: Data) -> Extent:
    """Find where the nodes of a graph lie."""
    bounds = [(part.amin(dim=0), part.amax(dim=0)) for part in (graph.pos[rows] for rows in walk_rows(graph))]
    low, high = zip(*bounds, strict=True)
    return Extent(torch.stack(low).amin(dim=0), torch.stack(high).amax(dim=0))


def sort_by_cube(graph: Data, extent: Extent, side: Tensor | float, shift: Tensor | float = 0.0) -> Cubes:
    """Sort the nodes of a graph by the cubes of a lattice.

    Args:
        graph: Graph of N nodes at `graph.pos`.
        extent: Where they lie.
        side: Side of a cube in pixels: one number, or one per axis.
        shift: Added to the positions as counted from the lowest one, in pixels: one number, or one per axis.

    Returns:
        The nodes by cube; their arrays lie in files where the graph does.
    """
    total = len(graph.x)
    keys, span = make_rows(graph, total, np.int64), _find_span(graph, extent, side, shift)
    known = np.empty(0, np.int64)
    for rows in walk_rows(graph, keys):
        keys[rows] = _make_keys(graph.pos[rows], extent, side, shift, span).numpy()
        known = np.union1d(known, keys[rows])
    cube, sizes = make_rows(graph, total, np.int32), np.zeros(len(known), np.int64)
    for rows in walk_rows(graph, keys, cube):
        cube[rows] = np.searchsorted(known, keys[rows])
        sizes += np.bincount(cube[rows], minlength=len(known))
    order, place = make_rows(graph, total, np.int64), make_rows(graph, total, np.int32)
    first = np.cumsum(sizes) - sizes
    cursor = first.copy()
    for rows in walk_rows(graph, cube, order, place):
        here = np.argsort(cube[rows], kind="stable")
        cubes = cube[rows][here]
        counts = np.bincount(cubes, minlength=len(known))
        rank = np.arange(len(here)) - (np.cumsum(counts) - counts)[cubes]  # among those of the band
        order[cursor[cubes] + rank] = rows.start + here
        place[rows.start + here] = cursor[cubes] + rank - first[cubes]
        cursor += counts
    return Cubes(cube, order, sizes, place)


def _find_corners(pos: Tensor, extent: Extent, side: Tensor | float, shift: Tensor | float) -> Tensor:
    """Return the cube (M, axes) of each position along each axis."""
    return torch.floor((pos - extent.low + shift) / side).long()


def _find_span(graph: Data, extent: Extent, side: Tensor | float, shift: Tensor | float) -> Extent:
    """Find the lowest and the highest cube along each axis."""
    walk = (_find_corners(graph.pos[rows], extent, side, shift) for rows in walk_rows(graph))
    low, high = zip(*((corners.amin(dim=0), corners.amax(dim=0)) for corners in walk), strict=True)
    return Extent(torch.stack(low).amin(dim=0), torch.stack(high).amax(dim=0))


def _make_keys(pos: Tensor, extent: Extent, side: Tensor | float, shift: Tensor | float, span: Extent) -> Tensor:
    """Return one number (M,) for the cube of each position, in raster order."""
    corners = _find_corners(pos, extent, side, shift) - span.low
    key = torch.zeros(len(pos), dtype=torch.int64)
    for axis, length in enumerate((span.high - span.low + 1).tolist()):
        key = key * length + corners[:, axis]
    return key
