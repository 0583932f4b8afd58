"""Graph-based segmentation: Felzenszwalb and Huttenlocher, IJCV 59 (2004), on the faces of pixels in 2 or 3 axes."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from bench.config import SuperpixelsConfig
from bench.superpixels.connectivity import label_pieces
from bench.superpixels.pieces import find_root
from bench.superpixels.scaling import choose_n_segments, rescale

TRIALS = 12


def felzenszwalb(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int32]:
    """Segment an image (*spatial, C) so that contrast within segments is low against that between them.

    The method has no number of segments and no compactness: its scale is bisected until the number in `config` is met
    within 2 %, or as nearly as `TRIALS` allow. No segment is smaller than a quarter of the mean size in `config`.
    """
    shape = image.shape[:-1]
    count = choose_n_segments(shape, config)
    smooth = ndimage.gaussian_filter(rescale(image), [config.sigma] * len(shape) + [0.0])
    first, second, weight = _sort_edges(smooth)
    pixels = first.dtype.type(np.prod(shape))
    smallest = max(int(pixels) // count // 4, 1)
    low, high = 1e-6, 1e6
    best, best_gap = np.zeros(pixels, dtype=np.int32), np.inf
    for _ in range(TRIALS):
        scale = float(np.sqrt(low * high))
        roots, found = _grow(first, second, weight, pixels, scale, smallest)
        gap = abs(found - count)
        if gap < best_gap:
            best, best_gap = roots, gap
        if gap <= 0.02 * count:
            break
        low, high = (scale, high) if found > count else (low, scale)
    return label_pieces(best.reshape(shape))


def _sort_edges(image: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return pairs of face neighbours and the distance of their intensities, ascending; ties in raster order."""
    shape = image.shape[:-1]
    index = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    first, second, weight = [], [], []
    for axis, length in enumerate(shape):
        before, after = index.take(range(length - 1), axis), index.take(range(1, length), axis)
        difference = np.diff(image, axis=axis)
        first.append(before.ravel())
        second.append(after.ravel())
        weight.append(np.sqrt(np.square(difference).sum(axis=-1)).ravel())
    weights = np.concatenate(weight)
    order = np.argsort(weights, kind="stable")
    return np.concatenate(first)[order], np.concatenate(second)[order], weights[order]


@njit(cache=True, nogil=True)
def _grow(first, second, weight, pixels, scale, smallest):  # type: ignore[no-untyped-def]
    """Join pixels along edges, from the least contrast on.

    Args:
        first: One pixel (E,) of each edge.
        second: The other pixel (E,).
        weight: Contrast (E,), ascending.
        pixels: Number of pixels.
        scale: Contrast that a segment of one pixel tolerates; one of n pixels tolerates scale / n beyond its own.
        smallest: Pixels below which a segment joins its most similar neighbour.

    Returns:
        Root (pixels,) of each pixel's segment, and the number of segments.
    """
    parent = np.arange(pixels).astype(np.int32)
    size = np.ones(pixels, dtype=np.int32)
    inner = np.zeros(pixels, dtype=np.float32)
    count = pixels
    for forced in (False, True):  # second round: what stayed too small joins its most similar neighbour
        for edge in range(weight.size):
            one, two = find_root(parent, first[edge]), find_root(parent, second[edge])
            if one == two:
                continue
            if forced:
                joins = size[one] < smallest or size[two] < smallest
            else:
                joins = weight[edge] <= min(inner[one] + scale / size[one], inner[two] + scale / size[two])
            if joins:
                keep, drop = min(one, two), max(one, two)
                parent[drop] = keep
                size[keep] += size[drop]
                inner[keep] = weight[edge]
                count -= 1
    for pixel in range(pixels):
        parent[pixel] = find_root(parent, pixel)
    return parent, count
