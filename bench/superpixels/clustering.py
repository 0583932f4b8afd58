"""SLIC's k-means (Achanta et al., TPAMI 34, 2012) on a grid: a pixel joins one of the cells around its own.

Sums are whole numbers, so the result does not depend on how the work is split. Kernels are in `blocks` and `kmeans`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range
from bench.superpixels.blocks import AxisBlocks, BlockedImage, BlockLayout, assign_cells, seed
from bench.superpixels.kmeans import assign, move_centres
from bench.superpixels.scaling import divide_axis

PLANE, SOLID = (1, 16, 64), (4, 8, 32)  # longest sides of a block of a picture and of a volume, in pixels
CLUSTERS = 1 << 17  # whose centres are moved at a time
COARSE = 64  # pixels per cluster below which a quarter of them is too few

Part = tuple[int, NDArray[np.int64]]  # the first cluster concerned, and sums of count, z, y, x and values from it on


def cut_axis(length: int, cells: int, longest: int) -> AxisBlocks:
    """Cut every cell of an axis into equal blocks.

    Args:
        length: Pixels of the axis.
        cells: Number of cells.
        longest: Most pixels of a block.

    Returns:
        The blocks.
    """
    starts, owners = [], []
    edges = divide_axis(length, cells)
    for cell in range(cells):
        side = int(edges[cell + 1] - edges[cell])
        pieces = -(-side // longest)
        starts += [int(edges[cell]) + piece * side // pieces for piece in range(pieces)]
        owners += [cell] * pieces
    return AxisBlocks(np.array([*starts, length], dtype=np.int64), np.array(owners, dtype=np.int64))


def lay_out_blocks(shape: tuple[int, ...], cells: tuple[int, ...]) -> BlockLayout:
    """Return the blocks of each axis of a volume (D, H, W) that is divided into `cells` along each axis."""
    longest = PLANE if shape[0] == 1 else SOLID
    z, y, x = (cut_axis(length, count, side) for length, count, side in zip(shape, cells, longest, strict=True))
    return BlockLayout(z, y, x, (cells[0], cells[1], cells[2]))


def cluster(
    image: NDArray[np.uint16],
    cells: tuple[int, ...],
    weight: float,
    iterations: int,
    workers: Workers,
    storage: Storage,
    band: int,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> NDArray[np.int32]:
    """Assign each pixel to the nearest cluster among its own cell and the cells around it.

    The distance is the squared difference of intensities plus `weight` times the squared distance in space; ties go to
    the first cell in raster order. As in scikit-image the first iteration takes the cells themselves. All iterations
    but the last use a quarter of the pixels, unless the clusters are tiny: that moves the centres as well.

    Args:
        image: (C, D, H, W) uint16.
        cells: Number of cells along each axis; each begins as one cluster.
        weight: Weight of the squared distance in units of `spacing`.
        iterations: Number of assignments, the first of which is that to the cells.
        workers: Threads that share the work on a band.
        storage: Where arrays as large as the image live.
        band: About how many pixels are in memory at a time, where `storage` is on disk.
        spacing: Length of a pixel along each axis.

    Returns:
        Clusters (D, H, W) int32 in 0..prod(cells)-1; they need not be connected.
    """
    layout = lay_out_blocks(image.shape[1:], cells)
    passes = _Passes(_cut_bands(layout, band, 4 * workers.threads), workers, storage)
    channels, clusters = image.shape[0], int(np.prod(cells))
    values = storage.empty((channels, image[0].size), np.uint16)
    ranges = storage.empty((layout.z.cell.size * layout.y.cell.size * layout.x.cell.size, channels, 2), np.uint16)
    blocked = BlockedImage(values, ranges, layout)
    labels = storage.empty(image.shape[1:], np.int32)
    centres = storage.zeros((clusters, 3 + channels), np.float64)
    total = storage.empty((clusters, 4 + channels), np.int64)
    scale = np.float32(np.sqrt(weight)) * np.array(spacing, np.float32)
    coarse = is_coarse(image[0].size, clusters)
    iterate = partial(assign, blocked, labels, centres, scale)  # coarse, last, and rows of blocks are to come

    moved = passes.move(centres, total, partial(seed, image, blocked, coarse))
    for _ in range(iterations - 2):
        moved = moved and passes.move(centres, total, partial(iterate, coarse, False))
    finish = partial(iterate, False, True) if iterations > 1 else partial(assign_cells, labels, layout)
    deque(passes.run(finish), maxlen=0)  # its parts are no sums: they are let go
    storage.drop(values, ranges, centres, total)
    return labels


@dataclass(frozen=True)
class _Passes:
    """Passes over an image in blocks: `workers` share each band of its rows, whose pages are then handed back."""

    bands: list[list[Band]]
    workers: Workers
    storage: Storage

    def run(self, kernel: Callable[[int, int], Part]) -> Iterator[Part]:
        """Yield what `kernel` makes of the rows of blocks, from top to bottom."""
        for band in self.bands:
            yield from self.workers.run(kernel, band)
            self.storage.release()

    def move(self, centres: NDArray[Any], total: NDArray[Any], kernel: Callable[[int, int], Part]) -> bool:
        """Move `centres` to the middle of the pixels that `kernel` sums up in `total`; False if none moved."""
        groups, moved = cut_bands(centres.shape[:1], CLUSTERS), False
        for low, high in groups:
            total[low:high] = 0
            self.storage.release()
        for first, part in self.run(kernel):
            total[first : first + part.shape[0]] += part
        for low, high in groups:
            moved |= bool(move_centres(centres[low:high], total[low:high]))
            self.storage.release()
        return moved


def is_coarse(pixels: int, clusters: int) -> bool:
    """Return whether a quarter of the pixels is enough to find the centres of the clusters."""
    return pixels >= COARSE * clusters


def _cut_bands(layout: BlockLayout, pixels: int, pieces: int) -> list[list[Band]]:
    """Return the rows of blocks in bands of about `pixels`, each cut into `pieces`."""
    sides = np.outer(np.diff(layout.z.edges), np.diff(layout.y.edges))
    ends = np.cumsum(sides.reshape(-1) * int(layout.x.edges[-1]))
    cuts = np.searchsorted(ends, np.arange(pixels, ends[-1], pixels)).tolist()
    firsts = sorted({0, *cuts, ends.size})
    return [split_range(stop, pieces, start) for start, stop in pairwise(firsts)]
