"""Predicted masks become rows of `scores`, by image and pooled; where there are superpixels, their ceiling too."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.arms import ARMS
from bench.config import Config, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.scores import metrics
from bench.scores.metrics import ImageScore, Row
from bench.superpixels import quality
from bench.superpixels.registry import segment
from bench.superpixels.views import list_views, paint_oracle_views


def voting(config: Config) -> SuperpixelsConfig | None:
    """The superpixels onto which a pixel arm's masks are voted, if the settings ask for it."""
    asked = config.metrics.voted and not ARMS[config.pipeline.name].uses_superpixels
    return config.superpixels if asked else None


@dataclass
class SplitScores:
    """Scores of one split, added up an image at a time. `tolerance` in pixels, for everything about boundaries."""

    task: Task
    tolerance: float
    voting: SuperpixelsConfig | None = None  # superpixels onto which predictions are voted, by `add_vote`
    images: list[ImageScore] = field(default_factory=list)
    ceilings: list[ImageScore] = field(default_factory=list)
    votes: list[ImageScore] = field(default_factory=list)
    superpixels: list[dict[str, float]] = field(default_factory=list)

    def add(
        self,
        image: str,
        truth: NDArray[np.integer],
        predicted: NDArray[np.integer],
        segments: NDArray[np.int32] | None = None,
    ) -> None:
        """Score one prediction, (*spatial) like `truth`; with `segments` also what those could have reached at best.

        Of several segmentations (V, *spatial) that is the mean of their true shares, and their errors are means.
        """
        classes, ignored = self.task.num_classes, self.task.ignore_index
        self.images.append(metrics.score_image(image, truth, predicted, classes, self.tolerance, ignored))
        if segments is None:
            return
        views = [*segments.reshape(-1, *truth.shape)]
        best = paint_oracle_views(truth, views, classes, ignored)
        confusion = metrics.confusion_matrix(truth, best, classes, ignored)
        self.ceilings.append(ImageScore(image, confusion, ()))
        errors = [quality.undersegmentation_error(truth, ids, ignored) for ids in views]
        recalls = [quality.boundary_recall(truth, ids, self.tolerance, ignored) for ids in views]
        self.superpixels.append(
            {"undersegmentation_error": float(np.mean(errors)), "boundary_recall": float(np.mean(recalls))}
        )

    def add_vote(self, sample: Sample, predicted: NDArray[np.integer]) -> None:
        """Score the prediction as these superpixels would paint it, views and all: what they alone cost it."""
        if self.voting is None:
            return
        classes, ignored = self.task.num_classes, self.task.ignore_index
        views = [segment(np.asarray(sample.image), view) for view in list_views(self.voting)]
        voted = paint_oracle_views(predicted, views, classes)
        confusion = metrics.confusion_matrix(np.asarray(sample.mask), voted, classes, ignored)
        self.votes.append(ImageScore(sample.name, confusion, ()))

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
            made += [row for score in (*self.ceilings, pooled) for row in self._superposed_rows("oracle", score)]
            made += self._superpixel_rows()
        if self.votes:
            pooled = ImageScore("all", np.sum([score.confusion for score in self.votes], axis=0), ())
            made += [row for score in (*self.votes, pooled) for row in self._superposed_rows("voted", score)]
        return made

    @property
    def _names(self) -> tuple[str, ...]:
        return self.task.class_names

    def _superposed_rows(self, kind: str, score: ImageScore) -> list[Row]:
        """Dice and accuracy of a mask that has one class per superpixel: of the truth (oracle), of another (voted)."""
        per_class = metrics.dice(score.confusion)
        values = [*per_class, metrics.macro(per_class)]
        named = [(f"{kind}_dice", name, v) for name, v in zip((*self._names, "macro"), values, strict=True)]
        named.append((f"{kind}_accuracy", "macro", metrics.accuracy(score.confusion)))
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
