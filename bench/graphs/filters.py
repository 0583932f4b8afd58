"""Filter responses of a picture line by line, added up in the segments at once: memory of some lines of a block.

A kernel walks down a block with rings of the latest lines; row r of the picture lies in a ring at (r - top) % size:

    columns        s0    g0         c0            c1         g1    s1
                    |     |<-reach-->|<- block's ->|<-reach-->|     |
    smooth          |<-1->|          |   columns   |          |<-1->|    values smoothed, size lines of s0..s1
    gradients             |<---------------------------------->|         ring[0] down, ring[1] right, size lines
    products              |<---------------------------------->|         ring[2..4] of the gradients, size lines
    tensor, responses                |<----------->|                     products smoothed and six responses, one line

A response at row r needs the smoothed products there, so the gradients of the rows r - reach..r + reach, so the smooth
values of one row more on either side: size = 2 reach + 2 lines. At the border of the picture the ends are cut off.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.lanes import LANES
from bench.arrays.threads import Workers, list_singles
from bench.graphs.sums import gather_line
from bench.superpixels.runs import SegmentBlock, Slab
from bench.superpixels.smoothing import sample_gaussian

RESPONSES = 6
TRUNCATE = 3.0  # standard deviations at which the Gaussians end

Sums = tuple[NDArray[np.float64], NDArray[np.float64]]


class Level(NamedTuple):
    """One channel of a slab at one scale; a record for kernels.

    Attributes:
        values: (rows, H, W) float32, each pixel the mean of `stride` pixels of the image along every axis.
        top: Row of the whole image at this scale with which `values` begin.
        height: Rows of the whole image at this scale.
        stride: Pixels of the image per pixel of the level, a power of two.
        sigma: Standard deviation of the Gaussians in pixels of the level.
        offset: Intensity that counts as zero.
        with_squares: Whether squares of the responses are added up as well.
        spacing: Length of a pixel along each axis, which the filters of volumes take account of.
    """

    values: NDArray[np.float32]
    top: int
    height: int
    stride: int
    sigma: float
    offset: np.float32
    with_squares: bool
    spacing: tuple[float, ...]


class Ring(NamedTuple):
    """Some lines of a picture of `height` rows: row r lies in `lines` (lines, columns) at (r - top) % size."""

    lines: NDArray[np.float32]
    top: int
    size: int
    height: int


class Columns(NamedTuple):
    """Where smooth values, gradients and responses of a block begin and end, in columns of a level as drawn above."""

    s0: int
    g0: int
    c0: int
    c1: int
    g1: int
    s1: int
    width: int  # columns of the level


def sum_plane_responses(
    level: Level, slab: Slab, parts: Sequence[SegmentBlock], views: int, workers: Workers
) -> list[Sums]:
    """Add up the six filter responses of a picture in the segments of each block.

    Args:
        level: The channel and scale that are filtered.
        slab: The rows from which the level was made.
        parts: The blocks of the slab, each with the runs of all segmentations (`bench.superpixels.runs.stack_blocks`).
        views: Number of segmentations.
        workers: Threads that share the blocks.

    Returns:
        Of each block the sums (its segments, 6) over its pixels of smoothed intensity, gradient magnitude, larger and
        smaller eigenvalue of the Hessian and square roots of those of the structure tensor; and of their squares.
    """
    del slab
    kernel = sample_gaussian(level.sigma, TRUNCATE)

    def add(index: int, _: int) -> Sums:
        sums, squares = _add_block(parts[index], level, kernel, views)
        return sums[:, :RESPONSES], squares[:, :RESPONSES]

    return workers.run(add, list_singles(len(parts)))


@njit(cache=True, nogil=True)
def _add_block(block, level, kernel, views):  # type: ignore[no-untyped-def]
    """Walk down a block with the rings drawn above and add the responses up line by line, in each segmentation."""
    reach, width, height, stride = kernel.size - 1, level.values.shape[2], level.height, level.stride
    lines = level.values.reshape(-1, width)
    picture = Ring(lines, level.top, lines.shape[0], height)
    c0, c1 = block.left // stride, min(-(-block.right // stride), width)  # columns and rows of the level
    r0, r1 = block.first // stride, min(-(-block.stop // stride), height)
    g0, g1 = max(c0 - reach, 0), min(c1 + reach, width)
    columns = Columns(max(g0 - 1, 0), g0, c0, c1, g1, min(g1 + 1, width), width)
    size = 2 * reach + 2
    smooth = np.empty((size, columns.s1 - columns.s0), dtype=np.float32)
    ring = np.empty((5, size, g1 - g0), dtype=np.float32)
    buffer = np.empty(columns.s1 - columns.s0 + 2 * reach, dtype=np.float32)
    tensor = np.empty((3, c1 - c0), dtype=np.float32)
    responses = np.empty((RESPONSES, c1 - c0), dtype=np.float32)
    packed = np.zeros((c1 - c0, LANES), dtype=np.float32)
    sums = np.zeros((block.runs.ids.size, LANES), dtype=np.float64)
    squared = np.zeros((block.runs.ids.size if level.with_squares else 0, LANES), dtype=np.float64)
    nothing, sigma = np.float32(0), np.float32(level.sigma)
    lines_of_view = (block.runs.first.size - 1) // views
    done = max(r0 - reach - 1, 0)
    target = r0
    for y in range(max(r0 - reach, 0), min(r1 + reach, height)):
        while done <= min(y + 1, height - 1):
            _smooth_line(picture, done, columns.s0, columns.s1, kernel, level.offset, buffer, smooth[done % size])
            done += 1
        _find_gradients(smooth, y, height, columns, sigma, ring)
        while target < r1 and min(target + reach, height - 1) <= y:
            for part in range(3):
                products = Ring(ring[2 + part], 0, size, height)
                _smooth_line(products, target, c0 - g0, c1 - g0, kernel, nothing, buffer, tensor[part])
            _find_responses(smooth, ring, tensor, target, height, columns, sigma, responses)
            _pack_line(responses, packed)
            for row in range(max(target * stride, block.first), min((target + 1) * stride, block.stop)):
                for view in range(views):
                    line = view * lines_of_view + row - block.first
                    gather_line(block, line, packed, c0, stride, sums, squared, level.with_squares)
            target += 1
    return sums, squared


@njit(cache=True, nogil=True)
def _pack_line(responses, packed):  # type: ignore[no-untyped-def]
    """Write responses (R, columns) side by side into the first R of eight lanes, (columns, 8)."""
    for x in range(packed.shape[0]):
        row = packed[x]
        for part in range(RESPONSES):
            row[part] = responses[part, x]


@njit(cache=True, nogil=True)
def _smooth_line(ring, row, left, right, kernel, offset, buffer, out):  # type: ignore[no-untyped-def]
    """Write columns left..right of a row of the Gaussian of a picture.

    Args:
        ring: The last lines of the picture, each at its number modulo the size of the ring.
        row: Which row.
        left: First column.
        right: Column after the last one.
        kernel: (radius + 1,) weights, the centre first.
        offset: Subtracted from the result.
        buffer: (right - left + 2 radius,) room for sums along the other axis.
        out: (right - left,).
    """
    reach, lines, height = kernel.size - 1, ring.lines, ring.height
    low, high = max(left - reach, 0), min(right + reach, lines.shape[1])
    count, shift = high - low, low - (left - reach)
    total = buffer[shift : shift + count]
    centre = lines[(row - ring.top) % ring.size, low:high]
    for x in range(count):
        total[x] = kernel[0] * centre[x] - offset
    for k in range(1, reach + 1):
        weight = kernel[k]
        above = lines[(max(row - k, 0) - ring.top) % ring.size, low:high]
        below = lines[(min(row + k, height - 1) - ring.top) % ring.size, low:high]
        for x in range(count):
            total[x] += weight * (above[x] + below[x])
    for x in range(shift):
        buffer[x] = total[0]
    for x in range(shift + count, right - left + 2 * reach):
        buffer[x] = total[count - 1]
    count = right - left
    for x in range(count):
        out[x] = kernel[0] * buffer[reach + x]
    for k in range(1, reach + 1):
        weight = kernel[k]
        before, after = buffer[reach - k : reach - k + count], buffer[reach + k : reach + k + count]
        for x in range(count):
            out[x] += weight * (before[x] + after[x])


@njit(cache=True, nogil=True)
def _find_gradients(smooth, y, height, columns, sigma, ring):  # type: ignore[no-untyped-def]
    """Write the gradient of line y, times sigma, and its products into the ring; columns g0..g1."""
    size, s0, g0, g1 = smooth.shape[0], columns.s0, columns.g0, columns.g1
    above, below = smooth[max(y - 1, 0) % size], smooth[min(y + 1, height - 1) % size]
    here = smooth[y % size]
    down, along = ring[0, y % size], ring[1, y % size]
    half = np.float32(0.5) * sigma
    for x in range(g1 - g0):
        down[x] = half * (below[x + g0 - s0] - above[x + g0 - s0])
    _differentiate(here, s0, g0, g1, columns.width, half, along)
    one, two, three = ring[2, y % size], ring[3, y % size], ring[4, y % size]
    for x in range(g1 - g0):
        one[x], two[x], three[x] = down[x] * down[x], down[x] * along[x], along[x] * along[x]


@njit(cache=True, nogil=True)
def _differentiate(line, origin, low, high, width, half, out):  # type: ignore[no-untyped-def]
    """Write `half` the step from the column before to that after, of the columns low..high of a picture's line.

    `line` begins with the column `origin` of `width`; at the ends of the picture the end itself is the column beyond.
    """
    base = low - origin
    count = high - low
    first, last = (1 if low == 0 else 0), (count - 1 if high == width else count)
    for x in range(first, last):
        out[x] = half * (line[base + x + 1] - line[base + x - 1])
    if low == 0:
        out[0] = half * (line[base + min(1, width - 1)] - line[base])
    if high == width and (count > 1 or low > 0):
        out[count - 1] = half * (line[base + count - 1] - line[base + count - 2])


@njit(cache=True, nogil=True)
def _find_responses(smooth, ring, tensor, y, height, columns, sigma, responses):  # type: ignore[no-untyped-def]
    """Write the six responses of line y: value, gradient, two eigenvalues of the Hessian, two of the structure tensor.

    Args:
        smooth: (lines, columns from s0 on) ring of smoothed lines.
        ring: (5, lines, columns from g0 on) ring of gradients, down and along, and of their three products.
        tensor: (3, columns from c0 on) the smoothed products of line y.
        y: Which line.
        height: Lines of the picture.
        columns: First columns s0, g0, c0 and last ones of the three, and the width of the picture.
        sigma: Scale, by which derivatives are multiplied.
        responses: (6, c1 - c0).
    """
    s0, g0, c0, c1, width = columns.s0, columns.g0, columns.c0, columns.c1, columns.width
    size, count = smooth.shape[0], c1 - c0
    value, down, along = smooth[y % size, c0 - s0 :], ring[0, y % size], ring[1, y % size]
    above, below = ring[0, max(y - 1, 0) % size, c0 - g0 :], ring[0, min(y + 1, height - 1) % size, c0 - g0 :]
    half = np.float32(0.5) * sigma
    two = responses[4]  # lines that are free as yet
    three = responses[5]
    _differentiate(down, g0, c0, c1, width, half, two)
    _differentiate(along, g0, c0, c1, width, half, three)
    here, there = down[c0 - g0 :], along[c0 - g0 :]
    for x in range(count):
        responses[0, x] = value[x]
    for x in range(count):
        responses[1, x] = np.sqrt(here[x] * here[x] + there[x] * there[x])
    for x in range(count):
        one = half * (below[x] - above[x])
        centre, step = (one + three[x]) * np.float32(0.5), (one - three[x]) * np.float32(0.5)
        radius = np.sqrt(step * step + two[x] * two[x])
        responses[2, x], responses[3, x] = centre + radius, centre - radius
    for x in range(count):
        one, other = tensor[0, x], tensor[2, x]
        centre, step = (one + other) * np.float32(0.5), (one - other) * np.float32(0.5)
        radius = np.sqrt(step * step + tensor[1, x] * tensor[1, x])
        responses[4, x] = np.sqrt(max(centre + radius, np.float32(0)))
        responses[5, x] = np.sqrt(max(centre - radius, np.float32(0)))
