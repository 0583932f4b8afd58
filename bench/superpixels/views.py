"""Several segmentations ("views") of one image: their settings, and one mask painted from the scores of their nodes.

Their boundaries differ, so that their mean can follow finer lines than any of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.threads import start_workers
from bench.config import SuperpixelsConfig
from bench.superpixels.labels import count_classes, paint_oracle
from bench.superpixels.registry import warm_up_segmentation
from bench.superpixels.scaling import choose_n_segments

STRIP = 1 << 15  # pixels whose scores a thread adds up at once, in its cache
STEP = 1.25  # from the size of one view to that of the next
TOGETHER = 1 << 19  # segments, times channels, of the views that are pooled in one walk over a large image


def list_views(config: SuperpixelsConfig) -> tuple[SuperpixelsConfig, ...]:
    """Return the settings of each of `config.views` segmentations, of one view each.

    Superpixels have the size of `config` times 1, STEP, 1 / STEP, STEP squared, ... Shifted grids did equally well, and
    every method has a size.
    """
    exponents = [(index + 1) // 2 * (1 if index % 2 else -1) for index in range(config.views)]
    return tuple(_resize(config, STEP**exponent) for exponent in exponents)


def group_views(
    views: Sequence[SuperpixelsConfig], shape: Sequence[int], most: int = TOGETHER
) -> list[list[SuperpixelsConfig]]:
    """Group the views of an image that is predicted: those of a group share one walk over its pixels.

    A walk filters the image once for all of its views, and holds the sums of all their segments at a time.

    Args:
        views: Settings of one view each.
        shape: Of the image, (*spatial, C).
        most: Segments times channels of a group, unless a single view has more.

    Returns:
        The views in their order, in groups.
    """
    *spatial, channels = shape
    groups: list[list[SuperpixelsConfig]] = []
    held = 0
    for view in views:
        count = choose_n_segments(tuple(spatial), view) * channels
        if not groups or held + count > most:
            groups, held = [*groups, []], 0
        groups[-1].append(view)
        held += count
    return groups


def compute_shares(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Turn pixel counts (N, K) into the share (N, K) of each class in each node; 0 where no pixel counts."""
    sizes = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.asarray(counts / sizes, np.float32)


def paint_mean(
    scores: Sequence[NDArray[np.float32]], segments: Sequence[NDArray[np.int32]], strip: int = STRIP
) -> NDArray[np.integer]:
    """Give each pixel the class with the highest mean score over the views.

    A pixel's class depends on its own ids alone, so that an image may be painted in bands.

    Args:
        scores: Scores (N_v, K) of the nodes of each view.
        segments: Segments (*spatial) of each view.
        strip: Pixels that a thread averages at once.

    Returns:
        Classes (*spatial); ties get the lowest class.
    """
    tables = [np.ascontiguousarray(nodes) for nodes in scores]
    flat = [np.ravel(ids) for ids in segments]
    classes = np.empty(flat[0].size, np.min_scalar_type(tables[0].shape[1] - 1))

    def paint_strip(start: int, stop: int) -> None:
        total = np.zeros((stop - start, tables[0].shape[1]), np.float32)
        for table, ids in zip(tables, flat, strict=True):
            _add_scores(table, ids[start:stop], total)
        _choose_classes(total, classes[start:stop])

    with start_workers(classes.shape) as workers:
        workers.run(paint_strip, cut_bands(classes.shape, strip))
    return classes.reshape(segments[0].shape)


def warm_up_views(config: SuperpixelsConfig, spatial_axes: int, channels: int, num_classes: int) -> None:
    """Compile the kernels that segmenting an image and painting its mask need.

    Args:
        config: Method and its settings.
        spatial_axes: Number of spatial axes.
        channels: Number of channels.
        num_classes: Number of classes.
    """
    warm_up_segmentation(spatial_axes, channels, config)
    paint_mean([np.zeros((1, num_classes), np.float32)] * 2, [np.zeros(1, np.int32)] * 2)


@njit(cache=True, nogil=True)
def _add_scores(table, ids, total):  # type: ignore[no-untyped-def]
    """Add the scores (N, K) of each pixel's node, ids (P,), to its total, (P, K)."""
    for pixel in range(ids.size):
        node = ids[pixel]
        for index in range(total.shape[1]):
            total[pixel, index] += table[node, index]


@njit(cache=True, nogil=True)
def _choose_classes(total, classes):  # type: ignore[no-untyped-def]
    """Write the index of the largest score of each pixel, the first of equals: (P, K) -> (P,)."""
    for pixel in range(classes.size):
        best = 0
        for index in range(1, total.shape[1]):
            if total[pixel, index] > total[pixel, best]:
                best = index
        classes[pixel] = best


def paint_oracle_views(
    mask: NDArray[np.integer],
    segments: Sequence[NDArray[np.int32]],
    num_classes: int,
    ignore_index: int | None = None,
) -> NDArray[np.integer]:
    """Paint the mask of views whose nodes have their true shares of the classes as scores.

    Args:
        mask: (*spatial) integer classes.
        segments: Segments (*spatial) of each view.
        num_classes: Number of classes.
        ignore_index: Pixels of this value are not counted.

    Returns:
        Classes (*spatial); of a single view the majority classes.
    """
    if len(segments) == 1:
        return paint_oracle(mask, segments[0], num_classes, ignore_index)
    counts = [count_classes(mask, ids, num_classes, ignore_index) for ids in segments]
    return paint_mean([compute_shares(nodes) for nodes in counts], segments)


def _resize(config: SuperpixelsConfig, factor: float) -> SuperpixelsConfig:
    """Return the settings of one view whose superpixels are `factor` times as large, but at least a pixel."""
    size = None if config.superpixel_size is None else max(config.superpixel_size * factor, 1.0)
    count = None if config.n_segments is None else max(round(config.n_segments / factor), 1)
    return replace(config, superpixel_size=size, n_segments=count, views=1)
