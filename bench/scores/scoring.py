"""Predicted masks become rows of `scores`, by image and pooled; where there are superpixels, their ceiling too."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arms import ARMS
from bench.arrays.protocols import Readable
from bench.config import Config, SuperpixelsConfig, TilesConfig
from bench.datasets.sample import Sample, Task
from bench.scores import metrics
from bench.scores.boundaries import Matches, match_boundaries
from bench.scores.metrics import Counts, PerClass
from bench.scores.reduction import count_reduced, reduce_and_restore
from bench.scores.spool import Spool
from bench.scores.structures import Structures, match_structures, pool_structures
from bench.scores.surfaces import SurfaceDistances, measure_surfaces

LARGE_PIXELS = 1 << 24  # larger images do not wait on disk, and have no structures: thinning takes seconds per class
ALL = "all"  # in place of an image's name: pooled over the images

Row = dict[str, str | float]
Mask = NDArray[np.integer]
Waiting = tuple[Sample, int, int | None]  # a sample, and the numbers of its arrays in the spool


def choose_voting(config: Config) -> SuperpixelsConfig | None:
    """The superpixels onto which a pixel arm's masks are voted, if the settings ask for it."""
    is_voted = config.metrics.voted and not ARMS[config.pipeline.name].uses_superpixels
    return config.superpixels if is_voted else None


def find_scale(config: Config) -> int:
    """Return the side of the blocks of pixels that the arm's network sees as one; 1 for every other arm."""
    return config.pipeline.scale if isinstance(config.pipeline, TilesConfig) else 1


@dataclass(frozen=True)
class ImageScore:
    """What one predicted mask adds to the pool: its confusion matrix, and the boundary matches of each class."""

    image: str
    confusion: Counts
    boundaries: Sequence[Matches] = ()


def pool_scores(scores: Sequence[ImageScore]) -> ImageScore:
    """Add counts up over images: pooled scores come from these, not from means of scores."""
    boundaries = [sum(per_class, Matches()) for per_class in zip(*(s.boundaries for s in scores), strict=True)]
    return ImageScore(ALL, np.sum([s.confusion for s in scores], axis=0), boundaries)


@dataclass
class SplitScores:
    """Scores of one split, added up an image at a time.

    Attributes:
        task: Classes, and the value of pixels that do not count.
        tolerance: Of everything about boundaries, in pixels; of pixels that are no cubes, in their shortest side.
        voting: Superpixels onto which predictions are also voted; None votes none.
        spool: Where predictions wait for `finish`; None scores them at once.
        scale: Side of the blocks of pixels that the arm's network sees as one; the ceiling is then that of the blocks.
        large_pixels: Largest image that waits in the spool and whose structures are compared.
        images: Of the predictions.
        ceilings: Of the best masks that the superpixels, or the blocks of a lower resolution, can paint.
        votes: Of the predictions as voted onto superpixels.
        superpixels: Errors of the superpixels of each image.
        structures: Of the predictions ("") and of the ceilings ("oracle_"); None for an image that is too large.
        surfaces: Distances between borders, where the task has the lengths of pixels and no image is too large.
    """

    task: Task
    tolerance: float
    voting: SuperpixelsConfig | None = None
    spool: Spool | None = None
    scale: int = 1
    large_pixels: int = LARGE_PIXELS
    images: list[ImageScore] = field(default_factory=list)
    ceilings: list[ImageScore] = field(default_factory=list)
    votes: list[ImageScore] = field(default_factory=list)
    superpixels: list[dict[str, float]] = field(default_factory=list)
    structures: dict[str, list[list[Structures] | None]] = field(default_factory=dict)
    surfaces: list[list[SurfaceDistances]] = field(default_factory=list)
    _waiting: list[Waiting] = field(default_factory=list)

    def add(self, sample: Sample, predicted: Mask, segments: NDArray[np.int32] | None = None) -> None:
        """Score one prediction, and what its superpixels could have reached at best.

        With a spool it waits on disk until `finish`, as scoring takes several times an image's memory and loads
        libraries. An image of more than `large_pixels` is scored at once, without its structures.

        Args:
            sample: The image and its true mask (*spatial).
            predicted: Predicted classes, of the same shape.
            segments: Superpixels (*spatial), or several segmentations (V, *spatial), whose ceiling is the mean of
                their true shares and whose errors are means. None for an arm without superpixels.
        """
        if self.spool is None or predicted.size > self.large_pixels:
            self._score(sample, predicted, segments)
            return
        small = predicted.astype(self.task.mask_dtype, copy=False)
        number = None if segments is None else self.spool.append(segments)
        self._waiting.append((sample, self.spool.append(small), number))

    def finish(self, watch: Callable[[Sequence[Waiting]], Iterable[Waiting]] = iter) -> None:
        """Score what waits in the spool, by way of `watch`: to be called when nothing is measured any more."""
        assert self.spool is not None
        for sample, predicted, segments in watch(self._waiting):
            partition = None if segments is None else np.asarray(self.spool.read(segments), np.int32)
            self._score(sample, self.spool.read(predicted), partition)
        self._waiting.clear()

    def macro_dice(self) -> float:
        """Pooled over the images' pixels, mean over the classes."""
        return metrics.macro_dice(pool_scores(self.images).confusion)

    def find_unseen(self) -> list[str]:
        """Return the classes that the images have and no prediction has a pixel of."""
        confusion = pool_scores(self.images).confusion
        missing = (confusion.sum(axis=1) > 0) & (confusion.sum(axis=0) == 0)
        return [name for name, gone in zip(self.task.class_names, missing, strict=True) if gone]

    def rows(self) -> list[Row]:
        """Rows (image, metric, class, value) of every image and of all together (image `all`).

        `all` pools pixels; the two measures of the superpixels themselves are means over the images.
        """
        made = [row for score in self._with_pool(self.images) for row in self._mask_rows(score)]
        made += [row for score in self._with_pool(self.ceilings) for row in self._make_painted_rows("oracle", score)]
        made += self._superpixel_rows()
        made += [row for score in self._with_pool(self.votes) for row in self._make_painted_rows("voted", score)]
        for kind, structures in self.structures.items():
            made += self._structure_rows(kind, structures)
        return made + self._surface_rows()

    def _score(self, sample: Sample, predicted: Mask, segments: NDArray[np.int32] | None) -> None:
        large, ignored = predicted.size > self.large_pixels, self.task.ignore_index
        truth: Any = sample.mask if large else np.asarray(sample.mask)  # a large one is read band by band
        given = (self.task.num_classes, self.tolerance, ignored, self.task.spacing)
        boundaries = match_boundaries(truth, predicted, *given)
        self.images.append(ImageScore(sample.name, self._confusion(truth, predicted), boundaries))
        self._compare_structures("", truth, predicted)
        self._compare_surfaces(truth, predicted)
        if self.voting is not None:
            self._vote(sample, predicted, self.voting)
        if segments is None:
            if self.scale > 1:
                self._compare_resolution(sample, truth, large)
            return
        from bench.scores import ceilings  # loads numba, which an arm without superpixels does not need

        views = [*segments.reshape(-1, *truth.shape)]
        self.superpixels.append(ceilings.partition_errors(truth, views, self.tolerance, self.task))
        if large:
            self.ceilings.append(ImageScore(sample.name, ceilings.count_best(truth, views, self.task)))
            self.structures.setdefault("oracle_", []).append(None)
            return
        best = ceilings.best_mask(truth, views, self.task)
        self.ceilings.append(ImageScore(sample.name, self._confusion(truth, best)))
        self._compare_structures("oracle_", truth, best)

    def _compare_resolution(self, sample: Sample, truth: Any, large: bool) -> None:
        """Score what the true mask is at the resolution that the network sees."""
        given = (truth, self.scale, self.task.num_classes, self.task.ignore_index)
        if large:
            self.ceilings.append(ImageScore(sample.name, count_reduced(*given)))
            self.structures.setdefault("oracle_", []).append(None)
            return
        best = reduce_and_restore(*given)
        self.ceilings.append(ImageScore(sample.name, self._confusion(truth, best)))
        self._compare_structures("oracle_", truth, best)

    def _vote(self, sample: Sample, predicted: Mask, superpixels: SuperpixelsConfig) -> None:
        """Score the prediction as superpixels would paint it, views and all: what they alone cost it."""
        from bench.scores import ceilings

        voted = ceilings.vote(sample, predicted, superpixels, self.task)
        self.votes.append(ImageScore(sample.name, self._confusion(sample.mask, voted)))

    def _confusion(self, truth: Readable, predicted: Mask) -> Counts:
        return metrics.confusion_matrix(truth, predicted, self.task.num_classes, self.task.ignore_index)

    def _compare_structures(self, kind: str, truth: Mask, predicted: Mask) -> None:
        found = None
        if predicted.size <= self.large_pixels:
            found = match_structures(truth, predicted, self.task.num_classes, self.task.ignore_index)
        self.structures.setdefault(kind, []).append(found)

    def _compare_surfaces(self, truth: Mask, predicted: Mask) -> None:
        """Measure how far borders are apart, where the lengths of pixels are known."""
        spacing, ignored = self.task.spacing, self.task.ignore_index
        if spacing is None:
            return
        large = predicted.size > self.large_pixels
        found = [] if large else measure_surfaces(truth, predicted, self.task.num_classes, spacing, ignored)
        self.surfaces.append(found)

    def _with_pool(self, scores: Sequence[ImageScore]) -> list[ImageScore]:
        return [*scores, pool_scores(scores)] if scores else []

    def _mask_rows(self, score: ImageScore) -> list[Row]:
        """Everything that the confusion matrix and the boundaries of one mask tell."""
        made = [_row(score.image, "accuracy", "macro", metrics.accuracy(score.confusion))]
        for metric, formula in metrics.METRICS.items():
            made += self._class_rows(score, metric, formula(score.confusion))
        f1 = np.array([hits.f1 for hits in score.boundaries])
        return made + self._class_rows(score, "boundary_f1", metrics.leave_out_absent(f1, score.confusion))

    def _make_painted_rows(self, kind: str, score: ImageScore) -> list[Row]:
        """Dice and accuracy of a mask that has one class per superpixel: of the truth (oracle), of another (voted)."""
        made = self._class_rows(score, f"{kind}_dice", metrics.dice(score.confusion))
        return [*made, _row(score.image, f"{kind}_accuracy", "macro", metrics.accuracy(score.confusion))]

    def _superpixel_rows(self) -> list[Row]:
        images = [score.image for score in self.ceilings]
        return [
            _row(image, metric, "macro", value)
            for metric in (self.superpixels[0] if self.superpixels else ())
            for image, value in zip(
                (*images, ALL), _with_mean([errors[metric] for errors in self.superpixels]), strict=True
            )
        ]

    def _structure_rows(self, kind: str, structures: Sequence[list[Structures] | None]) -> list[Row]:
        """Of every class but the background; the ratio has no macro mean, in which fragments would hide losses."""
        names, made = self.task.class_names[1:], list[Row]()
        scores = self._with_pool(self.images)
        for score, found in zip(scores, (*structures, pool_structures(structures)), strict=True):
            image = score.image
            lines = [float("nan")] * len(names) if found is None else [one.lines.f1 for one in found]
            ratios = [float("nan")] * len(names) if found is None else [one.component_ratio for one in found]
            of_true = metrics.leave_out_absent(np.array([np.nan, *lines]), score.confusion)
            made += self._class_rows(score, f"{kind}cl_dice", of_true, 1)
            made += [_row(image, f"{kind}component_ratio", name, v) for name, v in zip(names, ratios, strict=True)]
        return made

    def _surface_rows(self) -> list[Row]:
        """Of every class, in the unit of the pixels' lengths; of images that are too large NaN, and so of all."""
        if not self.surfaces:
            return []
        nothing = [SurfaceDistances()] * self.task.num_classes
        pooled = list(nothing)
        if all(len(found) > 0 for found in self.surfaces):
            pooled = [sum(of_class, SurfaceDistances()) for of_class in zip(*self.surfaces, strict=True)]
        made = list[Row]()
        for score, found in zip(self._with_pool(self.images), (*self.surfaces, pooled), strict=True):
            distances = np.array([one.mean for one in found or nothing])
            made += self._class_rows(score, "surface_distance", metrics.leave_out_absent(distances, score.confusion))
        return made

    def _class_rows(self, score: ImageScore, metric: str, per_class: PerClass, first: int = 0) -> list[Row]:
        """A row for each class from `first` on, and their mean over the classes of the truth."""
        classes = (*self.task.class_names[first:], "macro")
        mean = metrics.macro(per_class, metrics.find_true_classes(score.confusion))
        values = (*per_class[first:], mean)
        return [_row(score.image, metric, name, value) for name, value in zip(classes, values, strict=True)]


def _row(image: str, metric: str, name: str, value: float) -> Row:
    return {"image": image, "metric": metric, "class": name, "value": float(value)}


def _with_mean(values: list[float]) -> list[float]:
    """The values, and their mean over those that are defined."""
    known = [value for value in values if not np.isnan(value)]
    return [*values, float(np.mean(known)) if known else float("nan")]
