"""SLIC's k-means (Achanta et al., TPAMI 34, 2012) on a grid: each pixel knows only the cells around its own.

The image is walked in blocks, each inside one cell of the grid, so that the candidate centres are constants of the
inner loops, which then run over contiguous pixels. Sums are whole numbers: the result does not depend on how the work
is split.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.superpixels.scaling import cell_edges
from bench.superpixels.threads import Workers, split

_FIELD = 16  # bits of one packed counter
_MASK = (1 << _FIELD) - 1
_PLANE, _SOLID = (1, 16, 64), (4, 8, 32)  # longest sides of a block; pixels * (side - 1) must stay below 2**_FIELD


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
    image: NDArray[np.uint16], cells: tuple[int, ...], weight: float, iterations: int, workers: Workers
) -> NDArray[np.int32]:
    """Assign each pixel of `image` (C, D, H, W) to a cluster: (D, H, W) int32 in 0..prod(cells)-1, not yet connected.

    The distance is the squared difference of intensities plus `weight` times the squared distance in pixels; ties go to
    the first cell in raster order. As in scikit-image the first iteration takes the cells themselves.
    """
    longest = _PLANE if image.shape[1] == 1 else _SOLID
    axes = [cut(length, count, side) for length, count, side in zip(image.shape[1:], cells, longest, strict=True)]
    layout = tuple((axis.edges, axis.cell) for axis in axes)
    bands = split(axes[0].cell.size * axes[1].cell.size, 4 * workers.threads)
    labels = np.empty(image.shape[1:], dtype=np.int32)
    nothing = np.empty((0, 0, 0), dtype=np.int32)
    centres = np.zeros((int(np.prod(cells)), 3 + image.shape[0]), dtype=np.float64)
    scale = float(np.sqrt(weight))
    for iteration in range(iterations - 1):
        seeding = iteration == 0

        def sums(start: int, stop: int, seeding: bool = seeding) -> tuple[int, NDArray[np.int64]]:
            return tuple(_walk(image, layout, cells, centres, scale, seeding, start, stop, nothing))

        if not _move(centres, workers.run(sums, bands)):
            break

    def final(start: int, stop: int) -> None:
        _walk(image, layout, cells, centres, scale, iterations == 1, start, stop, labels)

    workers.run(final, bands)
    return labels


def _move(centres: NDArray[np.float64], parts: list[tuple[int, NDArray[np.int64]]]) -> bool:
    """Put every centre in the middle of its pixels; False if none moved. A cluster without pixels stays in place."""
    total = np.zeros((centres.shape[0], centres.shape[1] + 1), dtype=np.int64)
    for first, part in parts:
        total[first : first + part.shape[0]] += part
    found = total[:, 0] > 0
    means = np.where(found[:, None], total[:, 1:] / np.maximum(total[:, :1], 1), centres)
    moved = not np.array_equal(means, centres)
    centres[:] = means
    return moved


@njit(cache=True, nogil=True)
def _walk(image, layout, cells, centres, scale, seeding, start, stop, labels):  # type: ignore[no-untyped-def]
    """Assign the pixels of block rows `start` to `stop`.

    Writes `labels` unless it is empty, or else returns the sums of count, z, y, x and intensities over the pixels
    of each cluster, and the cluster that their first row stands for.
    """
    (edges_z, cell_z), (edges_y, cell_y), (edges_x, cell_x) = layout
    channels = image.shape[0]
    rows = cell_y.size
    writing = labels.size > 0
    lowest, highest = _touched(cells, cell_z, cell_y, start, stop - 1)
    sums = np.zeros((0 if writing else highest - lowest, 4 + channels), dtype=np.int64)
    room = _MASK + 1 >> 4
    values = np.empty((channels, room), dtype=np.float32)
    fz, fy, fx = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    packed = np.empty(room, dtype=np.int64)
    best, slot = np.empty(room, np.float32), np.empty(room, np.int32)
    apart = np.empty((3, room), dtype=np.float32)
    ids = np.empty(27, dtype=np.int64)
    near = np.empty((27, 3 + channels), dtype=np.float32)
    counts = np.empty((2, 27), dtype=np.int64)
    totals = np.empty((channels, 27), dtype=np.int64)
    shape = (0, 0, 0)
    for row in range(start, stop):
        bz, by = row // rows, row % rows
        z0, z1, y0, y1 = edges_z[bz], edges_z[bz + 1], edges_y[by], edges_y[by + 1]
        for bx in range(cell_x.size):
            x0, x1 = edges_x[bx], edges_x[bx + 1]
            here = (z1 - z0, y1 - y0, x1 - x0)
            if here != shape:
                shape = here
                _offsets(shape, np.float32(scale), fz, fy, fx, packed)
            size = shape[0] * shape[1] * shape[2]
            own = (cell_z[bz], cell_y[by], cell_x[bx])
            if seeding:
                ids[0] = (own[0] * cells[1] + own[1]) * cells[2] + own[2]
                found = 1
                slot[:size] = 0
            _gather(image, z0, y0, x0, shape, values)
            if not seeding:
                found = _candidates(cells, own, centres, scale, z0, y0, x0, ids, near)
                if channels == 1:
                    _nearest_grey(values[0], fz, fy, fx, size, near, found, best, slot)
                else:
                    _nearest(values, fz, fy, fx, size, near, found, apart, best, slot)
            if writing:
                _write(labels, z0, y0, x0, shape, ids, slot)
            else:
                _tally(values, packed, slot, size, found, counts, totals)
                for k in range(found):
                    _add(sums[ids[k] - lowest], counts[0, k] + counts[1, k], z0, y0, x0, totals, k)
    return lowest, sums


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
def _offsets(shape, scale, fz, fy, fx, packed):  # type: ignore[no-untyped-def]
    """Scaled place of each pixel in its block, and (1, z, y, x) packed into one number whose sums are exact."""
    pixel = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                fz[pixel], fy[pixel], fx[pixel] = z * scale, y * scale, x * scale
                packed[pixel] = 1 | z << _FIELD | y << 2 * _FIELD | x << 3 * _FIELD
                pixel += 1


@njit(cache=True, nogil=True)
def _gather(image, z0, y0, x0, shape, values):  # type: ignore[no-untyped-def]
    for channel in range(image.shape[0]):
        target, pixel = values[channel], 0
        for z in range(shape[0]):
            for y in range(shape[1]):
                line = image[channel, z0 + z, y0 + y, x0 : x0 + shape[2]]
                for x in range(shape[2]):
                    target[pixel + x] = line[x]
                pixel += shape[2]


@njit(cache=True, nogil=True)
def _candidates(cells, own, centres, scale, z0, y0, x0, ids, near):  # type: ignore[no-untyped-def]
    """Clusters of the cell and its neighbours in raster order, a multiple of 3, and their centres seen from it."""
    found = 0
    for z in range(max(own[0] - 1, 0), min(own[0] + 2, cells[0])):
        for y in range(max(own[1] - 1, 0), min(own[1] + 2, cells[1])):
            for x in range(max(own[2] - 1, 0), min(own[2] + 2, cells[2])):
                ids[found] = (z * cells[1] + y) * cells[2] + x
                found += 1
    while found % 3:
        ids[found] = ids[found - 1]
        found += 1
    for k in range(found):
        centre = centres[ids[k]]
        near[k, 0] = (centre[0] - z0) * scale
        near[k, 1] = (centre[1] - y0) * scale
        near[k, 2] = (centre[2] - x0) * scale
        for channel in range(3, centres.shape[1]):
            near[k, channel] = centre[channel]
    return found


@njit(cache=True, nogil=True)
def _nearest_grey(values, fz, fy, fx, size, near, found, best, slot):  # type: ignore[no-untyped-def]
    best[:size] = np.inf
    for k in range(0, found, 3):
        k0, k1, k2 = np.int32(k), np.int32(k + 1), np.int32(k + 2)
        z0, y0, x0, v0 = near[k0, 0], near[k0, 1], near[k0, 2], near[k0, 3]
        z1, y1, x1, v1 = near[k1, 0], near[k1, 1], near[k1, 2], near[k1, 3]
        z2, y2, x2, v2 = near[k2, 0], near[k2, 1], near[k2, 2], near[k2, 3]
        for p in range(size):
            value, z, y, x = values[p], fz[p], fy[p], fx[p]
            distance, nearest = best[p], slot[p]
            d0 = (value - v0) * (value - v0) + (z - z0) * (z - z0) + (y - y0) * (y - y0) + (x - x0) * (x - x0)
            nearest = k0 if d0 < distance else nearest
            distance = d0 if d0 < distance else distance
            d1 = (value - v1) * (value - v1) + (z - z1) * (z - z1) + (y - y1) * (y - y1) + (x - x1) * (x - x1)
            nearest = k1 if d1 < distance else nearest
            distance = d1 if d1 < distance else distance
            d2 = (value - v2) * (value - v2) + (z - z2) * (z - z2) + (y - y2) * (y - y2) + (x - x2) * (x - x2)
            nearest = k2 if d2 < distance else nearest
            distance = d2 if d2 < distance else distance
            best[p], slot[p] = distance, nearest


@njit(cache=True, nogil=True)
def _nearest(values, fz, fy, fx, size, near, found, apart, best, slot):  # type: ignore[no-untyped-def]
    best[:size] = np.inf
    for k in range(found):
        d = apart[0]
        for p in range(size):
            z, y, x = fz[p] - near[k, 0], fy[p] - near[k, 1], fx[p] - near[k, 2]
            d[p] = z * z + y * y + x * x
        for channel in range(values.shape[0]):
            line, centre = values[channel], near[k, 3 + channel]
            for p in range(size):
                d[p] += (line[p] - centre) * (line[p] - centre)
        _keep_nearer(d, np.int32(k), size, best, slot)


@njit(cache=True, nogil=True)
def _keep_nearer(d, k, size, best, slot):  # type: ignore[no-untyped-def]
    for p in range(size):
        distance, nearest = best[p], slot[p]
        slot[p] = k if d[p] < distance else nearest
        best[p] = d[p] if d[p] < distance else distance


@njit(cache=True, nogil=True)
def _tally(values, packed, slot, size, found, counts, totals):  # type: ignore[no-untyped-def]
    counts[:, :found] = 0
    totals[:, :found] = 0
    even, odd = counts[0], counts[1]
    pairs = size // 2
    for pair in range(pairs):
        even[slot[2 * pair]] += packed[2 * pair]
        odd[slot[2 * pair + 1]] += packed[2 * pair + 1]
    if size % 2:
        even[slot[size - 1]] += packed[size - 1]
    for channel in range(values.shape[0]):
        line, total = values[channel], totals[channel]
        for p in range(size):
            total[slot[p]] += np.int64(line[p])


@njit(cache=True, nogil=True)
def _add(target, count, z0, y0, x0, totals, k):  # type: ignore[no-untyped-def]
    pixels = count & _MASK
    target[0] += pixels
    target[1] += pixels * z0 + (count >> _FIELD & _MASK)
    target[2] += pixels * y0 + (count >> 2 * _FIELD & _MASK)
    target[3] += pixels * x0 + (count >> 3 * _FIELD & _MASK)
    for channel in range(totals.shape[0]):
        target[4 + channel] += totals[channel, k]


@njit(cache=True, nogil=True)
def _write(labels, z0, y0, x0, shape, ids, slot):  # type: ignore[no-untyped-def]
    pixel = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            line = labels[z0 + z, y0 + y, x0 : x0 + shape[2]]
            for x in range(shape[2]):
                line[x] = ids[slot[pixel + x]]
            pixel += shape[2]
