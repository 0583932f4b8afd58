"""Our SLIC: scikit-image's meaning of compactness, whole-number sums, the same result on any number of threads."""

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.scratch import Image, Storage, lifted, rows_at_once
from bench.arrays.threads import Workers, thread_count
from bench.config import SuperpixelsConfig
from bench.superpixels.clustering import cluster
from bench.superpixels.connectivity import connect
from bench.superpixels.scaling import grid_shape, segments_asked
from bench.superpixels.smoothing import LEVELS, quantised

_SERIAL = 1 << 16  # pixels below which threads cost more than they give
_SMALLEST = 0.5  # of the mean size asked for: what is smaller joins a neighbour, as in scikit-image


def slic(
    image: Image, config: SuperpixelsConfig, scratch: Path | None = None, rows: int | None = None
) -> NDArray[np.int32]:
    """Cluster intensity and place around the cells of a grid, then make every segment one piece.

    The squared distance is that of the intensities, rescaled to [0, 1] over the image, plus compactness squared times
    that in space in units of the grid's step. Beyond the image it takes 4 + 4 C bytes per pixel and some hundred per
    segment: in memory, or in files in `scratch`, of which about `rows` rows of the first axis are in memory at a time.
    Neither of the two changes the segments.
    """
    shape, volume = image.shape[:-1], lifted(image.shape)[:3]
    asked = segments_asked(shape, config)
    cells = grid_shape(volume, asked)
    step = max(length / count for length, count in zip(volume, cells, strict=True))
    weight = (LEVELS * config.compactness / step) ** 2
    rows = rows_at_once(image.shape, scratch, rows)
    band = rows * prod(shape[1:])
    threads = thread_count() if prod(image.shape) >= _SERIAL else 1
    with Workers(threads) as workers, Storage(scratch) as storage:
        smooth = quantised(image, config.sigma, workers, storage, rows)
        labels = cluster(smooth, cells, weight, config.iterations, workers, storage, band)
        connect(labels, smooth, int(_SMALLEST * labels.size / asked), workers, storage, band)
        return storage.keep(labels).reshape(shape)
