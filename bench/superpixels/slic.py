"""Our SLIC: scikit-image's meaning of compactness, whole-number sums, the same result on any number of threads."""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.scratch import Storage
from bench.arrays.spacing import relate_spacing
from bench.arrays.threads import Workers, start_workers
from bench.config import SuperpixelsConfig
from bench.superpixels.clustering import cluster
from bench.superpixels.connectivity import connect
from bench.superpixels.scaling import choose_n_segments, choose_rows, fit_grid
from bench.superpixels.smoothing import LEVELS, lift_shape, smooth_and_quantise

SMALLEST = 0.5  # of the mean size: smaller pieces join a neighbour, as in scikit-image


def slic(
    image: Readable,
    config: SuperpixelsConfig,
    scratch: Path | None = None,
    rows: int | None = None,
    threads: int | None = None,
) -> NDArray[np.int32]:
    """Cluster intensity and place around the cells of a grid, then make every segment one piece.

    The squared distance is that of the intensities, rescaled to [0, 1] over the image, plus compactness squared times
    that in space in units of the grid's step; `config.spacing` says where pixels are longer along one axis. Beyond the
    image it takes 4 + 4 C bytes per pixel and some hundred per segment. Neither `scratch` nor `rows` nor `threads`
    changes the segments.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes, of any scale.
        config: Size or number of the segments, compactness, sigma in pixels (the shortest), iterations, spacing.
        scratch: Folder for what is as large as the image; None keeps it in memory.
        rows: Rows of the first axis that are in memory at a time; None leaves that to the size of the image.
        threads: Threads that share the work; None takes those the caller may use, or one for a tiny image.

    Returns:
        Segments (*spatial) int32 with ids 0..N-1, all used, each connected by faces.

    Raises:
        ValueError: The image holds NaN or infinity, or falls into more pieces than can be numbered.
    """
    [segments] = slic_views(image, [config], scratch, rows, threads)
    return segments


def slic_views(
    image: Readable,
    views: Sequence[SuperpixelsConfig],
    scratch: Path | None = None,
    rows: int | None = None,
    threads: int | None = None,
) -> Iterator[NDArray[np.int32]]:
    """Segment an image several times; it is read and smoothed once.

    Args:
        image: As in `slic`.
        views: Settings of each segmentation, all of one sigma and spacing.
        scratch: As in `slic`.
        rows: As in `slic`.
        threads: As in `slic`.

    Yields:
        The segments of each, to the bit those of `slic`.

    Raises:
        ValueError: As `slic`, or the sigmas differ.
    """
    [sigma] = {view.sigma for view in views}
    pitch = relate_spacing(views[0].spacing, len(image.shape) - 1)
    pitch = (1.0,) * (3 - len(pitch)) + pitch
    shape, volume = image.shape[:-1], lift_shape(image.shape)[:3]
    rows = choose_rows(image.shape, scratch, rows)
    band = rows * prod(shape[1:])
    with Workers(threads) if threads else start_workers(image.shape) as workers, Storage(scratch) as storage:
        smooth = smooth_and_quantise(image, sigma, workers, storage, rows, pitch)
        for view in views:
            count = choose_n_segments(shape, view)
            cells = fit_grid(volume, count, pitch)
            step = max(length * one / number for length, one, number in zip(volume, pitch, cells, strict=True))
            weight = (LEVELS * view.compactness / step) ** 2
            labels = cluster(smooth, cells, weight, view.iterations, workers, storage, band, pitch)
            connect(labels, smooth, int(SMALLEST * labels.size / count), workers, storage, band)
            yield storage.keep(labels).reshape(shape)
            del labels
