"""The ceiling of any superpixel method: an arm that sees the true mask and paints the best that superpixels allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.config import Config, InputError
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.superpixels.labels import count_classes, paint
from bench.superpixels.registry import segment_views
from bench.superpixels.scaling import choose_n_segments
from bench.superpixels.views import compute_shares, list_views, paint_mean, warm_up_views


@dataclass(frozen=True)
class LabelledSegments:
    """Superpixels with the majority class of the true mask in each, `labels` (N,)."""

    segments: NDArray[np.int32]
    labels: NDArray[np.integer]
    facts: dict[str, float]


@dataclass(frozen=True)
class LabelledViews:
    """Several segmentations (V, *spatial) with the true shares of the classes in each superpixel, `shares` (N_v, K)."""

    segments: NDArray[np.int32]
    shares: tuple[NDArray[np.float32], ...]
    facts: dict[str, float]


Labelled = LabelledSegments | LabelledViews


class Oracle:
    """What a classifier would get that gives each of these superpixels its majority class: no other is more accurate.

    It sees the true mask of every image, test images included: a ceiling, not a method. With `superpixels.views` it
    is one that knows the true shares of the classes in each superpixel, and paints their mean.
    """

    def __init__(self, config: Config, task: Task) -> None:
        self.config, self.task = config, task
        warm_up_views(config.superpixels, task.spatial_axes, task.in_channels, task.num_classes)

    def prepare(self, sample: Sample) -> Labelled:
        """Compute the superpixels of the image, and by `sample.mask` the true classes of each."""
        views = list_views(self.config.superpixels)
        segments = list(segment_views(np.asarray(sample.image), views))
        counts = [
            count_classes(np.asarray(sample.mask), ids, self.task.num_classes, self.task.ignore_index)
            for ids in segments
        ]
        asked = sum(choose_n_segments(segments[0].shape, view) for view in views)
        facts: dict[str, float] = {"n_segments": asked, "num_nodes": sum(len(nodes) for nodes in counts)}
        if len(views) == 1:
            labels = counts[0].argmax(axis=1).astype(self.task.mask_dtype)
            return LabelledSegments(segments[0], labels, facts)
        return LabelledViews(np.stack(segments), tuple(compute_shares(nodes) for nodes in counts), facts)

    def fit(self, train_items: Sequence[Labelled], val_items: Sequence[Labelled]) -> FitLog:
        """Learn nothing: the true mask is part of every item."""
        del train_items, val_items
        return FitLog()

    def predict(self, item: Labelled) -> NDArray[np.integer]:
        """Paint the majorities, or with views the mean of the true shares, onto the pixels (*spatial)."""
        if isinstance(item, LabelledViews):
            return paint_mean(item.shares, [*item.segments])
        return paint(item.labels, item.segments)

    def save(self, path: Path) -> None:
        """Write nothing: this arm has no weights."""

    def load(self, path: Path) -> None:
        """Read nothing: this arm has no weights."""

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Refuse: a new image has no true mask.

        Args:
            image: (*spatial, C), not read.
            out: Not written.
            scratch: Not used.
            progress: Not called.

        Raises:
            InputError: Always.
        """
        del image, out, scratch, progress
        raise InputError("pipeline oracle cannot predict a new image, because it needs the true mask: use another arm")
