"""What superpixels cost before anything has learned: the ceiling of a partition, two classic errors, and votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands, release
from bench.config import SuperpixelsConfig
from bench.datasets.sample import Sample, Task, adopt_spacing
from bench.scores.boundaries import BAND_PIXELS, cut_wide_bands, dilate, neighbours
from bench.scores.metrics import Counts, confusion_matrix
from bench.superpixels.labels import count_classes, paint
from bench.superpixels.registry import segment_views
from bench.superpixels.views import compute_shares, list_views, paint_mean, paint_oracle_views

Segments = NDArray[np.int32]


def count_best(truth: Readable, segments: Sequence[Segments], task: Task) -> Counts:
    """Return the confusion matrix (K, K) of `best_mask`, which is painted band by band.

    Args:
        truth: (*spatial) class numbers.
        segments: V segmentations (*spatial).
        task: Classes and the number that is none.
    """
    given = (task.num_classes, task.ignore_index)
    counts = [count_classes(truth, ids, *given) for ids in segments]
    votes: list[NDArray[Any]] = [
        compute_shares(nodes) if len(segments) > 1 else nodes.argmax(axis=1) for nodes in counts
    ]
    del counts
    total = np.zeros((task.num_classes, task.num_classes), np.int64)
    for start, stop in cut_bands(truth.shape, BAND_PIXELS):
        parts = [ids[start:stop] for ids in segments]
        best = paint(votes[0], parts[0]) if len(parts) == 1 else paint_mean(votes, parts)
        total += confusion_matrix(truth[start:stop], best, *given)
        for ids in segments:
            release(ids)
    return total


def best_mask(truth: NDArray[np.integer], segments: Sequence[Segments], task: Task) -> NDArray[np.integer]:
    """Return the mask of most accuracy that segmentations can paint, together if there are several.

    See `paint_oracle_views`. More Dice can be had of lines that are less than half of most of their superpixels.

    Args:
        truth: (*spatial) class numbers.
        segments: V segmentations (*spatial).
        task: Classes and the number that is none.

    Returns:
        (*spatial) class numbers.
    """
    return paint_oracle_views(truth, segments, task.num_classes, task.ignore_index)


def vote(
    sample: Sample, predicted: NDArray[np.integer], superpixels: SuperpixelsConfig, task: Task
) -> NDArray[np.integer]:
    """Paint a mask as superpixels can show it: majorities, or with several segmentations the mean of shares.

    Args:
        sample: The image that the superpixels are made of.
        predicted: (*spatial) class numbers.
        superpixels: Method, size and number of segmentations.
        task: Classes and the number that is none.

    Returns:
        (*spatial) class numbers.
    """
    views = list_views(adopt_spacing(superpixels, task))
    segments = list(segment_views(np.asarray(sample.image), views))
    return paint_oracle_views(predicted, segments, task.num_classes)


def partition_errors(truth: Readable, segments: Sequence[Segments], tolerance: float, task: Task) -> dict[str, float]:
    """Return undersegmentation error and boundary recall of partitions.

    Args:
        truth: (*spatial) class numbers.
        segments: Segmentations (*spatial); of several the means are returned.
        tolerance: Distance within which a boundary counts as found, in units of the shortest side of a pixel.
        task: The number that is no class, and the spacing of the pixels.

    Returns:
        Both measures by name, in [0, 1].
    """
    leaks = [undersegmentation_error(truth, ids, task.num_classes, task.ignore_index) for ids in segments]
    recalls = [boundary_recall(truth, ids, tolerance, task.ignore_index, task.spacing) for ids in segments]
    return {"undersegmentation_error": float(np.mean(leaks)), "boundary_recall": float(np.mean(recalls))}


def undersegmentation_error(
    mask: Readable, segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> float:
    """Measure how many pixels leak across the classes, as a share of all pixels.

    1 / pixels * sum over classes S, superpixels P of min(|P in S|, |P outside S|): Neubert and Protzel, "Superpixel
    benchmark and comparison", Forum Bildverarbeitung 2012, with the mask's classes as regions.

    Args:
        mask: (*spatial) integer classes.
        segments: (*spatial) integer ids 0..N-1.
        num_classes: Number of classes.
        ignore_index: Pixels of this value are not counted.

    Returns:
        The share, 0 for superpixels that follow the mask; NaN where all pixels are ignored.
    """
    counts = count_classes(mask, segments, num_classes, ignore_index)
    sizes = counts.sum(axis=1, keepdims=True)
    return float(np.minimum(counts, sizes - counts).sum() / sizes.sum()) if sizes.any() else float("nan")


def boundary_recall(
    mask: Readable,
    segments: NDArray[np.integer],
    tolerance: float,
    ignore_index: int | None = None,
    spacing: Sequence[float] | None = None,
) -> float:
    """Measure how many of a mask's boundary pixels lie near a boundary of superpixels.

    A boundary pixel has a face neighbour of another value; steps to or from ignored pixels are none.

    Args:
        mask: (*spatial) integer classes.
        segments: (*spatial) integer ids.
        tolerance: Largest Euclidean distance, in units of the shortest side of a pixel.
        ignore_index: Value of ignored pixels.
        spacing: Length of a pixel along each axis; None: pixels are cubes.

    Returns:
        Share in [0, 1]; NaN for a mask without boundary.
    """
    hit = total = 0
    for band in cut_wide_bands(mask.shape, tolerance, spacing):
        truth = find_boundary(np.asarray(mask[band.read]), ignore_index)[band.own]
        found = dilate(find_boundary(segments[band.read]), tolerance, spacing=spacing)[band.own]
        hit, total = hit + int(np.count_nonzero(truth & found)), total + int(np.count_nonzero(truth))
        release(segments)
    return float(hit / total) if total else float("nan")


def find_boundary(labels: NDArray[np.integer], ignore_index: int | None = None) -> NDArray[np.bool_]:
    """Mark the pixels that have a face neighbour of another value, neither being `ignore_index`: (*spatial) bool."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    for axis in range(labels.ndim):
        before, after = neighbours(labels.ndim, axis)
        step = labels[before] != labels[after]
        if ignore_index is not None:
            step &= (labels[before] != ignore_index) & (labels[after] != ignore_index)
        edge[before] |= step
        edge[after] |= step
    return edge
