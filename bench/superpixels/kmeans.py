"""The inner loops of `clustering`: the pixels of a block assigned to the nearest of the centres around it.

The pixels of a block have the same candidates, so the centres are constants of the innermost loops, which run over
contiguous pixels. The order of the pixels, `offsets` and `places` are drawn in `blocks`.

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

import numpy as np
from numba import njit

from bench.superpixels.blocks import (
    BLOCK_ROOM,
    MOST_CELLS,
    MOST_SHAPES,
    PIXEL_LANES,
    find_clusters,
    find_shape,
    list_cells_around,
    write_clusters,
)

_PADDED = 32  # the candidates of a block in whole vectors: a constant, so that loops over them have no remainder either


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
    lowest, highest = find_clusters(layout, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + channels), dtype=np.int64)
    values, origin = np.zeros((channels, BLOCK_ROOM), dtype=np.float32), np.empty(channels, dtype=np.float32)
    offsets, places = (
        np.empty((MOST_SHAPES, 3, BLOCK_ROOM), dtype=np.int32),
        np.empty((MOST_SHAPES, 3, BLOCK_ROOM), dtype=np.float32),
    )
    best, nearest = np.empty(BLOCK_ROOM, dtype=np.float32), np.zeros(BLOCK_ROOM, dtype=np.int32)
    ids, near = np.empty(MOST_CELLS, dtype=np.int64), np.zeros((4 + channels, _PADDED), dtype=np.float32)
    kept, shapes = np.empty(MOST_CELLS + 2, dtype=np.int32), np.zeros((MOST_SHAPES, 4), dtype=np.int64)
    box, distances = np.empty((2, 3 + channels), dtype=np.float32), np.empty((2, _PADDED), dtype=np.float32)
    booked = np.zeros((2, 1 + channels, _PADDED), dtype=np.int64)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, y0 = edges_z[bz], edges_y[by]
        for bx in range(cell_x.size):
            x0 = edges_x[bx]
            found, own = list_cells_around(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)
            shape = (edges_z[bz + 1] - z0, edges_y[by + 1] - y0, edges_x[bx + 1] - x0)
            kind = find_shape(shapes, shape, scale, offsets, places)
            size = shapes[kind, 3] if coarse else shape[0] * shape[1] * shape[2]
            place = (z0 * height + shape[0] * y0) * width + shape[0] * shape[1] * x0
            _expand(centres, scale, (z0, y0, x0), ids[own], origin, ids, found, near)
            _enclose(ranges, row * cell_x.size + bx, shape, scale, origin, box)
            found = _prune(near, found, box, distances, kept)
            padded = (size + PIXEL_LANES - 1) // PIXEL_LANES * PIXEL_LANES
            if found == 1:
                nearest[:size] = kept[0]
            else:
                _gather(tiles, place, size, origin, values)
                if channels == 1 and edges_z[-1] == 1:
                    _assign_in_plane(values, places, kind, padded, near, kept, found, best, nearest)
                else:
                    _assign_in_space(values, places[kind], padded, near, kept, found, best, nearest)
            if last:
                write_clusters(labels, (z0, y0, x0), (z0 + shape[0], y0 + shape[1], x0 + shape[2]), ids, nearest)
            else:
                _book(tiles, place, size, nearest, offsets, kind, booked)
                _flush(booked, kept, found, (z0, y0, x0), ids, lowest, sums)
    return lowest, sums


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
def _prune(near, found, box, distances, kept):  # type: ignore[no-untyped-def]
    """Keep only the candidates that may be nearest somewhere in the box; returns how many.

    The difference of two of these distances is linear, so its least over the box is that in the middle less the
    slopes times half the sides. The list `kept` is padded to a multiple of 3.
    """
    last = near.shape[0] - 1
    for k in range(_PADDED):
        distances[0, k] = near[last, k]
    for item in range(last):
        for k in range(_PADDED):
            distances[0, k] += near[item, k] * box[0, item]
    best = 0
    for k in range(1, found):
        best = k if distances[0, k] < distances[0, best] else best
    for k in range(_PADDED):
        distances[1, k] = distances[0, best]
    for item in range(last):
        slope, half = near[item, best], box[1, item]
        for k in range(_PADDED):
            distances[1, k] += abs(near[item, k] - slope) * half
    count = 0
    for k in range(found):
        kept[count] = k
        count += distances[0, k] <= distances[1, k]
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
    distances = np.empty(size, dtype=np.float32)
    for index in range(found):
        k = kept[index]
        z, y, x, constant = near[0, k], near[1, k], near[2, k], near[near.shape[0] - 1, k]
        for p in range(size):
            distances[p] = constant + z * zs[p] + y * ys[p] + x * xs[p]
        for channel in range(values.shape[0]):
            line, value = values[channel], near[3 + channel, k]
            for p in range(size):
                distances[p] += line[p] * value
        _keep_nearer(distances, k, size, best, nearest)


@njit(cache=True, nogil=True)
def _keep_nearer(distances, k, size, best, nearest):  # type: ignore[no-untyped-def]
    """Assign the pixels to candidate `k` that are nearer to it than to the best one before."""
    for p in range(size):
        distance, which = best[p], nearest[p]
        nearest[p] = k if distances[p] < distance else which
        best[p] = distances[p] if distances[p] < distance else distance


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
