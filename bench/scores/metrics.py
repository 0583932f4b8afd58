"""Confusion matrices and the scores that follow from them. Nothing here can tell the arms apart.

A class that does not occur in the truth has no score: NaN here, an empty cell in the tables, left out of the macro
mean. So every arm is averaged over the same classes, and a single stray pixel of an absent class does not count as
much as a class that was missed; what it costs shows in the class that lost the pixel, and as a precision of zero.
Ignored pixels do not count.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands, release

Counts = NDArray[np.int64]  # (K, K) pixels: rows are the truth, columns the prediction
PerClass = NDArray[np.float64]  # (K,)
BAND_PIXELS = 1 << 20  # counted at a time, so that scratch memory does not grow with the image


def confusion_matrix(
    truth: Readable,
    predicted: Readable,
    num_classes: int,
    ignore_index: int | None = None,
    band_pixels: int = BAND_PIXELS,
) -> Counts:
    """Count pixels by true and predicted class, a band of rows at a time.

    Args:
        truth: True classes (*spatial) integer; an array, or anything that gives its rows as arrays.
        predicted: Predicted classes, of the same shape.
        num_classes: Number of classes K.
        ignore_index: True value of pixels that do not count; None counts all.
        band_pixels: About how many pixels are counted at a time.

    Returns:
        Pixels (K, K) int64 by true class (row) and predicted class (column).

    Raises:
        ValueError: The shapes differ, or a counted pixel has a class outside [0, K).
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"predicted mask has shape {predicted.shape}, the true mask {truth.shape}")
    counts = np.zeros(num_classes**2, np.int64)
    for start, stop in cut_bands(truth.shape, band_pixels):
        true, guess = truth[start:stop].ravel(), predicted[start:stop].ravel()
        if ignore_index is not None:
            kept = true != ignore_index
            true, guess = true[kept], guess[kept]
        if true.size and not (min(true.min(), guess.min()) >= 0 and max(true.max(), guess.max()) < num_classes):
            raise ValueError(f"masks must hold classes in [0, {num_classes})")
        counts += np.bincount(true.astype(np.int64) * num_classes + guess, minlength=num_classes**2)
        release(truth)
        release(predicted)
    return counts.reshape(num_classes, num_classes)


def group_confusion(counts: NDArray[np.integer], predicted: NDArray[np.integer]) -> Counts:
    """Count pixels by true and predicted class where whole groups of pixels (nodes, histogram bins) get one class.

    `counts` (N, K) are the true pixels of each class in each group, `predicted` (N,) the class of the group. Equals
    the `confusion_matrix` (K, K) of the painted mask without painting it.
    """
    confusion = np.zeros((counts.shape[1], counts.shape[1]), np.int64)
    np.add.at(confusion.T, predicted, counts)
    return confusion


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> PerClass:
    """`part / whole`, NaN where `whole` is zero."""
    ratio: PerClass = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def find_true_classes(confusion: Counts) -> NDArray[np.bool_]:
    """Return which classes occur in the truth, (K,)."""
    return np.asarray(confusion.sum(axis=1) > 0)


def leave_out_absent(per_class: PerClass, confusion: Counts) -> PerClass:
    """Return scores (K,) with NaN for the classes that do not occur in the truth of a confusion matrix."""
    return np.where(find_true_classes(confusion), per_class, np.nan)


def dice(confusion: Counts) -> PerClass:
    """2 |A and B| / (|A| + |B|) per class; equals the F1 score of the class."""
    return leave_out_absent(_ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1)), confusion)


def iou(confusion: Counts) -> PerClass:
    """|A and B| / |A or B| per class (Jaccard)."""
    hit = np.diag(confusion)
    return leave_out_absent(_ratio(hit, confusion.sum(0) + confusion.sum(1) - hit), confusion)


def precision(confusion: Counts) -> PerClass:
    """Share of the pixels predicted as a class that are of it.

    Zero where the class occurs but was never predicted, and where it was predicted but never occurs.
    """
    score = _ratio(np.diag(confusion), confusion.sum(0))
    return np.where(find_true_classes(confusion) & np.isnan(score), 0.0, score)


def recall(confusion: Counts) -> PerClass:
    """Share of the pixels of a class that were predicted as it."""
    return _ratio(np.diag(confusion), confusion.sum(1))


def accuracy(confusion: Counts) -> float:
    """Share of pixels given their true class; NaN without pixels."""
    return float(_ratio(np.array([np.trace(confusion)]), np.array([confusion.sum()]))[0])


METRICS: dict[str, Callable[[Counts], PerClass]] = {"dice": dice, "iou": iou, "precision": precision, "recall": recall}


def macro(per_class: PerClass, counted: NDArray[np.bool_] | None = None) -> float:
    """Mean over the classes that have a score and are `counted` (all unless given); NaN where there are none."""
    scored = per_class[~np.isnan(per_class) & (True if counted is None else counted)]
    return float(scored.mean()) if scored.size else float("nan")


def macro_dice(confusion: Counts) -> float:
    """Mean Dice over the classes that occur in the truth; NaN without pixels. The score that selects."""
    return macro(dice(confusion))
