"""Filter responses of a volume, one at a time for the whole window, added up in the segments."""

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, list_singles, split_range
from bench.graphs.filters import TRUNCATE, Level, Sums
from bench.graphs.sums import gather_line
from bench.superpixels.runs import SegmentBlock, Slab

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # the upper triangle of a matrix
RESPONSES = 8


def volume_sums(level: Level, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> list[Sums]:
    """As `bench.graphs.filters.plane_sums`, of the eight responses of a volume."""
    shapes = [(block.runs.ids.size, RESPONSES) for block in parts]
    found = [(np.zeros(shape), np.zeros(shape)) for shape in shapes]
    for number, response in enumerate(responses(level.values, level.sigma, workers)):
        if number == 0:
            response -= level.offset

        def add(index: int, _: int, response: NDArray[np.float32] = response, number: int = number) -> None:
            block, (sums, squares) = parts[index], found[index]
            place = block.first, block.stop, block.right, slab.shape[1], level.top
            _pool(*block.runs[:4], response, *place, level.stride, level.squares, sums, squares, number)

        workers.run(add, list_singles(len(parts)))
    return found


def responses(volume: NDArray[np.float32], sigma: float, workers: Workers) -> Iterator[NDArray[np.float32]]:
    """Smoothed intensity, gradient magnitude, three eigenvalues of the Hessian and three of the structure tensor.

    Each (D, H, W); of the latter the square roots.
    """
    smooth = _smoothed(volume, sigma)
    yield smooth.copy()
    gradient = [np.float32(sigma) * _derivative(smooth, axis) for axis in range(3)]
    yield np.sqrt(np.square(gradient[0]) + np.square(gradient[1]) + np.square(gradient[2]))
    hessian = [np.float32(sigma) * _derivative(gradient[row], column) for row, column in PAIRS]
    yield from eigenvalues(np.stack(hessian), workers)
    del hessian
    tensor = [_smoothed(gradient[row] * gradient[column], sigma) for row, column in PAIRS]
    del gradient
    for value in eigenvalues(np.stack(tensor), workers):
        yield np.sqrt(np.maximum(value, 0))


def eigenvalues(entries: NDArray[np.float32], workers: Workers) -> NDArray[np.float32]:
    """Eigenvalues, largest first, (3, D, H, W) of symmetric matrices given by their upper triangles (6, D, H, W)."""
    flat = entries.reshape(6, -1)
    out = np.empty((3, flat.shape[1]), np.float32)
    workers.run(lambda low, high: _eigenvalues(flat, out, low, high), split_range(flat.shape[1], 4 * workers.threads))
    return out.reshape(3, *entries.shape[1:])


def _smoothed(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    from scipy import ndimage  # here, as graphs of images need no scipy

    return ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=TRUNCATE)


def _derivative(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    from scipy import ndimage

    return ndimage.correlate1d(values, np.array([-0.5, 0, 0.5], np.float32), axis=axis, mode="nearest")


@njit(cache=True, nogil=True)
def _eigenvalues(entries, out, low, high):  # type: ignore[no-untyped-def]
    """The trigonometric solution of the characteristic cubic (Smith, Comm. ACM 4, 1961)."""
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
def _pool(  # type: ignore[no-untyped-def]
    first, node, start, end, response, row, stop, right, height, top, stride, fine, sums, squares, number
):
    """Add a response, of which a pixel is `stride` pixels along each axis, to the column `number` of the sums."""
    for here in range((stop - row) * height):
        z, y = (row + here // height) // stride - top, min(here % height // stride, response.shape[1] - 1)
        line = response[z, y : y + 1]
        into, squared = sums[:, number : number + 1], squares[:, number : number + 1]
        gather_line(
            first[here], first[here + 1], node, start, end, line, 0, stride, right, into, squared, fine
        )  # fmt: skip
