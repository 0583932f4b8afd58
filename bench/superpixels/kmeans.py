"""The inner loops of `clustering`: the image in blocks, each inside one cell of the grid.

So the candidate centres are constants of the innermost loops, which run over contiguous pixels.

Along each axis cells are cut into blocks:

    cells             |     cell 0      |     cell 1      |     edges = [0 8 16 25 34 ..]   first pixel of a block, end
    blocks            |   0   |   1     |   2   |    3    |     cell  = [0 0  1  1 ..]      cell of a block

Within a block of the image a quarter of the pixels, every other one of every other line, comes first: the coarse
iterations stop there. Then come the others line by line; a block of shape (1, 4, 8) lies in `values` in this order:

    y = 0      0  8  1  9  2 10  3 11        `offsets` (3, 1024) are z, y, x of pixel p within the block,
    y = 1     12 13 14 15 16 17 18 19        `places` the same times `scale`, once for every shape of blocks
    y = 2      4 20  5 21  6 22  7 23
    y = 3     24 25 26 27 28 29 30 31

|pixel - centre|^2 less |pixel|^2, which is the same for all candidates, is linear in the pixel's place and values. Its
coefficients stand in `near`, a column for each candidate, the cells around the block's own in raster order:

    near (4 + C, 32)   rows 0..2        -2 (centre - corner of the block) * scale, along z, y, x
                       rows 3..2 + C    -2 (centre - origin), of each channel; origin: the own centre's, rounded
                       last row         the constant: squares of the above without the -2

The pixels that each candidate gets are added up in `booked`, even and odd pixels apart, as they do not wait for each
other. One number has room for count and places, as a block has at most 1024 pixels and 64 along a side:

    booked (2, 1 + C, 32)   row 0       bits 0..10 count | 11..27 sum of z | 28..44 sum of y | 45..61 sum of x
                            rows 1..C   sum of each channel
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LANES = 32  # blocks are computed in multiples of so many pixels, so that the inner loops have no remainder
_ROOM = 1024 + _LANES  # pixels of the largest block
_MOST = 27  # cells around a pixel
_PADDED = 32  # the same in whole vectors: a constant, so that loops over candidates have no remainder either
_SHAPES = 64  # of blocks in one volume: every axis has at most four lengths


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
def move_centres(centres, total):  # type: ignore[no-untyped-def]
    """Put every centre in the middle of its pixels; False if none moved. A cluster without pixels stays in place.

    `centres` (clusters, 3 + C) are z, y, x and values; `total` (clusters, 4 + C) count and sums of these.
    """
    moved = False
    for k in range(centres.shape[0]):
        if total[k, 0]:
            for item in range(centres.shape[1]):
                mean = total[k, 1 + item] / total[k, 0]
                moved |= mean != centres[k, item]
                centres[k, item] = mean
    return moved


@njit(cache=True, nogil=True)
def _find_clusters(layout, start, last):  # type: ignore[no-untyped-def]
    """Return the interval of the clusters that the pixels of block rows `start` to `last` may belong to."""
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
    lowest, highest = _find_clusters(layout, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + channels), dtype=np.int64)
    ids, shapes = np.empty(_MOST, dtype=np.int64), np.zeros((_SHAPES, 4), dtype=np.int64)
    offsets, places = np.empty((_SHAPES, 3, _ROOM), dtype=np.int32), np.empty((_SHAPES, 3, _ROOM), dtype=np.float32)
    unscaled = np.ones(3, dtype=np.float32)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, z1, y0, y1 = edges_z[bz], edges_z[bz + 1], edges_y[by], edges_y[by + 1]
        for bx in range(cell_x.size):
            x0, x1 = edges_x[bx], edges_x[bx + 1]
            kind = _find_shape(shapes, (z1 - z0, y1 - y0, x1 - x0), unscaled, offsets, places)
            size = (z1 - z0) * (y1 - y0) * (x1 - x0)
            counted = shapes[kind, 3] if coarse else size
            own = _list_neighbours(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)[1]
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
def _find_shape(shapes, shape, scale, offsets, places):  # type: ignore[no-untyped-def]
    """Return the number of a shape of blocks; the places of its pixels are computed when it is met first."""
    for kind in range(_SHAPES):
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
def assign(blocked, labels, centres, scale, coarse, last, start, stop):  # type: ignore[no-untyped-def]
    """Assign the pixels of block rows `start` to `stop` to their nearest centres.

    Args:
        blocked: The `BlockedImage`.
        labels: (D, H, W) int32, to which the clusters are written the `last` time.
        centres: (clusters, 3 + C) z, y, x and values.
        scale: Units of intensity per pixel of distance along each axis, (3,) float32.
        coarse: Whether only the first quarter of each block is assigned.
        last: Whether this is the last iteration.
        start: First row of blocks; rows of blocks are numbered slice by slice.
        stop: Row of blocks after the last one.

    Returns:
        The first cluster concerned, and from it on the sums of count, z, y, x and values; the last time zeros.
    """
    tiles, ranges, layout, cells = blocked.values, blocked.ranges, blocked.layout, blocked.layout.cells
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout.z, layout.y, layout.x
    channels, rows, height, width = tiles.shape[0], cell_y.size, edges_y[-1], edges_x[-1]
    lowest, highest = _find_clusters(layout, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + channels), dtype=np.int64)
    values, origin = np.zeros((channels, _ROOM), dtype=np.float32), np.empty(channels, dtype=np.float32)
    offsets, places = np.empty((_SHAPES, 3, _ROOM), dtype=np.int32), np.empty((_SHAPES, 3, _ROOM), dtype=np.float32)
    best, nearest = np.empty(_ROOM, dtype=np.float32), np.zeros(_ROOM, dtype=np.int32)
    ids, near = np.empty(_MOST, dtype=np.int64), np.zeros((4 + channels, _PADDED), dtype=np.float32)
    kept, shapes = np.empty(_MOST + 2, dtype=np.int32), np.zeros((_SHAPES, 4), dtype=np.int64)
    box, apart = np.empty((2, 3 + channels), dtype=np.float32), np.empty((2, _PADDED), dtype=np.float32)
    booked = np.zeros((2, 1 + channels, _PADDED), dtype=np.int64)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, y0 = edges_z[bz], edges_y[by]
        for bx in range(cell_x.size):
            x0 = edges_x[bx]
            found, own = _list_neighbours(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)
            shape = (edges_z[bz + 1] - z0, edges_y[by + 1] - y0, edges_x[bx + 1] - x0)
            kind = _find_shape(shapes, shape, scale, offsets, places)
            size = shapes[kind, 3] if coarse else shape[0] * shape[1] * shape[2]
            place = (z0 * height + shape[0] * y0) * width + shape[0] * shape[1] * x0
            _expand(centres, scale, (z0, y0, x0), ids[own], origin, ids, found, near)
            _enclose(ranges, row * cell_x.size + bx, shape, scale, origin, box)
            found = _prune(near, found, box, apart, kept)
            padded = (size + _LANES - 1) // _LANES * _LANES
            if found == 1:
                nearest[:size] = kept[0]
            else:
                _gather(tiles, place, size, origin, values)
                if channels == 1 and edges_z[-1] == 1:
                    _assign_in_plane(values, places, kind, padded, near, kept, found, best, nearest)
                else:
                    _assign_in_space(values, places[kind], padded, near, kept, found, best, nearest)
            if last:
                _write(labels, (z0, y0, x0), (z0 + shape[0], y0 + shape[1], x0 + shape[2]), ids, nearest)
            else:
                _book(tiles, place, size, nearest, offsets, kind, booked)
                _flush(booked, kept, found, (z0, y0, x0), ids, lowest, sums)
    return lowest, sums


@njit(cache=True, nogil=True)
def assign_cells(labels, layout, start, stop):  # type: ignore[no-untyped-def]
    """Write the cell of every pixel to `labels`, as `assign` does clusters.

    Args:
        labels: (D, H, W) int32.
        layout: The `BlockLayout`.
        start: First row of blocks.
        stop: Row of blocks after the last one.

    Returns:
        No sums, in the form of those of `assign`.
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
def _list_neighbours(cells, own, ids):  # type: ignore[no-untyped-def]
    """Write a cell and its neighbours to `ids` in raster order; return how many they are, and its own place."""
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
def _gather(tiles, place, size, origin, values):  # type: ignore[no-untyped-def]
    """Copy the `size` pixels of a block that begin at `place` to `values` (C, room), less `origin`, as float32."""
    for channel in range(tiles.shape[0]):
        line, target, middle = tiles[channel, place : place + size], values[channel], origin[channel]
        for p in range(size):
            target[p] = np.float32(line[p]) - middle


@njit(cache=True, nogil=True)
def _expand(centres, scale, corner, own, origin, ids, found, near):  # type: ignore[no-untyped-def]
    """Write the coefficients of the distances to the candidates to `near`, as drawn above.

    Places count from the block's corner, intensities from those of its own centre, rounded, which become `origin`:
    small numbers keep their digits.
    """
    last = near.shape[0] - 1
    for k in range(_PADDED):
        near[last, k] = 0
    for axis in range(3):
        for k in range(found):
            near[axis, k] = (centres[ids[k], axis] - corner[axis]) * scale[axis]
    for channel in range(origin.size):
        origin[channel] = np.float32(np.rint(centres[own, 3 + channel]))
        for k in range(found):
            near[3 + channel, k] = centres[ids[k], 3 + channel] - origin[channel]
    for item in range(last):
        for k in range(_PADDED):
            near[last, k] += near[item, k] * near[item, k]
            near[item, k] *= np.float32(-2)


@njit(cache=True, nogil=True)
def _enclose(ranges, block, shape, scale, origin, box):  # type: ignore[no-untyped-def]
    """Write middle and half the sides of the block's box of places and intensities to `box`, in units of `_expand`."""
    for axis in range(3):
        box[0, axis] = box[1, axis] = np.float32(0.5) * (shape[axis] - 1) * scale[axis]
    for channel in range(origin.size):
        low, high = np.float32(ranges[block, channel, 0]), np.float32(ranges[block, channel, 1])
        box[0, 3 + channel] = np.float32(0.5) * (high + low) - origin[channel]
        box[1, 3 + channel] = np.float32(0.5) * (high - low)


@njit(cache=True, nogil=True)
def _prune(near, found, box, apart, kept):  # type: ignore[no-untyped-def]
    """Keep only the candidates that may be nearest somewhere in the box; returns how many.

    The difference of two of these distances is linear, so its least over the box is that in the middle less the
    slopes times half the sides. The list `kept` is padded to a multiple of 3.
    """
    last = near.shape[0] - 1
    for k in range(_PADDED):
        apart[0, k] = near[last, k]
    for item in range(last):
        for k in range(_PADDED):
            apart[0, k] += near[item, k] * box[0, item]
    best = 0
    for k in range(1, found):
        best = k if apart[0, k] < apart[0, best] else best
    for k in range(_PADDED):
        apart[1, k] = apart[0, best]
    for item in range(last):
        slope, half = near[item, best], box[1, item]
        for k in range(_PADDED):
            apart[1, k] += abs(near[item, k] - slope) * half
    count = 0
    for k in range(found):
        kept[count] = k
        count += apart[0, k] <= apart[1, k]
    kept[count] = kept[count + 1] = kept[count - 1]
    return count


@njit(cache=True, nogil=True, fastmath={"contract"})
def _assign_in_plane(values, places, kind, size, near, kept, found, best, nearest):  # type: ignore[no-untyped-def]
    """Write the nearest candidate of each pixel to `nearest`; one channel, in a plane, candidates three at a time.

    `kept` holds the `found` candidates and two more, repetitions of the last one.
    """
    line, ys, xs = values[0], places[kind, 1], places[kind, 2]
    for p in range(size):
        best[p] = np.inf
    for k in range(0, found, 3):
        k0, k1, k2 = kept[k], kept[k + 1], kept[k + 2]
        y0, x0, v0, c0 = near[1, k0], near[2, k0], near[3, k0], near[4, k0]
        y1, x1, v1, c1 = near[1, k1], near[2, k1], near[3, k1], near[4, k1]
        y2, x2, v2, c2 = near[1, k2], near[2, k2], near[3, k2], near[4, k2]
        for p in range(size):
            value, y, x = line[p], ys[p], xs[p]
            distance, which = best[p], nearest[p]
            d0 = c0 + y * y0 + x * x0 + value * v0
            which = k0 if d0 < distance else which
            distance = d0 if d0 < distance else distance
            d1 = c1 + y * y1 + x * x1 + value * v1
            which = k1 if d1 < distance else which
            distance = d1 if d1 < distance else distance
            d2 = c2 + y * y2 + x * x2 + value * v2
            which = k2 if d2 < distance else which
            distance = d2 if d2 < distance else distance
            best[p], nearest[p] = distance, which


@njit(cache=True, nogil=True, fastmath={"contract"})
def _assign_in_space(values, places, size, near, kept, found, best, nearest):  # type: ignore[no-untyped-def]
    """Write the nearest candidate of each pixel to `nearest`, candidate by candidate."""
    zs, ys, xs = places[0], places[1], places[2]
    best[:size] = np.inf
    apart = np.empty(size, dtype=np.float32)
    for index in range(found):
        k = kept[index]
        z, y, x, constant = near[0, k], near[1, k], near[2, k], near[near.shape[0] - 1, k]
        for p in range(size):
            apart[p] = constant + z * zs[p] + y * ys[p] + x * xs[p]
        for channel in range(values.shape[0]):
            line, value = values[channel], near[3 + channel, k]
            for p in range(size):
                apart[p] += line[p] * value
        _keep_nearer(apart, k, size, best, nearest)


@njit(cache=True, nogil=True)
def _keep_nearer(apart, k, size, best, nearest):  # type: ignore[no-untyped-def]
    """Assign the pixels to candidate `k` that are nearer to it than to the best one before."""
    for p in range(size):
        distance, which = best[p], nearest[p]
        nearest[p] = k if apart[p] < distance else which
        best[p] = apart[p] if apart[p] < distance else distance


@njit(cache=True, nogil=True)
def _book(tiles, place, size, nearest, offsets, kind, booked):  # type: ignore[no-untyped-def]
    """Add the pixels up by their nearest candidates, as drawn above."""
    for p in range(size):
        target, side = nearest[p], p & 1
        here = 1 + (np.int64(offsets[kind, 0, p]) << 11) + (np.int64(offsets[kind, 1, p]) << 28)
        booked[side, 0, target] += here + (np.int64(offsets[kind, 2, p]) << 45)
    for channel in range(tiles.shape[0]):
        for p in range(size):
            booked[p & 1, 1 + channel, nearest[p]] += np.int64(tiles[channel, place + p])


@njit(cache=True, nogil=True)
def _flush(booked, kept, found, corner, ids, lowest, sums):  # type: ignore[no-untyped-def]
    """Move the sums of the candidates to their clusters, and leave zeros.

    Args:
        booked: (2, 1 + C, candidates) int64, packed as drawn above.
        kept: Candidates, of which the first `found` count.
        found: Their number.
        corner: (3,) place of the box, to which the packed places are relative.
        ids: (candidates,) their clusters.
        lowest: First cluster of `sums`.
        sums: (clusters, 4 + C): pixels, three places, channels; added to.
    """
    for index in range(found):
        k = kept[index]
        packed = booked[0, 0, k] + booked[1, 0, k]
        if packed == 0:
            continue
        target, count = ids[k] - lowest, packed & 0x7FF
        sums[target, 0] += count
        sums[target, 1] += count * corner[0] + ((packed >> 11) & 0x1FFFF)
        sums[target, 2] += count * corner[1] + ((packed >> 28) & 0x1FFFF)
        sums[target, 3] += count * corner[2] + (packed >> 45)
        for channel in range(1, booked.shape[1]):
            sums[target, 3 + channel] += booked[0, channel, k] + booked[1, channel, k]
        for side in range(2):
            for item in range(booked.shape[1]):
                booked[side, item, k] = 0


@njit(cache=True, nogil=True)
def _write(labels, low, high, ids, nearest):  # type: ignore[no-untyped-def]
    """Write the clusters of the pixels of the box low..high to `labels` (D, H, W)."""
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
