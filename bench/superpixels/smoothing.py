"""Gaussian smoothing, rescaling and quantisation in one pass: the input of SLIC, in two bytes per pixel and channel.

Whole numbers make sums exact, so that nothing downstream depends on the order of threads or blocks. A line of the
result is made in three steps; lines beyond the image are those within, mirrored at its border:

    slab (slices, lines, W * C)      the lines around (z, y) with a halo, from slice and line `corner` on
      v  weights deep x across
    total (W * C)                    sum of lines, channels side by side
      v  one channel, mirrored at both ends
    padded (W + 2 radius)
      v  weights along, rescaled and rounded
    out (C, D, H, W) at (channel, z, y)
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import WORTH_THREADS, Band, Workers, split_range

LEVELS = 65535
TRUNCATE = 4.0  # standard deviations at which the Gaussian ends, as in scikit-image


class Gaussians(NamedTuple):
    """Right halves of the Gaussians over slices, lines and columns, each (radius + 1,); a record for kernels."""

    deep: NDArray[np.float32]
    across: NDArray[np.float32]
    along: NDArray[np.float32]


def lift_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (D, H, W, C) of an image (*spatial, C) as a volume: axes of length 1 come first."""
    return (1,) * (4 - len(shape)) + tuple(shape)


def smooth_and_quantise(
    image: Readable,
    sigma: float,
    workers: Workers,
    storage: Storage,
    rows: int,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> NDArray[np.uint16]:
    """Smooth an image over its axes longer than 1, and map its range before smoothing onto 0..65535.

    Borders are mirrored. The image is read twice, band after band. A constant image becomes 0.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        sigma: Standard deviation of the Gaussian in units of `spacing`.
        workers: Threads that share the work on a band.
        storage: Where the result lives.
        rows: Rows of the first axis in a band.
        spacing: Length of a pixel along slices, lines and columns.

    Returns:
        The image as (C, D, H, W) uint16.

    Raises:
        ValueError: The image holds NaN or infinity.
    """
    length, (depth, height, width, channels) = image.shape[0], lift_shape(image.shape)
    bands = cut_bands(image.shape, rows=rows)
    low, high = find_range(image, bands, workers)
    scale = LEVELS / (high - low) if high > low else 0.0
    sigmas = (sigma if depth > 1 else 0.0, sigma, sigma if width > 1 else 0.0)
    reach = [sample_gaussian(each / one, TRUNCATE) for each, one in zip(sigmas, spacing, strict=True)]
    gaussians = Gaussians(*reach)
    radius = (gaussians.across if len(image.shape) == 3 else gaussians.deep).size - 1
    out = storage.empty((channels, depth, height, width), np.uint16)
    lines = depth * height // length  # of one step along the first axis
    reader = RowReader(image, np.float32)
    for start, stop in bands:
        top, bottom = max(start - radius, 0), min(stop + radius, length)
        rows_read = reader.read_rows(top, bottom)
        slab = rows_read.reshape(lift_shape(rows_read.shape))
        corner = divmod(top * lines, height)

        def band(first: int, last: int, slab: NDArray[np.float32] = slab, corner: tuple[int, int] = corner) -> None:
            _smooth_lines(slab, corner, gaussians, np.float32(low), np.float32(scale), out, first, last)

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

        found += workers.run(span, split_range(flat.size, workers.threads, least=WORTH_THREADS))
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
def _reflect(index, length):  # type: ignore[no-untyped-def]
    """Return the index in [0, length) of a position of an axis that is mirrored endlessly, its ends repeated."""
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


@njit(cache=True, nogil=True)
def _add_lines(one, two, weight, total):  # type: ignore[no-untyped-def]
    """Add two lines with one weight to `total`."""
    for x in range(total.size):
        total[x] += weight * (one[x] + two[x])


@njit(cache=True, nogil=True)
def _add_around(plane, top, height, y, across, weight, total):  # type: ignore[no-untyped-def]
    """Add the weighted lines around `y` of a slice of `height` lines to `total`; `plane` begins with line `top`."""
    _add_lines(plane[y - top], plane[y - top], np.float32(0.5) * weight * across[0], total)
    for k in range(1, across.size):
        before, after = _reflect(y - k, height) - top, _reflect(y + k, height) - top
        _add_lines(plane[before], plane[after], weight * across[k], total)


@njit(cache=True, nogil=True)
def _smooth_line(padded, along, radius, low, scale, line, target):  # type: ignore[no-untyped-def]
    """Smooth a line with its halo, `padded` (W + 2 radius,), map `low` to 0 by `scale` and round it to `target` (W,).

    `line` (W,) is room for the sums.
    """
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
def _smooth_lines(slab, corner, gaussians, low, scale, out, start, stop):  # type: ignore[no-untyped-def]
    """Smooth, rescale and quantise lines of an image, as drawn above.

    Args:
        slab: (slices, lines, W, C) float32.
        corner: Slice and line of the image with which the slab begins.
        gaussians: The `Gaussians`.
        low: Intensity that becomes 0, float32.
        scale: Levels per unit of intensity, float32.
        out: (C, D, H, W) uint16.
        start: First line, counted slice by slice.
        stop: Line after the last one.
    """
    deep, across, along = gaussians.deep, gaussians.across, gaussians.along
    channels, depth, height, width = out.shape
    planes, (front, top) = slab.reshape(slab.shape[0], slab.shape[1], width * channels), corner
    radius = along.size - 1
    total = np.empty(width * channels, dtype=np.float32)
    padded = np.empty(width + 2 * radius, dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    for row in range(start, stop):
        z, y = row // height, row % height
        total[:] = 0
        _add_around(planes[z - front], top, height, y, across, deep[0], total)
        for k in range(1, deep.size):
            before, after = _reflect(z - k, depth) - front, _reflect(z + k, depth) - front
            _add_around(planes[before], top, height, y, across, deep[k], total)
            _add_around(planes[after], top, height, y, across, deep[k], total)
        for channel in range(channels):
            for x in range(width):
                padded[radius + x] = total[x * channels + channel]
            for k in range(radius):
                padded[k] = padded[radius + _reflect(k - radius, width)]
                padded[radius + width + k] = padded[radius + _reflect(width + k, width)]
            _smooth_line(padded, along, radius, low, scale, line, out[channel, z, y])
