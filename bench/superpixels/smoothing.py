"""Gaussian smoothing, rescaling and quantisation in one pass: what SLIC clusters, in two bytes per pixel and channel.

Whole numbers make sums exact, so that nothing downstream depends on the order of threads or blocks.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.scratch import Image, Storage, lifted, read
from bench.arrays.threads import Band, Workers, split

LEVELS = 65535
_TRUNCATE = 4.0  # as scikit-image


def quantised(image: Image, sigma: float, workers: Workers, storage: Storage, rows: int) -> NDArray[np.uint16]:
    """Smooth (*spatial, C) over its axes longer than 1, map its range before smoothing onto 0..65535: (C, D, H, W).

    Borders are mirrored. The image is read twice, `rows` of its first axis at a time. Raises ValueError for NaN and
    infinity; a constant image becomes 0.
    """
    length, (depth, height, width, channels) = image.shape[0], lifted(image.shape)
    bands = split(length, -(-length // rows))
    low, high = value_range(image, bands, workers)
    scale = LEVELS / (high - low) if high > low else 0.0
    across, along = kernel(sigma), kernel(sigma if width > 1 else 0.0)
    deep = kernel(sigma if depth > 1 else 0.0)
    out = storage.empty((channels, depth, height, width), np.uint16)
    lines = depth * height // length  # of one step along the first axis
    for start, stop in bands:
        top, bottom = max(start - across.size + 1, 0), min(stop + across.size - 1, length)
        slab = read(image, top, bottom)
        corner = divmod(top * lines, height)

        def band(first: int, last: int, slab: NDArray[np.float32] = slab, corner: tuple[int, int] = corner) -> None:
            _smooth_rows(slab, corner, deep, across, along, np.float32(low), np.float32(scale), out, first, last)

        workers.run(band, split(stop * lines, 4 * workers.threads, start * lines))
        storage.release()
    return out


def value_range(image: Image, bands: list[Band], workers: Workers) -> tuple[float, float]:
    """Smallest and largest value, looked for in `bands` of the first axis. Raises ValueError unless both are finite."""
    found: list[tuple[float, float]] = []
    for start, stop in bands:
        flat = read(image, start, stop).reshape(-1)

        def span(first: int, last: int, flat: NDArray[np.float32] = flat) -> tuple[float, float]:
            return float(flat[first:last].min()), float(flat[first:last].max())

        found += workers.run(span, split(flat.size, workers.threads))
    low, high = float(np.min([pair[0] for pair in found])), float(np.max([pair[1] for pair in found]))
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("the image must be finite, got NaN or infinity")
    return low, high


def kernel(sigma: float) -> NDArray[np.float32]:
    """The right half of a normalised Gaussian, the centre first: (radius + 1,)."""
    radius = int(_TRUNCATE * sigma + 0.5)
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
