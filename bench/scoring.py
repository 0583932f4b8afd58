"""Predicted masks become rows of `scores`, by image and pooled; where there are superpixels, their ceiling too."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench import metrics
from bench.datasets.sample import Task
from bench.metrics import ImageScore, Row
from bench.superpixels import quality


@dataclass
class SplitScores:
    """Scores of one split, added up an image at a time. `tolerance` in pixels, for everything about boundaries."""

    task: Task
    tolerance: float
    images: list[ImageScore] = field(default_factory=list)
    ceilings: list[ImageScore] = field(default_factory=list)
    superpixels: list[dict[str, float]] = field(default_factory=list)

    def add(
        self,
        image: str,
        truth: NDArray[np.integer],
        predicted: NDArray[np.integer],
        segments: NDArray[np.int32] | None = None,
    ) -> None:
        """Score one prediction, (*spatial) like `truth`; with `segments` also what those could have reached at best."""
        classes, ignored = self.task.num_classes, self.task.ignore_index
        self.images.append(metrics.score_image(image, truth, predicted, classes, self.tolerance, ignored))
        if segments is None:
            return
        best = quality.oracle_mask(truth, segments, classes, ignored)
        confusion = metrics.confusion_matrix(truth, best, classes, ignored)
        self.ceilings.append(ImageScore(image, confusion, ()))
        self.superpixels.append(
            {
                "undersegmentation_error": quality.undersegmentation_error(truth, segments, ignored),
                "boundary_recall": quality.boundary_recall(truth, segments, self.tolerance, ignored),
            }
        )

    def macro_dice(self) -> float:
        """Pooled over the images' pixels, mean over the classes."""
        return metrics.macro(metrics.dice(metrics.pool(self.images).confusion))

    def rows(self) -> list[Row]:
        """Rows (image, metric, class, value) of every image and of all together (image `all`).

        `all` pools pixels; the two measures of the superpixels themselves are means over the images.
        """
        made = [row for score in (*self.images, metrics.pool(self.images)) for row in metrics.rows(score, self._names)]
        if self.ceilings:
            pooled = ImageScore("all", np.sum([score.confusion for score in self.ceilings], axis=0), ())
            made += [row for score in (*self.ceilings, pooled) for row in self._ceiling_rows(score)]
            made += self._superpixel_rows()
        return made

    @property
    def _names(self) -> tuple[str, ...]:
        return self.task.class_names

    def _ceiling_rows(self, score: ImageScore) -> list[Row]:
        per_class = metrics.dice(score.confusion)
        values = [*per_class, metrics.macro(per_class)]
        named = [("oracle_dice", name, v) for name, v in zip((*self._names, "macro"), values, strict=True)]
        named.append(("oracle_accuracy", "macro", metrics.accuracy(score.confusion)))
        return [{"image": score.image, "metric": m, "class": c, "value": float(v)} for m, c, v in named]

    def _superpixel_rows(self) -> list[Row]:
        images = [score.image for score in self.ceilings]
        return [
            {"image": image, "metric": metric, "class": "macro", "value": value}
            for metric in ("undersegmentation_error", "boundary_recall")
            for image, value in zip(
                (*images, "all"), _with_mean([scores[metric] for scores in self.superpixels]), strict=True
            )
        ]


def _with_mean(values: list[float]) -> list[float]:
    """The values, and their mean over those that are defined."""
    known = [value for value in values if not np.isnan(value)]
    return [*values, float(np.mean(known)) if known else float("nan")]
