"""Scores of predicted masks against true ones, on pixels. It cannot tell the arms apart.

Everything that counts pixels comes from one confusion matrix. A class that occurs neither in the truth nor in the
prediction has no score: NaN here, an empty cell in the tables, left out of the macro mean. Ignored pixels do not count.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.arrays.rows import cut_bands

Counts = NDArray[np.int64]  # (K, K): rows are the truth, columns the prediction
PerClass = NDArray[np.float64]  # (K,)
BAND_PIXELS = 1 << 22  # of a mask, counted at once
SHIFTED = 4.0  # tolerance in pixels up to which shifting the edges about beats a distance transform


def confusion_matrix(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    num_classes: int,
    ignore_index: int | None = None,
    band_pixels: int = BAND_PIXELS,
) -> Counts:
    """Pixels by true (row) and predicted (column) class, (K, K) int64.

    Counted in bands of about `band_pixels` pixels. Raises ValueError for masks of unlike shape and for classes outside
    [0, num_classes).
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"predicted mask has shape {predicted.shape}, the true mask {truth.shape}")
    counts = np.zeros((num_classes, num_classes), np.int64)
    for start, stop in cut_bands(truth.shape, band_pixels):  # bounded scratch memory, whatever the image's size
        true, guess = truth[start:stop].ravel(), predicted[start:stop].ravel()
        if ignore_index is not None:
            kept = true != ignore_index
            true, guess = true[kept], guess[kept]
        if true.size and not (min(true.min(), guess.min()) >= 0 and max(true.max(), guess.max()) < num_classes):
            raise ValueError(f"masks must hold classes in [0, {num_classes})")
        pairs = true.astype(np.int64) * num_classes + guess
        counts += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> PerClass:
    """`part / whole`, NaN where `whole` is zero."""
    ratio: PerClass = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def dice(confusion: Counts) -> PerClass:
    """2 |A and B| / (|A| + |B|) per class; equals the F1 score of the class."""
    return _ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def iou(confusion: Counts) -> PerClass:
    """|A and B| / |A or B| per class (Jaccard)."""
    hit = np.diag(confusion)
    return _ratio(hit, confusion.sum(0) + confusion.sum(1) - hit)


def precision(confusion: Counts) -> PerClass:
    """Share of the pixels predicted as a class that are of it. Zero where the class occurs but was never predicted."""
    return _zero_where_missed(_ratio(np.diag(confusion), confusion.sum(0)), confusion)


def recall(confusion: Counts) -> PerClass:
    """Share of the pixels of a class that were predicted as it. Zero where the class was predicted but never occurs."""
    return _zero_where_missed(_ratio(np.diag(confusion), confusion.sum(1)), confusion)


def _zero_where_missed(score: PerClass, confusion: Counts) -> PerClass:
    occurs = confusion.sum(0) + confusion.sum(1) > 0
    return np.where(occurs & np.isnan(score), 0.0, score)


def accuracy(confusion: Counts) -> float:
    """Share of pixels given their true class; NaN without pixels."""
    return float(_ratio(np.array([np.trace(confusion)]), np.array([confusion.sum()]))[0])


METRICS: dict[str, Callable[[Counts], PerClass]] = {"dice": dice, "iou": iou, "precision": precision, "recall": recall}


def macro(per_class: PerClass) -> float:
    """Mean over the classes that have a score; NaN where none has."""
    scored = per_class[~np.isnan(per_class)]
    return float(scored.mean()) if scored.size else float("nan")


# ------------------------------------------------------------------------------------------------- boundaries


@dataclass(frozen=True)
class BoundaryHits:
    """Boundary pixels of one class, summable over images: all of either side, and those near the other side."""

    predicted_near: int = 0
    predicted: int = 0
    true_near: int = 0
    true: int = 0

    def __add__(self, other: "BoundaryHits") -> "BoundaryHits":
        return BoundaryHits(
            self.predicted_near + other.predicted_near,
            self.predicted + other.predicted,
            self.true_near + other.true_near,
            self.true + other.true,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of boundary precision and recall; 0 where one side has no boundary, NaN where neither has."""
        if self.predicted + self.true == 0:
            return float("nan")
        if self.predicted_near == 0 or self.true_near == 0:
            return 0.0
        precise, complete = self.predicted_near / self.predicted, self.true_near / self.true
        return 2 * precise * complete / (precise + complete)


def class_boundary(mask: NDArray[np.integer], label: int) -> NDArray[np.bool_]:
    """Pixels of `label` with a face neighbour of another class; the image's edge is no boundary. (*spatial) bool."""
    inside: NDArray[np.bool_] = mask == label
    edge = np.zeros_like(inside)
    for axis in range(mask.ndim):
        before, after = _shifted(mask.ndim, axis)
        differs = inside[before] != inside[after]
        edge[before] |= differs
        edge[after] |= differs
    edge &= inside
    return edge


def _shifted(ndim: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two index tuples whose views are neighbours along `axis`."""
    whole = [slice(None)] * ndim
    before, after = whole.copy(), whole.copy()
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def boundary_hits(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    num_classes: int,
    tolerance: float,
    ignore_index: int | None = None,
) -> list[BoundaryHits]:
    """Boundary matches within `tolerance` pixels (Euclidean), per class. Csurka et al., BMVC 2013: the boundary F1."""
    kept = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    return [
        _hits(class_boundary(truth, label) & kept, class_boundary(predicted, label) & kept, tolerance)
        for label in range(num_classes)
    ]


def _hits(true: NDArray[np.bool_], predicted: NDArray[np.bool_], tolerance: float) -> BoundaryHits:
    near_true, near_predicted = _near(true, tolerance), _near(predicted, tolerance)
    return BoundaryHits(
        int((predicted & near_true).sum()), int(predicted.sum()), int((true & near_predicted).sum()), int(true.sum())
    )


def _near(edge: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Pixels within `tolerance` (Euclidean) of an edge pixel."""
    if not edge.any():
        return edge
    if tolerance > SHIFTED:
        far: NDArray[np.bool_] = ndimage.distance_transform_edt(~edge) <= tolerance
        return far
    near = np.zeros_like(edge)
    reach = range(-int(tolerance), int(tolerance) + 1)
    for offset in itertools.product(reach, repeat=edge.ndim):
        if sum(step * step for step in offset) <= tolerance * tolerance:
            there = tuple(slice(max(step, 0), min(step, 0) or None) for step in offset)
            here = tuple(slice(max(-step, 0), min(-step, 0) or None) for step in offset)
            near[there] |= edge[here]
    return near


# ------------------------------------------------------------------------------------------------------- rows

Row = dict[str, str | float]


@dataclass(frozen=True)
class ImageScore:
    """What one predicted mask adds to the pool."""

    image: str
    confusion: Counts
    boundaries: Sequence[BoundaryHits]


def score_image(
    image: str,
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    num_classes: int,
    tolerance: float,
    ignore_index: int | None = None,
) -> ImageScore:
    """All the counts of one image."""
    return ImageScore(
        image,
        confusion_matrix(truth, predicted, num_classes, ignore_index),
        boundary_hits(truth, predicted, num_classes, tolerance, ignore_index),
    )


def pool(scores: Sequence[ImageScore]) -> ImageScore:
    """Counts added over images, named `all`: pooled scores come from these, not from means of scores."""
    boundaries = [sum(per_class, BoundaryHits()) for per_class in zip(*(s.boundaries for s in scores), strict=True)]
    return ImageScore("all", np.sum([s.confusion for s in scores], axis=0), boundaries)


def rows(score: ImageScore, class_names: Sequence[str]) -> list[Row]:
    """Tidy rows (image, metric, class, value) of one image or of the pool."""
    made: list[Row] = [
        {"image": score.image, "metric": "accuracy", "class": "macro", "value": accuracy(score.confusion)}
    ]
    for metric, formula in METRICS.items():
        made += _class_rows(score.image, metric, formula(score.confusion), class_names)
    boundary = np.array([hits.f1 for hits in score.boundaries])
    return made + _class_rows(score.image, "boundary_f1", boundary, class_names)


def _class_rows(image: str, metric: str, per_class: PerClass, class_names: Sequence[str]) -> list[Row]:
    named = zip((*class_names, "macro"), (*per_class, macro(per_class)), strict=True)
    return [{"image": image, "metric": metric, "class": name, "value": float(value)} for name, value in named]
