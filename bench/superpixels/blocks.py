"""An image in blocks, each inside one cell of the grid: the layout, and its first assignment, to the cells themselves.

Along each axis cells are cut into blocks:

    cells             |     cell 0      |     cell 1      |     edges = [0 8 16 25 34 ..]   first pixel of a block, end
    blocks            |   0   |   1     |   2   |    3    |     cell  = [0 0  1  1 ..]      cell of a block

Within a block of the image a quarter of the pixels, every other one of every other line, comes first: the coarse
iterations stop there. Then come the others line by line; a block of shape (1, 4, 8) lies in `values` in this order:

    y = 0      0  8  1  9  2 10  3 11        `offsets` (3, 1024) are z, y, x of pixel p within the block,
    y = 1     12 13 14 15 16 17 18 19        `places` the same times `scale`, once for every shape of blocks
    y = 2      4 20  5 21  6 22  7 23
    y = 3     24 25 26 27 28 29 30 31
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

PIXEL_LANES = 32  # blocks are computed in multiples of so many pixels, so that the inner loops have no remainder
BLOCK_ROOM = 1024 + PIXEL_LANES  # pixels of the largest block
MOST_CELLS = 27  # around a pixel, its own included
MOST_SHAPES = 64  # of blocks in one volume: every axis has at most four lengths


class AxisBlocks(NamedTuple):
    """Cells of one axis cut into blocks: first pixel of each block and the end (B + 1,), and the cell of each (B,)."""

    edges: NDArray[np.int64]
    cell: NDArray[np.int64]


class BlockLayout(NamedTuple):
    """The blocks along each axis of a volume, and the number of cells along each; a record for kernels."""

    z: AxisBlocks
    y: AxisBlocks
    x: AxisBlocks
    cells: tuple[int, int, int]


class BlockedImage(NamedTuple):
    """An image block by block; a record for kernels.

    Attributes:
        values: (C, pixels) uint16, in the order drawn above.
        ranges: Smallest and largest value (blocks, C, 2) uint16 of each block.
        layout: Where the blocks lie.
    """

    values: NDArray[np.uint16]
    ranges: NDArray[np.uint16]
    layout: BlockLayout


@njit(cache=True, nogil=True)
def find_clusters(layout, start, last):  # type: ignore[no-untyped-def]
    """Find the clusters that the pixels of some rows of blocks may belong to.

    Args:
        layout: The `BlockLayout`.
        start: First row of blocks.
        last: Last row of blocks, included.

    Returns:
        The first cluster, and the one after the last.
    """
    cells, cell_z, cell_y = layout.cells, layout.z.cell, layout.y.cell
    rows, plane = cell_y.size, cells[1] * cells[2]
    first_z, last_z = start // rows, last // rows
    first = cell_z[first_z] * plane
    end = (cell_z[last_z] + 1) * plane
    if first_z == last_z:
        end = first + (cell_y[last % rows] + 1) * cells[2]
        first += cell_y[start % rows] * cells[2]
    reach = cells[2] + (plane if cells[0] > 1 else 0)
    return max(first - reach, 0), min(end + reach, cells[0] * plane)


@njit(cache=True, nogil=True)
def list_cells_around(cells, own, ids):  # type: ignore[no-untyped-def]
    """Write a cell and its neighbours to `ids` in raster order.

    Args:
        cells: Number of cells along each axis.
        own: z, y, x of the cell.
        ids: (MOST_CELLS,), written to.

    Returns:
        How many cells they are, and the place of its own among them.
    """
    found, mine = 0, 0
    for z in range(max(own[0] - 1, 0), min(own[0] + 2, cells[0])):
        for y in range(max(own[1] - 1, 0), min(own[1] + 2, cells[1])):
            for x in range(max(own[2] - 1, 0), min(own[2] + 2, cells[2])):
                if z == own[0] and y == own[1] and x == own[2]:
                    mine = found
                ids[found] = (z * cells[1] + y) * cells[2] + x
                found += 1
    return found, mine


@njit(cache=True, nogil=True)
def seed(image, blocked, coarse, start, stop):  # type: ignore[no-untyped-def]
    """Copy rows of blocks of an image into a `BlockedImage` and assign every pixel to its own cell.

    Args:
        image: (C, D, H, W) uint16.
        blocked: The `BlockedImage`.
        coarse: Whether only the first quarter of each block counts.
        start: First row of blocks; rows of blocks are numbered slice by slice.
        stop: Row of blocks after the last one.

    Returns:
        The first cluster concerned, and from it on the sums of count, z, y, x and values.
    """
    tiles, ranges, layout, cells = blocked.values, blocked.ranges, blocked.layout, blocked.layout.cells
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout.z, layout.y, layout.x
    channels, rows, plane = image.shape[0], cell_y.size, image.shape[2] * image.shape[3]
    lowest, highest = find_clusters(layout, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + channels), dtype=np.int64)
    ids, shapes = np.empty(MOST_CELLS, dtype=np.int64), np.zeros((MOST_SHAPES, 4), dtype=np.int64)
    offsets, places = (
        np.empty((MOST_SHAPES, 3, BLOCK_ROOM), dtype=np.int32),
        np.empty((MOST_SHAPES, 3, BLOCK_ROOM), dtype=np.float32),
    )
    unscaled = np.ones(3, dtype=np.float32)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, z1, y0, y1 = edges_z[bz], edges_z[bz + 1], edges_y[by], edges_y[by + 1]
        for bx in range(cell_x.size):
            x0, x1 = edges_x[bx], edges_x[bx + 1]
            kind = find_shape(shapes, (z1 - z0, y1 - y0, x1 - x0), unscaled, offsets, places)
            size = (z1 - z0) * (y1 - y0) * (x1 - x0)
            counted = shapes[kind, 3] if coarse else size
            own = list_cells_around(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)[1]
            place = z0 * plane + (z1 - z0) * (y0 * image.shape[3] + (y1 - y0) * x0)
            mine = sums[ids[own] - lowest]
            mine[0] += counted
            mine[1] += counted * z0 + _add_up(offsets[kind, 0, :counted])
            mine[2] += counted * y0 + _add_up(offsets[kind, 1, :counted])
            mine[3] += counted * x0 + _add_up(offsets[kind, 2, :counted])
            for channel in range(channels):
                target = tiles[channel, place : place + size]
                _copy_box(image[channel], (z0, y0, x0), (z1, y1, x1), target)
                mine[4 + channel] += _add_up(target[:counted])
                ranges[row * cell_x.size + bx, channel] = _find_range(target)
    return lowest, sums


@njit(cache=True, nogil=True)
def assign_cells(labels, layout, start, stop):  # type: ignore[no-untyped-def]
    """Write the cell of every pixel to `labels`, as `kmeans.assign` does clusters.

    Args:
        labels: (D, H, W) int32.
        layout: The `BlockLayout`.
        start: First row of blocks.
        stop: Row of blocks after the last one.

    Returns:
        No sums, in the form of those of `seed`.
    """
    cells = layout.cells
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout.z, layout.y, layout.x
    rows = cell_y.size
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        for bx in range(cell_x.size):
            own = (cell_z[bz] * cells[1] + cell_y[by]) * cells[2] + cell_x[bx]
            box = labels[edges_z[bz] : edges_z[bz + 1], edges_y[by] : edges_y[by + 1], edges_x[bx] : edges_x[bx + 1]]
            box[:] = own
    return 0, np.zeros((0, 1), dtype=np.int64)


@njit(cache=True, nogil=True)
def _copy_box(image, low, high, target):  # type: ignore[no-untyped-def]
    """Copy the pixels of the box low..high of `image` (D, H, W) to `target`, in the order drawn above."""
    (z0, y0, x0), (z1, y1, x1) = low, high
    pixel = 0
    for z in range(z0, z1):
        for y in range(y0 + (z - z0) % 2, y1, 2):
            line = image[z, y]
            for x in range(x0, x1, 2):
                target[pixel] = line[x]
                pixel += 1
    for z in range(z0, z1):
        for y in range(y0, y1):
            line = image[z, y]
            step = 2 - (z - z0 + y - y0) % 2
            for x in range(x0 + step - 1, x1, step):
                target[pixel] = line[x]
                pixel += 1


@njit(cache=True, nogil=True)
def _add_up(line):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for k in range(line.size):
        total += np.int64(line[k])
    return total


@njit(cache=True, nogil=True)
def _find_range(line):  # type: ignore[no-untyped-def]
    low, high = line[0], line[0]
    for k in range(line.size):
        low, high = min(low, line[k]), max(high, line[k])
    return low, high


@njit(cache=True, nogil=True)
def find_shape(shapes, shape, scale, offsets, places):  # type: ignore[no-untyped-def]
    """Find the number of a shape of blocks; the places of its pixels are computed when it is met first.

    Args:
        shapes: (MOST_SHAPES, 4) shapes met so far, and the size of their quarter; zeros for those to come.
        shape: (d, h, w) of a block.
        scale: (3,) factors of the places.
        offsets: (MOST_SHAPES, 3, room), as drawn above.
        places: (MOST_SHAPES, 3, room), as drawn above.

    Returns:
        The number.
    """
    for kind in range(MOST_SHAPES):
        if shapes[kind, 0] == 0:
            shapes[kind, 0], shapes[kind, 1], shapes[kind, 2] = shape
            shapes[kind, 3] = _list_places(shape, scale, offsets[kind], places[kind])
            return kind
        if shapes[kind, 0] == shape[0] and shapes[kind, 1] == shape[1] and shapes[kind, 2] == shape[2]:
            return kind
    raise IndexError("blocks of too many shapes")


@njit(cache=True, nogil=True)
def _list_places(shape, scale, offsets, places):  # type: ignore[no-untyped-def]
    """Write z, y, x of each pixel in its block, plain and scaled, the quarter first, and return the quarter's size."""
    pixel, quarter = 0, 0
    for rest in range(2):
        quarter = pixel
        for z in range(shape[0]):
            for y in range(shape[1]):
                for x in range(shape[2]):
                    if ((z + y) % 2 == 0 and x % 2 == 0) != (rest == 1):
                        offsets[0, pixel], offsets[1, pixel], offsets[2, pixel] = z, y, x
                        places[0, pixel], places[1, pixel] = z * scale[0], y * scale[1]
                        places[2, pixel] = x * scale[2]
                        pixel += 1
    places[:, pixel:] = 0
    return quarter


@njit(cache=True, nogil=True)
def write_clusters(labels, low, high, ids, nearest):  # type: ignore[no-untyped-def]
    """Write the clusters of the pixels of a block.

    Args:
        labels: (D, H, W), written to.
        low: z, y, x of its first pixel.
        high: z, y, x after its last pixel.
        ids: Clusters of the candidates.
        nearest: Candidate of each pixel, in the order drawn above.
    """
    (z0, y0, x0), (z1, y1, x1) = low, high
    pixel = 0
    for z in range(z0, z1):
        for y in range(y0 + (z - z0) % 2, y1, 2):
            for x in range(x0, x1, 2):
                labels[z, y, x] = ids[nearest[pixel]]
                pixel += 1
    for z in range(z0, z1):
        for y in range(y0, y1):
            step = 2 - (z - z0 + y - y0) % 2
            for x in range(x0 + step - 1, x1, step):
                labels[z, y, x] = ids[nearest[pixel]]
                pixel += 1
