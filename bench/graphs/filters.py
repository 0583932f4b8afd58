"""Filter responses of a picture line by line, added up in the segments at once: memory of some lines of a block."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, list_singles
from bench.graphs.sums import gather_line
from bench.superpixels.runs import SegmentBlock, Slab
from bench.superpixels.smoothing import sample_gaussian

TRUNCATE = 3.0  # standard deviations at which the Gaussians end


@dataclass(frozen=True)
class Level:
    """One channel of a window at one scale: `values` (rows, H, W) from row `top` of `height` on.

    Each of its pixels is `stride` pixels of the image along every axis; `sigma` is in its own pixels. Intensities count
    from `offset`. `squares`: whether their sums are wanted as well.
    """

    values: NDArray[np.float32]
    top: int
    height: int
    stride: int
    sigma: float
    offset: np.float32
    squares: bool


Sums = tuple[NDArray[np.float64], NDArray[np.float64]]


def plane_sums(level: Level, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> list[Sums]:
    """Of each block the sums (its segments, 6) over its pixels of the responses of a picture, and of their squares."""
    del slab
    lines = level.values.reshape(len(level.values), -1)
    kernel, sigma = sample_gaussian(level.sigma, TRUNCATE), np.float32(level.sigma)

    def add(index: int, _: int) -> Sums:
        block = parts[index]
        place = block.first, block.stop, block.left, block.right
        scale = level.top, level.height, level.stride, sigma, kernel, level.offset
        sums, squares = _respond(*block.runs, lines, *scale, *place, level.squares)
        return sums, squares

    return workers.run(add, list_singles(len(parts)))


@njit(cache=True, nogil=True)
def _respond(  # type: ignore[no-untyped-def]
    first, node, start, end, ids, level, top, height, stride, sigma, kernel, offset, row, stop, left, right, squares
):
    """Walks down the block with a ring of the last lines: smooth ones, gradients and their products."""
    reach, width = kernel.size - 1, level.shape[1]
    c0, c1 = left // stride, min(-(-right // stride), width)  # columns and rows of the level
    r0, r1 = row // stride, min(-(-stop // stride), height)
    g0, g1 = max(c0 - reach, 0), min(c1 + reach, width)  # columns with gradients, and with smooth values
    s0, s1 = max(g0 - 1, 0), min(g1 + 1, width)
    size = 2 * reach + 2
    smooth = np.empty((size, s1 - s0), dtype=np.float32)
    ring = np.empty((5, size, g1 - g0), dtype=np.float32)  # gradient down, right; products
    buffer = np.empty(s1 - s0 + 2 * reach, dtype=np.float32)
    responses = np.empty((6, c1 - c0), dtype=np.float32)
    tensor = np.empty((3, c1 - c0), dtype=np.float32)
    sums = np.zeros((ids.size, 6), dtype=np.float64)
    squared = np.zeros((ids.size, 6), dtype=np.float64)
    nothing = np.float32(0)
    done = max(r0 - reach - 1, 0)
    target = r0
    for y in range(max(r0 - reach, 0), min(r1 + reach, height)):
        while done <= min(y + 1, height - 1):
            _smoothed(level, top, level.shape[0], height, done, s0, s1, kernel, offset, buffer, smooth[done % size])
            done += 1
        _gradients(smooth, y, height, width, s0, g0, g1, sigma, ring)
        while target < r1 and min(target + reach, height - 1) <= y:
            for part in range(3):
                a, b = c0 - g0, c1 - g0
                _smoothed(ring[2 + part], 0, size, height, target, a, b, kernel, nothing, buffer, tensor[part])
            _measures(smooth, ring, tensor, target, height, width, s0, g0, c0, c1, sigma, responses)
            for line in range(max(target * stride, row), min((target + 1) * stride, stop)):
                gather_line(
                    first[line - row], first[line - row + 1], node, start, end, responses, c0, stride, right, sums,
                    squared, squares,
                )  # fmt: skip
            target += 1
    return sums, squared


@njit(cache=True, nogil=True)
def _smoothed(lines, top, size, height, row, left, right, kernel, offset, buffer, out):  # type: ignore[no-untyped-def]
    """A line of the Gaussian of a picture of `height` rows, of which row r is in `lines` at (r - top) modulo `size`."""
    reach = kernel.size - 1
    low, high = max(left - reach, 0), min(right + reach, lines.shape[1])
    count, shift = high - low, low - (left - reach)
    total = buffer[shift : shift + count]
    centre = lines[(row - top) % size, low:high]
    for x in range(count):
        total[x] = kernel[0] * centre[x] - offset
    for k in range(1, reach + 1):
        weight = kernel[k]
        above = lines[(max(row - k, 0) - top) % size, low:high]
        below = lines[(min(row + k, height - 1) - top) % size, low:high]
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
def _gradients(smooth, y, height, width, s0, g0, g1, sigma, ring):  # type: ignore[no-untyped-def]
    """Gradient of line y, times sigma, and its products, into the ring; columns g0..g1."""
    size = smooth.shape[0]
    above, below = smooth[max(y - 1, 0) % size], smooth[min(y + 1, height - 1) % size]
    here = smooth[y % size]
    down, along = ring[0, y % size], ring[1, y % size]
    half = np.float32(0.5) * sigma
    for x in range(g1 - g0):
        down[x] = half * (below[x + g0 - s0] - above[x + g0 - s0])
    _along(here, s0, g0, g1, width, half, along)
    one, two, three = ring[2, y % size], ring[3, y % size], ring[4, y % size]
    for x in range(g1 - g0):
        one[x], two[x], three[x] = down[x] * down[x], down[x] * along[x], along[x] * along[x]


@njit(cache=True, nogil=True)
def _along(line, origin, low, high, width, half, out):  # type: ignore[no-untyped-def]
    """Half the step from the column before to that after, for columns low..high of a line that begins at `origin`."""
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
def _measures(smooth, ring, tensor, y, height, width, s0, g0, c0, c1, sigma, responses):  # type: ignore[no-untyped-def]
    """The six responses of line y, columns c0..c1."""
    size, count = smooth.shape[0], c1 - c0
    value, down, along = smooth[y % size, c0 - s0 :], ring[0, y % size], ring[1, y % size]
    above, below = ring[0, max(y - 1, 0) % size, c0 - g0 :], ring[0, min(y + 1, height - 1) % size, c0 - g0 :]
    half = np.float32(0.5) * sigma
    two = responses[4]  # lines that are free as yet
    three = responses[5]
    _along(down, g0, c0, c1, width, half, two)
    _along(along, g0, c0, c1, width, half, three)
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
