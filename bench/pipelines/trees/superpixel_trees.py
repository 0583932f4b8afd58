"""Gradient boosting on the graph network's own node features: what a graph network must beat. No torch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.arrays.threads import start_workers
from bench.config import Config, SuperpixelTreesConfig, TrainingConfig
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.learning.schedule import Schedule
from bench.pipelines.painting import paint_by_bands, paint_probabilities, paint_views
from bench.pipelines.trees.bins import Bins
from bench.pipelines.trees.boosting import Booster, boost, log_softmax, warm_up_boosting, widen
from bench.pipelines.trees.ensemble import EnsembleKeeper
from bench.pipelines.trees.growth import TreeSettings
from bench.pipelines.trees.nodes import (
    NodeTable,
    draw_nodes,
    encode_drawn,
    encode_nodes,
    find_node_bins,
    tabulate_nodes,
)
from bench.scores.metrics import confusion_matrix, group_confusion, macro_dice
from bench.superpixels.labels import count_classes
from bench.superpixels.registry import segment_views, warm_up_segmentation
from bench.superpixels.scaling import choose_n_segments
from bench.superpixels.views import group_views, list_views

BAND_PIXELS = 1 << 24  # painted at once


@dataclass(frozen=True)
class TabulatedSample:
    """A sample as tables of its superpixels.

    Attributes:
        tables: One for each view.
        counts: True pixels of each class in each superpixel, (N, K), of each view.
        segments: (*spatial), or (V, *spatial) of several views.
        facts: Counts worth a column, sums over the views.
        mask: The true mask where there are several views: how good their mean is can only be told by the pixel.
    """

    tables: tuple[NodeTable, ...]
    counts: tuple[NDArray[np.int64], ...]
    segments: NDArray[np.int32]
    facts: dict[str, float]
    mask: NDArray[np.integer] | None


class SuperpixelTrees(EnsembleKeeper):
    """A pipeline (`bench.pipelines.protocol`) of boosted trees that label superpixels as a network labels nodes."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, SuperpixelTreesConfig)
        self.config, self.settings, self.task = config, config.pipeline, task
        self.views = list_views(config.superpixels)
        warm_up_segmentation(task.spatial_axes, task.in_channels, config.superpixels)
        self._warm_up_tables()
        warm_up_boosting()

    def prepare(self, sample: Sample) -> TabulatedSample:
        """Compute the features and the true classes of the superpixels of each view."""
        image, mask = np.asarray(sample.image), np.asarray(sample.mask)
        views = list(segment_views(image, self.views))
        tables = tuple(tabulate_nodes(image, views, self.config.graph))
        counts = tuple(count_classes(mask, ids, self.task.num_classes, self.task.ignore_index) for ids in views)
        facts: dict[str, float] = {
            "n_segments": sum(choose_n_segments(mask.shape, view) for view in self.views),
            "num_nodes": sum(len(table.rows) for table in tables),
            "num_edges": sum(2 * len(table.pairs) for table in tables),
        }
        if len(views) == 1:
            return TabulatedSample(tables, counts, views[0], facts, None)
        return TabulatedSample(tables, counts, np.stack(views), facts, mask)

    def fit(self, train_items: Sequence[TabulatedSample], val_items: Sequence[TabulatedSample]) -> FitLog:
        """Boost until the pixel score of the validation images stops improving; keep the trees up to the best one."""
        started_ns = time.perf_counter_ns()
        settings, rng = self.settings, np.random.default_rng(self.config.seed)
        tables = [table for item in train_items for table in item.tables]
        sample = draw_nodes([nodes for item in train_items for nodes in item.counts], settings.sample_nodes, rng)
        bins = find_node_bins(tables, sample, settings.hops, rng)
        codes = encode_drawn(tables, sample, bins, settings.hops)
        held_out = [encode_nodes(table, bins, settings.hops) for item in val_items for table in item.tables]
        growth = TreeSettings(settings.leaves, settings.least_nodes, 0.0, settings.learning_rate)
        with start_workers(codes.shape) as workers:
            booster = Booster(codes, sample.labels, sample.weights, self.task.num_classes, growth, workers)
            self.ensemble, log = boost(
                booster,
                bins,
                self._schedule(),
                held_out,
                lambda sums: self._score(val_items, iter(sums)),
                started_ns,
                settings.name,
            )
        return log

    def predict(self, item: TabulatedSample) -> NDArray[np.integer]:
        """Paint the classes of the superpixels onto the pixels (*spatial)."""
        views = [item.segments] if len(item.tables) == 1 else [*item.segments]
        return paint_views([self._vote(self._sum_trees(table)) for table in item.tables], views)

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """As `bench.pipelines.protocol.Pipeline.predict_into`; in memory is the table of one segmentation at a time."""
        segments, votes = self._predict_nodes(image, scratch, progress, self._vote)
        paint_by_bands(votes, segments, out, BAND_PIXELS, lambda share: progress(0.9 + 0.1 * share))

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """As `bench.pipelines.protocol.Probabilistic`; of several segmentations by the mean of log p."""
        segments, votes = self._predict_nodes(image, scratch, progress, _log_probabilities)
        paint_probabilities(votes, segments, mask, shares, BAND_PIXELS, lambda share: progress(0.9 + 0.1 * share))

    def _predict_nodes(
        self,
        image: Source,
        scratch: Path,
        progress: Callable[[float], None],
        vote: Callable[[NDArray[np.float64]], NDArray[Any]],
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[Any]]]:
        """Segments (*spatial) of each view of an image, and the votes (N, ...) of its nodes; 0.9 of the work."""
        votes: list[NDArray[Any]] = []
        segments: list[NDArray[np.int32]] = []
        step = 0.9 / len(self.views)
        for group in group_views(self.views, image.shape):
            for done, ids in enumerate(segment_views(image, group, scratch)):
                segments.append(ids)
                progress((len(votes) + 0.67 * (done + 1)) * step)
            for table in tabulate_nodes(image, segments[len(votes) :], self.config.graph):
                votes.append(vote(self._sum_trees(table)))
                del table
                progress((0.67 * len(segments) + 0.33 * len(votes)) * step)
        return segments, votes

    def _schedule(self) -> Schedule:
        """The rule by which networks stop, with this arm's own numbers and without a cool-down."""
        settings = self.settings
        rules = TrainingConfig(
            steps=settings.iterations,
            patience=settings.patience,
            min_gain=settings.min_gain,
            validate_every=settings.validate_every,
            warmup=0,
            cooldown=0.0,
        )
        return Schedule(rules, steps_per_epoch=1)

    def _sum_trees(self, table: NodeTable) -> NDArray[np.float64]:
        """The sums (N, columns) of the trees at the nodes of a table."""
        ensemble = self.fitted()
        return ensemble.sum_trees(encode_nodes(table, Bins(ensemble.edges), self.settings.hops))

    def _vote(self, sums: NDArray[np.float64]) -> NDArray[Any]:
        """What nodes with these sums (N, columns) vote: classes (N,) or, of one of several views, log p (N, K)."""
        if len(self.views) > 1:
            return _log_probabilities(sums)
        return np.asarray(widen(sums).argmax(axis=1), np.min_scalar_type(self.task.num_classes - 1))

    def _score(self, items: Sequence[TabulatedSample], sums: Iterator[NDArray[np.float64]]) -> float:
        """Macro Dice on the pixels of all items, of what these sums of their tables, in order, would paint."""
        confusion = np.zeros((self.task.num_classes, self.task.num_classes), np.int64)
        for item in items:
            votes = [self._vote(next(sums)) for _ in item.tables]
            if item.mask is None:
                confusion += group_confusion(item.counts[0], votes[0])
            else:
                painted = paint_views(votes, [*item.segments])
                confusion += confusion_matrix(item.mask, painted, self.task.num_classes, self.task.ignore_index)
        return macro_dice(confusion)

    def _warm_up_tables(self) -> None:
        """Compile what tables need, on a tiny image of two segments."""
        shape = (4,) * self.task.spatial_axes
        segments = np.zeros(shape, np.int32)
        segments[2:] = 1
        image = np.zeros((*shape, self.task.in_channels), np.float32)
        [table] = tabulate_nodes(image, [segments], self.config.graph)
        hops = self.settings.hops[:1]
        sample = draw_nodes([np.eye(2, dtype=np.int64)], 2, np.random.default_rng(0))
        encode_nodes(table, find_node_bins([table], sample, hops, np.random.default_rng(0)), hops)


def _log_probabilities(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    return log_softmax(widen(sums)).astype(np.float32)
