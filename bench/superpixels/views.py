"""Several segmentations ("views") of one image: which they are, and how what is said of their nodes becomes one mask.

Their boundaries differ, so that where they are averaged a mask can follow finer lines than any of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.config import SuperpixelsConfig
from bench.superpixels.labels import count_classes, paint_oracle

STEP = 1.25  # from the size of one view to that of the next
STRIP = 1 << 18  # pixels averaged at once


def list_views(config: SuperpixelsConfig) -> tuple[SuperpixelsConfig, ...]:
    """Settings of each of `config.views` segmentations, of one view each: as asked, then larger and smaller in turn.

    Sizes and shifted grids did equally well, and sizes need nothing of a method but that it has one.
    Superpixels have the size asked for times 1, STEP, 1 / STEP, STEP squared, ...
    """
    exponents = [(index + 1) // 2 * (1 if index % 2 else -1) for index in range(config.views)]
    return tuple(_resized(config, STEP**exponent) for exponent in exponents)


def share_classes(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Share of each class in each node: (N, K) pixels -> (N, K), 0 where no pixel counts."""
    sizes = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.asarray(counts / sizes, np.float32)


def paint_mean(
    scores: Sequence[NDArray[np.float32]], segments: Sequence[NDArray[np.int32]], strip: int = STRIP
) -> NDArray[np.integer]:
    """Give each pixel the class with the highest mean score over the views.

    A pixel's class depends on its own ids alone, so that bands give what the whole gives.

    Args:
        scores: Scores (N_v, K) of the nodes of each view.
        segments: Segments (*spatial) of each view.
        strip: Pixels that are averaged at once.

    Returns:
        Classes (*spatial); ties get the lowest class.
    """
    tables = [np.ascontiguousarray(nodes.T) for nodes in scores]
    flat = [np.ravel(ids) for ids in segments]
    classes = np.empty(flat[0].size, np.min_scalar_type(len(tables[0]) - 1))
    for start, stop in cut_bands(classes.shape, strip):
        total = np.take(tables[0], flat[0][start:stop], axis=1)
        for table, ids in zip(tables[1:], flat[1:], strict=True):
            total += np.take(table, ids[start:stop], axis=1)
        classes[start:stop] = total.argmax(axis=0)
    return classes.reshape(segments[0].shape)


def paint_oracle_views(
    mask: NDArray[np.integer],
    segments: Sequence[NDArray[np.int32]],
    num_classes: int,
    ignore_index: int | None = None,
) -> NDArray[np.integer]:
    """The mask that views paint together whose nodes know their true shares of the classes: of one, the majorities."""
    if len(segments) == 1:
        return paint_oracle(mask, segments[0], num_classes, ignore_index)
    counts = [count_classes(mask, ids, num_classes, ignore_index) for ids in segments]
    return paint_mean([share_classes(nodes) for nodes in counts], segments)


def _resized(config: SuperpixelsConfig, factor: float) -> SuperpixelsConfig:
    """With superpixels `factor` times as large, but not below a pixel, and no more than one view."""
    size = None if config.superpixel_size is None else max(config.superpixel_size * factor, 1.0)
    count = None if config.n_segments is None else max(round(config.n_segments / factor), 1)
    return replace(config, superpixel_size=size, n_segments=count, views=1)
