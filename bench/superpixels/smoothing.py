"""Gaussian smoothing, rescaling and quantisation in one pass: the input of SLIC, in two bytes per pixel and channel.

Whole numbers make sums exact, so that nothing downstream depends on the order of threads or blocks.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range

LEVELS = 65535
TRUNCATE = 4.0  # standard deviations at which the Gaussian ends, as in scikit-image


def lift_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (D, H, W, C) of an image (*spatial, C) as a volume: axes of length 1 come first."""
    return (1,) * (4 - len(shape)) + tuple(shape)


def smooth_and_quantise(
    image: Readable, sigma: float, workers: Workers, storage: Storage, rows: int
) -> NDArray[np.uint16]:
    """Smooth an image over its axes longer than 1, and map its range before smoothing onto 0..65535.

    Borders are mirrored. The image is read twice, band after band. A constant image becomes 0.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        sigma: Standard deviation of the Gaussian in pixels.
        workers: Threads that share the work on a band.
        storage: Where the result lives.
        rows: Rows of the first axis in a band.

    Returns:
        The image as (C, D, H, W) uint16.

    Raises:
        ValueError: The image holds NaN or infinity.
    """
    length, (depth, height, width, channels) = image.shape[0], lift_shape(image.shape)
    bands = cut_bands(image.shape, rows=rows)
    low, high = find_range(image, bands, workers)
    scale = LEVELS / (high - low) if high > low else 0.0
    across, along = sample_gaussian(sigma, TRUNCATE), sample_gaussian(sigma if width > 1 else 0.0, TRUNCATE)
    deep = sample_gaussian(sigma if depth > 1 else 0.0, TRUNCATE)
    out = storage.empty((channels, depth, height, width), np.uint16)
    lines = depth * height // length  # of one step along the first axis
    reader = RowReader(image, np.float32)
    for start, stop in bands:
        top, bottom = max(start - across.size + 1, 0), min(stop + across.size - 1, length)
        rows_read = reader.read_rows(top, bottom)
        slab = rows_read.reshape(lift_shape(rows_read.shape))
        corner = divmod(top * lines, height)

        def band(first: int, last: int, slab: NDArray[np.float32] = slab, corner: tuple[int, int] = corner) -> None:
            _smooth_rows(slab, corner, deep, across, along, np.float32(low), np.float32(scale), out, first, last)

        workers.run(band, split_range(stop * lines, 4 * workers.threads, start * lines))
        storage.release()
    return out


def find_range(image: Readable, bands: list[Band], workers: Workers) -> tuple[float, float]:
    """Find the smallest and the largest value of an image.

    Args:
        image: Any array.
        bands: The bands of the first axis in which it is read.
        workers: Threads that share the work on a band.

    Returns:
        Smallest and largest value.

    Raises:
        ValueError: One of them is not finite.
    """
    found: list[tuple[float, float]] = []
    reader = RowReader(image, np.float32)
    for start, stop in bands:
        flat = reader.read_rows(start, stop).reshape(-1)

        def span(first: int, last: int, flat: NDArray[np.float32] = flat) -> tuple[float, float]:
            return float(flat[first:last].min()), float(flat[first:last].max())

        found += workers.run(span, split_range(flat.size, workers.threads))
    low, high = float(np.min([pair[0] for pair in found])), float(np.max([pair[1] for pair in found]))
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("the image must be finite, got NaN or infinity")
    return low, high


def sample_gaussian(sigma: float, truncate: float) -> NDArray[np.float32]:
    """Return the right half of a normalised Gaussian cut off at `truncate` deviations, centre first: (radius + 1,)."""
    radius = int(truncate * sigma + 0.5)
    half = np.exp(-0.5 * (np.arange(radius + 1) / max(sigma, 1e-9)) ** 2)
    return np.asarray(half / (2 * half.sum() - half[0]), dtype=np.float32)


@njit(cache=True, nogil=True)
def _mirrored(index, length):  # type: ignore[no-untyped-def]
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


@njit(cache=True, nogil=True)
def _add_rows(one, two, weight, total):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * (one[x] + two[x])


@njit(cache=True, nogil=True)
def _row_sum(plane, top, height, y, across, weight, total):  # type: ignore[no-untyped-def]
    """Add the rows around `y`, of a plane whose rows before `top` are not there."""
    _add_rows(plane[y - top], plane[y - top], np.float32(0.5) * weight * across[0], total)
    for k in range(1, across.size):
        before, after = _mirrored(y - k, height) - top, _mirrored(y + k, height) - top
        _add_rows(plane[before], plane[after], weight * across[k], total)


@njit(cache=True, nogil=True)
def _along_row(padded, along, radius, low, scale, line, target):  # type: ignore[no-untyped-def]
    width = target.size
    centre = padded[radius : radius + width]
    for x in range(width):
        line[x] = (along[0] * centre[x] - low) * scale + np.float32(0.5)
    for k in range(1, radius + 1):
        weight = along[k] * scale
        left, right = padded[radius - k : radius - k + width], padded[radius + k : radius + k + width]
        for x in range(width):
            line[x] += weight * (left[x] + right[x])
    for x in range(width):
        target[x] = np.uint16(np.int32(min(max(line[x], np.float32(0)), np.float32(LEVELS))))


@njit(cache=True, nogil=True)
def _smooth_rows(slab, corner, deep, across, along, low, scale, out, start, stop):  # type: ignore[no-untyped-def]
    """Rows `start` to `stop` of the whole image, from a slab of it that begins at plane and row `corner`."""
    channels, depth, height, width = out.shape
    planes, (front, top) = slab.reshape(slab.shape[0], slab.shape[1], width * channels), corner
    radius = along.size - 1
    total = np.empty(width * channels, dtype=np.float32)
    padded = np.empty(width + 2 * radius, dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    for row in range(start, stop):
        z, y = row // height, row % height
        total[:] = 0
        _row_sum(planes[z - front], top, height, y, across, deep[0], total)
        for k in range(1, deep.size):
            before, after = _mirrored(z - k, depth) - front, _mirrored(z + k, depth) - front
            _row_sum(planes[before], top, height, y, across, deep[k], total)
            _row_sum(planes[after], top, height, y, across, deep[k], total)
        for channel in range(channels):
            for x in range(width):
                padded[radius + x] = total[x * channels + channel]
            for k in range(radius):
                padded[k] = padded[radius + _mirrored(k - radius, width)]
                padded[radius + width + k] = padded[radius + _mirrored(width + k, width)]
            _along_row(padded, along, radius, low, scale, line, out[channel, z, y])
