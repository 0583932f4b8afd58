"""SLIC's k-means (Achanta et al., TPAMI 34, 2012) on a grid: each pixel knows only the cells around its own.

Sums are whole numbers: the result does not depend on how the work is split. The kernels are in `blocks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range
from bench.superpixels import blocks
from bench.superpixels.scaling import divide_axis

_PLANE, _SOLID = (1, 16, 64), (4, 8, 32)  # longest sides of a block
_COARSE = 64  # pixels per cluster below which a quarter of them is too few

Part = tuple[int, NDArray[np.int64]]  # the first cluster concerned, and changes of count, z, y, x and values from it on


@dataclass(frozen=True)
class Blocks:
    """Cells of one axis cut into blocks: first pixel of each block and the end (B + 1,), and the cell of each (B,)."""

    edges: NDArray[np.int64]
    cell: NDArray[np.int64]


def cut(length: int, cells: int, longest: int) -> Blocks:
    """Every cell of an axis in equal blocks of at most `longest` pixels."""
    starts, owners = [], []
    edges = divide_axis(length, cells)
    for cell in range(cells):
        side = int(edges[cell + 1] - edges[cell])
        pieces = -(-side // longest)
        starts += [int(edges[cell]) + piece * side // pieces for piece in range(pieces)]
        owners += [cell] * pieces
    return Blocks(np.array([*starts, length], dtype=np.int64), np.array(owners, dtype=np.int64))


def lay_out_blocks(shape: tuple[int, ...], cells: tuple[int, ...]) -> list[Blocks]:
    """The blocks of each axis of a volume (D, H, W)."""
    longest = _PLANE if shape[0] == 1 else _SOLID
    return [cut(length, count, side) for length, count, side in zip(shape, cells, longest, strict=True)]


def cluster(
    image: NDArray[np.uint16],
    cells: tuple[int, ...],
    weight: float,
    iterations: int,
    workers: Workers,
    storage: Storage,
    band: int,
) -> NDArray[np.int32]:
    """Assign each pixel of `image` (C, D, H, W) to a cluster: (D, H, W) int32 in 0..prod(cells)-1, not yet connected.

    The distance is the squared difference of intensities plus `weight` times the squared distance in pixels; ties go to
    the first cell in raster order. As in scikit-image the first iteration takes the cells themselves. All iterations
    but the last go by a quarter of the pixels, unless the clusters are tiny: that moves the centres as well. About
    `band` pixels are in hand at a time, the sums of the clusters all the while.
    """
    axes = lay_out_blocks(image.shape[1:], cells)
    layout = tuple((axis.edges, axis.cell) for axis in axes)
    bands = _bands(axes, band, 4 * workers.threads)
    channels, clusters = image.shape[0], int(np.prod(cells))
    tiles = storage.empty((channels, image[0].size), np.uint16)  # the image block by block
    ranges = storage.empty((int(np.prod([axis.cell.size for axis in axes])), channels, 2), np.uint16)
    labels = storage.empty(image.shape[1:], np.int32)
    centres = np.zeros((clusters, 3 + channels), dtype=np.float64)
    scale, coarse, last = np.float32(np.sqrt(weight)), is_coarse(image[0].size, clusters), False

    def seed(start: int, stop: int) -> Part:
        return tuple(blocks.seed(image, tiles, ranges, layout, cells, coarse, start, stop))

    def shift(start: int, stop: int) -> Part:
        quarter = coarse and not last
        return tuple(blocks.shift(tiles, labels, ranges, layout, cells, centres, scale, quarter, last, start, stop))

    def keep(start: int, stop: int) -> Part:
        return tuple(blocks.keep(labels, layout, cells, start, stop))

    def summed(work: Callable[[int, int], Part]) -> NDArray[np.int64]:
        total = np.zeros((clusters, 4 + channels), dtype=np.int64)
        for inner in bands:
            for first, part in workers.run(work, inner):
                total[first : first + part.shape[0]] += part
            storage.release()
        return total

    moved = bool(blocks.move(centres, summed(seed)))
    for _ in range(iterations - 2):
        moved = moved and bool(blocks.move(centres, summed(shift)))
    last = True
    summed(shift if iterations > 1 else keep)
    storage.drop(tiles, ranges)
    return labels


def is_coarse(pixels: int, clusters: int) -> bool:
    """Whether a quarter of the pixels is enough to tell where the clusters' centres are."""
    return pixels >= _COARSE * clusters


def _bands(axes: list[Blocks], pixels: int, pieces: int) -> list[list[Band]]:
    """Rows of blocks in bands of about `pixels`, each cut into `pieces`."""
    sides = [np.diff(axis.edges) for axis in axes]
    ends = np.cumsum(np.outer(sides[0], sides[1]).reshape(-1) * int(axes[2].edges[-1]))
    cuts = np.searchsorted(ends, np.arange(pixels, ends[-1], pixels)).tolist()
    firsts = sorted({0, *cuts, ends.size})
    return [split_range(stop, pieces, start) for start, stop in pairwise(firsts)]
