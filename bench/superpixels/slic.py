"""Our SLIC: scikit-image's meaning of compactness, whole-number sums, the same result on any number of threads."""

import numpy as np
from numpy.typing import NDArray

from bench.config import SuperpixelsConfig
from bench.superpixels.clustering import cluster
from bench.superpixels.connectivity import connect
from bench.superpixels.scaling import grid_shape, segments_asked
from bench.superpixels.smoothing import LEVELS, quantised
from bench.superpixels.threads import Workers, thread_count

_SERIAL = 1 << 16  # pixels below which threads cost more than they give
_SMALLEST = 0.5  # of the mean size asked for: what is smaller joins a neighbour, as in scikit-image


def slic(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int32]:
    """Cluster intensity and place around the cells of a grid, then make every segment one piece.

    The squared distance is that of the intensities, rescaled to [0, 1] over the image, plus compactness squared times
    that in space in units of the grid's step. Beyond the image it takes 5 + 4 C bytes per pixel and some hundred per
    segment.
    """
    shape = image.shape[:-1]
    lift = (1,) * (3 - len(shape))
    asked = segments_asked(shape, config)
    volume = np.ascontiguousarray(image).reshape(lift + image.shape)
    cells = grid_shape(volume.shape[:3], asked)
    step = max(length / count for length, count in zip(volume.shape[:3], cells, strict=True))
    weight = (LEVELS * config.compactness / step) ** 2
    with Workers(thread_count() if volume.size >= _SERIAL else 1) as workers:
        smooth = quantised(volume, config.sigma, workers)
        labels = cluster(smooth, cells, weight, config.iterations, workers)
        connect(labels, smooth, int(_SMALLEST * labels.size / asked), workers)
    return labels.reshape(shape)
