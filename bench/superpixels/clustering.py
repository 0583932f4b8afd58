"""SLIC's k-means (Achanta et al., TPAMI 34, 2012) on a grid: each pixel knows only the cells around its own.

The image is walked in blocks, each inside one cell of the grid, so that the candidate centres are constants of the
inner loops, which then run over contiguous pixels. Sums are whole numbers: the result does not depend on how the work
is split.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.superpixels.scaling import cell_edges
from bench.superpixels.storage import Storage
from bench.superpixels.threads import Band, Workers, split

_LANES = 32  # blocks are computed in multiples of so many pixels, so that the inner loops have no remainder
_PLANE, _SOLID = (1, 16, 64), (4, 8, 32)  # longest sides of a block
_ROOM = 1024 + _LANES  # pixels of the largest block
_MOST = 27  # cells around a pixel
_STRIDE = 16  # pixels whose changes are looked for at once


Part = tuple[int, NDArray[np.int64]]  # the first cluster concerned, and changes of count, z, y, x and values from it on


@dataclass(frozen=True)
class Blocks:
    """Cells of one axis cut into blocks: first pixel of each block and the end (B + 1,), and the cell of each (B,)."""

    edges: NDArray[np.int64]
    cell: NDArray[np.int64]


def cut(length: int, cells: int, longest: int) -> Blocks:
    """Every cell of an axis in equal blocks of at most `longest` pixels."""
    starts, owners = [], []
    edges = cell_edges(length, cells)
    for cell in range(cells):
        side = int(edges[cell + 1] - edges[cell])
        pieces = -(-side // longest)
        starts += [int(edges[cell]) + piece * side // pieces for piece in range(pieces)]
        owners += [cell] * pieces
    return Blocks(np.array([*starts, length], dtype=np.int64), np.array(owners, dtype=np.int64))


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
    the first cell in raster order. As in scikit-image the first iteration takes the cells themselves. About `band`
    pixels are in hand at a time, the sums of the clusters all the while.
    """
    longest = _PLANE if image.shape[1] == 1 else _SOLID
    axes = [cut(length, count, side) for length, count, side in zip(image.shape[1:], cells, longest, strict=True)]
    layout = tuple((axis.edges, axis.cell) for axis in axes)
    bands = _bands(axes, band, 4 * workers.threads)
    tiles = storage.empty((image.shape[0], image[0].size), np.uint16)  # block by block, as `slots`
    slots = storage.empty((image[0].size,), np.int8)  # which of the neighbouring cells' clusters
    centres = np.zeros((int(np.prod(cells)), 3 + image.shape[0]), dtype=np.float64)
    moved = np.ones(centres.shape[0], dtype=np.bool_)
    total = np.zeros((centres.shape[0], 4 + image.shape[0]), dtype=np.int64)
    scale = float(np.sqrt(weight))

    def seed(start: int, stop: int) -> Part:
        return tuple(_seed(image, tiles, slots, layout, cells, start, stop))

    def shift(start: int, stop: int) -> Part:
        return tuple(_shift(tiles, slots, layout, cells, centres, moved, scale, start, stop))

    for iteration in range(iterations):
        for inner in bands:
            for first, part in workers.run(shift if iteration else seed, inner):
                total[first : first + part.shape[0]] += part
            storage.release()
        if not _move(centres, moved, total):
            break
    labels = storage.empty(image.shape[1:], np.int32)
    for inner in bands:
        workers.run(lambda start, stop: _label(labels, slots, layout, cells, start, stop), inner)
        storage.release()
    storage.drop(tiles, slots)
    return labels


def _bands(axes: list[Blocks], pixels: int, pieces: int) -> list[list[Band]]:
    """Rows of blocks in bands of about `pixels`, each cut into `pieces`."""
    sides = [np.diff(axis.edges) for axis in axes]
    ends = np.cumsum(np.outer(sides[0], sides[1]).reshape(-1) * int(axes[2].edges[-1]))
    cuts = np.searchsorted(ends, np.arange(pixels, ends[-1], pixels)).tolist()
    firsts = sorted({0, *cuts, ends.size})
    return [split(stop, pieces, start) for start, stop in pairwise(firsts)]


@njit(cache=True, nogil=True)
def _move(centres, moved, total):  # type: ignore[no-untyped-def]
    """Put every centre in the middle of its pixels and mark those that moved; False if none did.

    A cluster without pixels stays in place.
    """
    any_moved = False
    for k in range(centres.shape[0]):
        moved[k] = False
        if total[k, 0]:
            for item in range(centres.shape[1]):
                mean = total[k, 1 + item] / total[k, 0]
                moved[k] |= mean != centres[k, item]
                centres[k, item] = mean
        any_moved |= moved[k]
    return any_moved


@njit(cache=True, nogil=True)
def _touched(cells, cell_z, cell_y, start, last):  # type: ignore[no-untyped-def]
    """Interval of the clusters that the pixels of block rows `start` to `last` may belong to."""
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
def _seed(image, tiles, slots, layout, cells, start, stop):  # type: ignore[no-untyped-def]
    """Copy the image into `tiles`, give every pixel to its own cell; returns sums of count, z, y, x and values."""
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout
    rows, plane = cell_y.size, image.shape[2] * image.shape[3]
    lowest, highest = _touched(cells, cell_z, cell_y, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + image.shape[0]), dtype=np.int64)
    ids = np.empty(_MOST, dtype=np.int64)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, z1, y0, y1 = edges_z[bz], edges_z[bz + 1], edges_y[by], edges_y[by + 1]
        for bx in range(cell_x.size):
            x0, x1 = edges_x[bx], edges_x[bx + 1]
            own = _neighbours(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)[1]
            place = z0 * plane + (z1 - z0) * (y0 * image.shape[3] + (y1 - y0) * x0)
            slots[place : place + (z1 - z0) * (y1 - y0) * (x1 - x0)] = own
            _add_box(image, z0, z1, y0, y1, x0, x1, tiles, place, sums[ids[own] - lowest])
    return lowest, sums


@njit(cache=True, nogil=True)
def _add_box(image, z0, z1, y0, y1, x0, x1, tiles, place, target):  # type: ignore[no-untyped-def]
    pixels = (z1 - z0) * (y1 - y0) * (x1 - x0)
    target[0] += pixels
    target[1] += pixels * (z0 + z1 - 1) // 2
    target[2] += pixels * (y0 + y1 - 1) // 2
    target[3] += pixels * (x0 + x1 - 1) // 2
    for channel in range(image.shape[0]):
        total, pixel = np.int64(0), place
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    total += np.int64(image[channel, z, y, x])
                    tiles[channel, pixel] = image[channel, z, y, x]
                    pixel += 1
        target[4 + channel] += total


@njit(cache=True, nogil=True)
def _shift(tiles, slots, layout, cells, centres, moved, scale, start, stop):  # type: ignore[no-untyped-def]
    """Give the pixels of block rows `start` to `stop` to their nearest centres; returns what that changes in the sums.

    A block none of whose centres moved is left as it is.
    """
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout
    channels, rows, height, width = tiles.shape[0], cell_y.size, edges_y[-1], edges_x[-1]
    lowest, highest = _touched(cells, cell_z, cell_y, start, stop - 1)
    sums = np.zeros((highest - lowest, 4 + channels), dtype=np.int64)
    values, origin = np.zeros((channels, _ROOM), dtype=np.float32), np.empty(channels, dtype=np.float32)
    offsets, places = np.zeros((3, _ROOM), dtype=np.int64), np.zeros((3, _ROOM), dtype=np.float32)
    best, nearest = np.empty(_ROOM, dtype=np.float32), np.zeros(_ROOM, dtype=np.int32)
    ids, near = np.empty(_MOST, dtype=np.int64), np.empty((_MOST, 4 + channels), dtype=np.float32)
    shape = (0, 0, 0)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, y0 = edges_z[bz], edges_y[by]
        for bx in range(cell_x.size):
            x0 = edges_x[bx]
            found, own = _neighbours(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)
            if not _any_moved(moved, ids, found):
                continue
            here = (edges_z[bz + 1] - z0, edges_y[by + 1] - y0, edges_x[bx + 1] - x0)
            if here != shape:
                shape = here
                _offsets(shape, scale, offsets, places)
            size = shape[0] * shape[1] * shape[2]
            place = (z0 * height + shape[0] * y0) * width + shape[0] * shape[1] * x0
            _gather(tiles, place, size, centres[ids[own]], origin, values)
            _look(centres, scale, z0, y0, x0, origin, ids, found, near)
            padded = (size + _LANES - 1) // _LANES * _LANES
            if channels == 1 and edges_z[-1] == 1:
                _nearest_in_plane(values[0], places[1], places[2], padded, near, found, best, nearest)
            else:
                _nearest(values, places, padded, near, found, best, nearest)
            _exchange(tiles, place, slots[place : place + size], nearest, offsets, (z0, y0, x0), ids, lowest, sums)
    return lowest, sums


@njit(cache=True, nogil=True)
def _neighbours(cells, own, ids):  # type: ignore[no-untyped-def]
    """Clusters of a cell and its neighbours in raster order, padded to a multiple of 3; and which is its own."""
    found, mine = 0, 0
    for z in range(max(own[0] - 1, 0), min(own[0] + 2, cells[0])):
        for y in range(max(own[1] - 1, 0), min(own[1] + 2, cells[1])):
            for x in range(max(own[2] - 1, 0), min(own[2] + 2, cells[2])):
                if z == own[0] and y == own[1] and x == own[2]:
                    mine = found
                ids[found] = (z * cells[1] + y) * cells[2] + x
                found += 1
    while found % 3:
        ids[found] = ids[found - 1]
        found += 1
    return found, mine


@njit(cache=True, nogil=True)
def _any_moved(moved, ids, found):  # type: ignore[no-untyped-def]
    result = False
    for k in range(found):
        result |= moved[ids[k]]
    return result


@njit(cache=True, nogil=True)
def _offsets(shape, scale, offsets, places):  # type: ignore[no-untyped-def]
    """z, y, x of each pixel in its block, plain and scaled."""
    pixel = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                offsets[0, pixel], offsets[1, pixel], offsets[2, pixel] = z, y, x
                places[0, pixel], places[1, pixel], places[2, pixel] = z * scale, y * scale, x * scale
                pixel += 1


@njit(cache=True, nogil=True)
def _gather(tiles, place, size, centre, origin, values):  # type: ignore[no-untyped-def]
    """The block's intensities above those of its own centre, rounded: small numbers keep their digits."""
    for channel in range(tiles.shape[0]):
        middle = np.float32(np.rint(centre[3 + channel]))
        origin[channel] = middle
        line, target = tiles[channel, place : place + size], values[channel]
        for p in range(size):
            target[p] = np.float32(line[p]) - middle


@njit(cache=True, nogil=True)
def _look(centres, scale, z0, y0, x0, origin, ids, found, near):  # type: ignore[no-untyped-def]
    """|p - c|^2 - |p|^2 is linear in p: its coefficients for z, y, x and values, and last the constant."""
    last = near.shape[1] - 1
    for k in range(found):
        centre = ids[k]
        z, y, x = (
            (centres[centre, 0] - z0) * scale,
            (centres[centre, 1] - y0) * scale,
            (centres[centre, 2] - x0) * scale,
        )
        near[k, 0], near[k, 1], near[k, 2] = -2 * z, -2 * y, -2 * x
        constant = z * z + y * y + x * x
        for channel in range(origin.size):
            value = centres[centre, 3 + channel] - origin[channel]
            near[k, 3 + channel] = -2 * value
            constant += value * value
        near[k, last] = constant


@njit(cache=True, nogil=True, fastmath={"contract"})
def _nearest_in_plane(values, ys, xs, size, near, found, best, nearest):  # type: ignore[no-untyped-def]
    best[:size] = np.inf
    for k in range(0, found, 3):
        k0, k1, k2 = np.int32(k), np.int32(k + 1), np.int32(k + 2)
        y0, x0, v0, c0 = near[k, 1], near[k, 2], near[k, 3], near[k, 4]
        y1, x1, v1, c1 = near[k + 1, 1], near[k + 1, 2], near[k + 1, 3], near[k + 1, 4]
        y2, x2, v2, c2 = near[k + 2, 1], near[k + 2, 2], near[k + 2, 3], near[k + 2, 4]
        for p in range(size):
            value, y, x = values[p], ys[p], xs[p]
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
def _nearest(values, places, size, near, found, best, nearest):  # type: ignore[no-untyped-def]
    zs, ys, xs = places[0], places[1], places[2]
    best[:size] = np.inf
    apart = np.empty(size, dtype=np.float32)
    for k in range(found):
        z, y, x, constant = near[k, 0], near[k, 1], near[k, 2], near[k, near.shape[1] - 1]
        for p in range(size):
            apart[p] = constant + z * zs[p] + y * ys[p] + x * xs[p]
        for channel in range(values.shape[0]):
            line, value = values[channel], near[k, 3 + channel]
            for p in range(size):
                apart[p] += line[p] * value
        _keep_nearer(apart, np.int32(k), size, best, nearest)


@njit(cache=True, nogil=True)
def _keep_nearer(apart, k, size, best, nearest):  # type: ignore[no-untyped-def]
    for p in range(size):
        distance, which = best[p], nearest[p]
        nearest[p] = k if apart[p] < distance else which
        best[p] = apart[p] if apart[p] < distance else distance


@njit(cache=True, nogil=True)
def _exchange(tiles, place, slots, nearest, offsets, corner, ids, lowest, sums):  # type: ignore[no-untyped-def]
    """Book the pixels whose cluster changed; a run of pixels without change costs a few instructions."""
    for first in range(0, slots.size, _STRIDE):
        old, new = slots[first : first + _STRIDE], nearest[first : min(first + _STRIDE, slots.size)]
        if old.size == _STRIDE and _equal(old, new):
            continue
        for k in range(old.size):
            if old[k] != new[k]:
                loser, winner, p = ids[old[k]] - lowest, ids[new[k]] - lowest, first + k
                old[k] = new[k]
                sums[loser, 0] -= 1
                sums[winner, 0] += 1
                for axis in range(3):
                    coordinate = corner[axis] + offsets[axis, p]
                    sums[loser, 1 + axis] -= coordinate
                    sums[winner, 1 + axis] += coordinate
                for channel in range(tiles.shape[0]):
                    value = np.int64(tiles[channel, place + p])
                    sums[loser, 4 + channel] -= value
                    sums[winner, 4 + channel] += value


@njit(cache=True, nogil=True)
def _equal(slots, nearest):  # type: ignore[no-untyped-def]
    changes = np.int32(0)
    for k in range(_STRIDE):
        changes += np.int32(np.int32(slots[k]) != nearest[k])
    return changes == 0


@njit(cache=True, nogil=True)
def _label(labels, slots, layout, cells, start, stop):  # type: ignore[no-untyped-def]
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout
    rows, plane, width = cell_y.size, labels.shape[1] * labels.shape[2], labels.shape[2]
    ids = np.empty(_MOST, dtype=np.int64)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, z1, y0, y1 = edges_z[bz], edges_z[bz + 1], edges_y[by], edges_y[by + 1]
        for bx in range(cell_x.size):
            x0, x1 = edges_x[bx], edges_x[bx + 1]
            _neighbours(cells, (cell_z[bz], cell_y[by], cell_x[bx]), ids)
            place = z0 * plane + (z1 - z0) * (y0 * width + (y1 - y0) * x0)
            for z in range(z0, z1):
                for y in range(y0, y1):
                    line, mine = labels[z, y, x0:x1], slots[place : place + x1 - x0]
                    for x in range(line.size):
                        line[x] = ids[mine[x]]
                    place += x1 - x0
