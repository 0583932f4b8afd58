"""Filter responses of a volume, a slab at a time in strips of lines, added up in the segments.

A strip is filtered with what is around it, so that every response has the bits that it has when the whole volume is
filtered at once:

    own       rows and lines of the strip
    around    own and what the Gaussian of the structure tensor reaches: here gradients are needed
    wider     around and one pixel more: here smooth values are needed
    source    wider and what the first Gaussian reaches

The filters go along rows, lines and columns one after the other, and after each axis what is needed no longer is left
out. Columns are always whole.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.lanes import LANES
from bench.arrays.threads import Band, Workers, list_singles, split_range
from bench.graphs.filters import TRUNCATE, Level, Sums
from bench.graphs.sums import gather_line
from bench.superpixels.runs import SegmentBlock, Slab

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # the upper triangle of a matrix
RESPONSES = LANES
STRIP_VALUES = 1 << 20  # of a strip with what is around it, unless it has the fewest lines
FEWEST_LINES = 64  # of a strip: those around it are filtered anew for each
ALONE = Workers(1)  # for work within a strip, which has a thread of its own

Box = tuple[Band, Band]  # rows and lines


def sum_volume_responses(
    level: Level, slab: Slab, parts: Sequence[SegmentBlock], views: int, workers: Workers
) -> list[Sums]:
    """Add up the eight filter responses of a volume in the segments of each block.

    Args:
        level: The channel and scale that are filtered, with `measure_margin` rows around those of the slab.
        slab: The rows whose responses are added up.
        parts: The blocks of the slab, each with the runs of all segmentations (`bench.superpixels.runs.stack_blocks`).
        views: Number of segmentations.
        workers: Threads that share the work.

    Returns:
        Of each block the sums (its segments, 8) over its pixels of the responses of `filter_volume`, and of their
        squares.
    """
    first, last = slab.start // level.stride, (slab.stop - 1) // level.stride + 1
    rows = (first - level.top, last - level.top)
    responses = filter_volume(level.values, level.sigma, workers, level.spacing, rows)
    responses[..., 0] -= level.offset

    def add(index: int, _: int) -> Sums:
        place = (first, level.stride, level.with_squares)
        sums, squares = _add_block(parts[index], responses, place, slab.shape[1], views)
        return sums, squares

    return workers.run(add, list_singles(len(parts)))


def measure_margin(sigma: float) -> int:
    """Return how many pixels away from a response its filters reach along an axis, for Gaussians of `sigma` pixels."""
    radius = _measure_radius(sigma)
    return radius + max(radius, 1) + 1


def filter_volume(
    volume: NDArray[np.float32],
    sigma: float,
    workers: Workers,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    rows: Band | None = None,
) -> NDArray[np.float32]:
    """Filter the rows of a volume.

    Args:
        volume: (D, H, W) float32.
        sigma: Standard deviation of the Gaussians in units of `spacing`.
        workers: Threads that share the work.
        spacing: Length of a pixel along each axis.
        rows: First of the rows that are filtered, and the one after the last; None: all of them.

    Returns:
        (rows, H, W, 8): smoothed intensity, gradient magnitude, three eigenvalues of the Hessian and the square roots
        of three of the structure tensor, the largest first.
    """
    depth, height, width = volume.shape
    first, last = rows or (0, depth)
    sigmas = [sigma / length for length in spacing]
    out = np.empty((last - first, height, width, RESPONSES), np.float32)
    thickness = min(last - first + 2 * measure_margin(sigmas[0]), depth)
    lines = max(STRIP_VALUES // (thickness * width), FEWEST_LINES)
    pieces = max(-(-height // lines), min(workers.threads, height // FEWEST_LINES))
    workers.run(
        lambda low, high: _filter_strip(volume, sigmas, ((first, last), (low, high)), out[:, low:high]),
        split_range(height, pieces),
    )
    return out


def _filter_strip(volume: NDArray[np.float32], sigmas: list[float], own: Box, out: NDArray[np.float32]) -> None:
    """Write the responses of the rows and lines `own` of a volume to `out` (rows, lines, W, 8); `sigmas` per axis."""
    radii = [_measure_radius(sigma) for sigma in sigmas[:2]]
    around = _widen(own, [max(radius, 1) for radius in radii], volume)
    wider, near = _widen(around, (1, 1), volume), _widen(own, (1, 1), volume)
    source = _widen(wider, radii, volume)
    whole = ((0, volume.shape[0]), (0, volume.shape[1]))
    smooth = _smooth(_crop(volume, whole, source), source, wider, sigmas)
    scale = [np.float32(sigma) for sigma in sigmas]
    gradient = [scale[axis] * _crop(_differentiate(smooth, axis), wider, around) for axis in range(3)]
    out[..., 0] = _crop(smooth, wider, own)
    del smooth
    steps = [np.square(_crop(part, around, own)) for part in gradient]
    out[..., 1] = np.sqrt(steps[0] + steps[1] + steps[2])
    hessian = [
        scale[column] * _crop(_differentiate(_crop(gradient[row], around, near), column), near, own)
        for row, column in PAIRS
    ]
    out[..., 2:5] = np.moveaxis(find_eigenvalues(np.stack(hessian), ALONE), 0, -1)
    del hessian
    tensor = [_smooth(gradient[row] * gradient[column], around, own, sigmas) for row, column in PAIRS]
    del gradient
    out[..., 5:] = np.moveaxis(np.sqrt(np.maximum(find_eigenvalues(np.stack(tensor), ALONE), 0)), 0, -1)


def find_eigenvalues(entries: NDArray[np.float32], workers: Workers) -> NDArray[np.float32]:
    """Find the eigenvalues (3, D, H, W), largest first, of symmetric matrices given as upper triangles (6, D, H, W)."""
    flat = entries.reshape(6, -1)
    out = np.empty((3, flat.shape[1]), np.float32)
    workers.run(lambda low, high: _solve_cubics(flat, out, low, high), split_range(flat.shape[1], 4 * workers.threads))
    return out.reshape(3, *entries.shape[1:])


def _measure_radius(sigma: float) -> int:
    """Return the pixels on each side of a Gaussian's centre, as scipy counts them."""
    return int(TRUNCATE * sigma + 0.5)


def _widen(box: Box, by: Sequence[int], volume: NDArray[np.float32]) -> Box:
    """Return a box with so many rows and lines more on either side, within the volume."""
    rows, lines = (
        (max(low - more, 0), min(high + more, length))
        for (low, high), more, length in zip(box, by, volume.shape[:2], strict=True)
    )
    return rows, lines


def _crop(values: NDArray[np.float32], have: Box, want: Box) -> NDArray[np.float32]:
    """Return the part `want` of the values of the box `have`."""
    rows, lines = (slice(low - start, high - start) for (start, _), (low, high) in zip(have, want, strict=True))
    return values[rows, lines]


def _smooth(values: NDArray[np.float32], have: Box, want: Box, sigmas: list[float]) -> NDArray[np.float32]:
    """Smooth the values of the box `have` along each axis in turn; the result is of the box `want`."""
    from scipy import ndimage  # here, as graphs of images need no scipy

    boxes = (have, (want[0], have[1]), want, want)
    for axis, (before, after) in enumerate(pairwise(boxes)):
        smooth = ndimage.gaussian_filter1d(values, sigmas[axis], axis, mode="nearest", truncate=TRUNCATE)
        values = _crop(smooth, before, after)
    return values


def _differentiate(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    from scipy import ndimage

    return ndimage.correlate1d(values, np.array([-0.5, 0, 0.5], np.float32), axis=axis, mode="nearest")


@njit(cache=True, nogil=True)
def _solve_cubics(entries, out, low, high):  # type: ignore[no-untyped-def]
    """Write the eigenvalues of the matrices low..high by the trigonometric solution (Smith, Comm. ACM 4, 1961)."""
    for index in range(low, high):
        a, b, c = np.float64(entries[0, index]), np.float64(entries[3, index]), np.float64(entries[5, index])
        d, e, f = np.float64(entries[1, index]), np.float64(entries[2, index]), np.float64(entries[4, index])
        mean = (a + b + c) / 3
        a, b, c = a - mean, b - mean, c - mean
        spread = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
        angle = 0.0
        if spread > 0:
            determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
            angle = np.arccos(min(max(determinant / (2 * spread**3), -1.0), 1.0)) / 3
        largest = 2 * spread * np.cos(angle)
        least = 2 * spread * np.cos(angle + 2 * np.pi / 3)
        out[0, index], out[1, index], out[2, index] = mean + largest, mean - largest - least, mean + least


@njit(cache=True, nogil=True)
def _add_block(block, responses, place, height, views):  # type: ignore[no-untyped-def]
    """Add up the responses over the segments of a block of a volume of `height` lines a slice.

    So for each of `views` segmentations, whose lines follow one another. Lines of a block in one of them, and rows of
    the responses (rows, lines, W, 8), of which each is `stride` lines and slices:

        line of the block        0    1  ..  height-1 | height ..         |  (stop - first) * height - 1
        slice z of the image     first                | first + 1         |  stop - 1
        row of the responses     z // stride - top; in it line y // stride, the last one twice where it is cut off

    `place` is top, stride, and whether squares are added up as well.
    """
    top, stride, with_squares = place
    sums = np.zeros((block.runs.ids.size, LANES), dtype=np.float64)
    squares = np.zeros((block.runs.ids.size, LANES), dtype=np.float64)
    lines_of_view = (block.runs.first.size - 1) // views
    for here in range((block.stop - block.first) * height):
        z = (block.first + here // height) // stride - top
        y = min(here % height // stride, responses.shape[1] - 1)
        for view in range(views):
            line = view * lines_of_view + here
            gather_line(block, line, responses[z, y], 0, stride, sums, squares, with_squares)
    return sums, squares
