"""Filter responses of a volume, one at a time for the whole slab, added up in the segments."""

from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, list_singles, split_range
from bench.graphs.filters import TRUNCATE, Level, Sums
from bench.graphs.sums import gather_line
from bench.superpixels.runs import SegmentBlock, Slab

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # the upper triangle of a matrix
RESPONSES = 8


def sum_volume_responses(
    level: Level, slab: Slab, parts: Sequence[SegmentBlock], views: int, workers: Workers
) -> list[Sums]:
    """Add up the eight filter responses of a volume in the segments of each block.

    Args:
        level: The channel and scale that are filtered.
        slab: The rows from which the level was made.
        parts: The blocks of the slab, each with the runs of all segmentations (`bench.superpixels.runs.stack_blocks`).
        views: Number of segmentations.
        workers: Threads that share the blocks.

    Returns:
        Of each block the sums (its segments, 8) over its pixels of the responses of `filter_volume`, and of their
        squares.
    """
    shapes = [(block.runs.ids.size, RESPONSES) for block in parts]
    found = [(np.zeros(shape), np.zeros(shape)) for shape in shapes]
    for number, response in enumerate(filter_volume(level.values, level.sigma, workers, level.spacing)):
        if number == 0:
            response -= level.offset
        filtered = level._replace(values=response)

        def add(index: int, _: int, filtered: Level = filtered, number: int = number) -> None:
            sums, squares = found[index]
            _add_block(parts[index], filtered, slab.shape[1], sums, squares, number, views)

        workers.run(add, list_singles(len(parts)))
    return found


def filter_volume(
    volume: NDArray[np.float32], sigma: float, workers: Workers, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Iterator[NDArray[np.float32]]:
    """Filter a volume, one response at a time.

    Args:
        volume: (D, H, W) float32.
        sigma: Standard deviation of the Gaussians in units of `spacing`.
        workers: Threads that share the work.
        spacing: Length of a pixel along each axis.

    Yields:
        Smoothed intensity, gradient magnitude, three eigenvalues of the Hessian and the square roots of three of the
        structure tensor, the largest first; each (D, H, W).
    """
    sigmas = [sigma / length for length in spacing]
    smooth = _smooth(volume, sigmas)
    yield smooth.copy()
    gradient = [np.float32(sigmas[axis]) * _differentiate(smooth, axis) for axis in range(3)]
    yield np.sqrt(np.square(gradient[0]) + np.square(gradient[1]) + np.square(gradient[2]))
    hessian = [np.float32(sigmas[column]) * _differentiate(gradient[row], column) for row, column in PAIRS]
    yield from find_eigenvalues(np.stack(hessian), workers)
    del hessian
    tensor = [_smooth(gradient[row] * gradient[column], sigmas) for row, column in PAIRS]
    del gradient
    for value in find_eigenvalues(np.stack(tensor), workers):
        yield np.sqrt(np.maximum(value, 0))


def find_eigenvalues(entries: NDArray[np.float32], workers: Workers) -> NDArray[np.float32]:
    """Find the eigenvalues (3, D, H, W), largest first, of symmetric matrices given as upper triangles (6, D, H, W)."""
    flat = entries.reshape(6, -1)
    out = np.empty((3, flat.shape[1]), np.float32)
    workers.run(lambda low, high: _solve_cubics(flat, out, low, high), split_range(flat.shape[1], 4 * workers.threads))
    return out.reshape(3, *entries.shape[1:])


def _smooth(values: NDArray[np.float32], sigmas: list[float]) -> NDArray[np.float32]:
    from scipy import ndimage  # here, as graphs of images need no scipy

    return ndimage.gaussian_filter(values, sigmas, mode="nearest", truncate=TRUNCATE)


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
def _add_block(block, level, height, sums, squares, number, views):  # type: ignore[no-untyped-def]
    """Add the response `level.values` to column `number` of the sums of a block, of a volume of `height` lines a slice.

    So for each of `views` segmentations, whose lines follow one another. Lines of a block in one of them, and rows of
    the response, of which each is `stride` lines and slices:

        line of the block        0    1  ..  height-1 | height ..         |  (stop - first) * height - 1
        slice z of the image     first                | first + 1         |  stop - 1
        row of the response      z // stride - top; in it line y // stride, the last one twice where it is cut off
    """
    response, stride = level.values, level.stride
    lines_of_view = (block.runs.first.size - 1) // views
    for here in range((block.stop - block.first) * height):
        z = (block.first + here // height) // stride - level.top
        y = min(here % height // stride, response.shape[1] - 1)
        into, squared = sums[:, number : number + 1], squares[:, number : number + 1]
        for view in range(views):
            line = view * lines_of_view + here
            gather_line(block, line, response[z, y : y + 1], 0, stride, into, squared, level.with_squares)
