"""Gradient boosting on the graph network's own node features: what a graph network must beat. No torch."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.heap import return_freed_memory
from bench.arrays.protocols import Source, Writable
from bench.arrays.rows import count_rows, cut_bands, read_by_rows, release
from bench.arrays.threads import start_workers
from bench.config import Config, SuperpixelTreesConfig, TrainingConfig
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.learning.schedule import Schedule
from bench.pipelines.in_memory import hold_small
from bench.pipelines.node_votes import collect_votes, show_painting
from bench.pipelines.painting import paint_by_bands, paint_probabilities, paint_views
from bench.pipelines.scratch import StoredArray, lend_scratch, store_array, warn_of_memory
from bench.pipelines.trees.bins import Bins
from bench.pipelines.trees.boosting import Booster, boost, log_softmax, warm_up_boosting, widen
from bench.pipelines.trees.ensemble import Ensemble, EnsembleKeeper
from bench.pipelines.trees.growth import TreeSettings
from bench.pipelines.trees.nodes import (
    NodeTable,
    add_stored,
    choose_slab_rows,
    draw_nodes,
    encode_drawn,
    encode_nodes,
    find_node_bins,
    gather_drawn,
    tabulate_nodes,
)
from bench.scores.metrics import confusion_matrix, group_confusion, macro_dice
from bench.superpixels.labels import count_classes
from bench.superpixels.registry import SUPERPIXELS, segment_views
from bench.superpixels.scaling import choose_n_segments
from bench.superpixels.views import group_views, list_views, warm_up_views

BAND_PIXELS = 1 << 18  # counted, compared or painted at once
MOST_CODES = 40_000_000  # bin numbers of the nodes that trees grow on, a byte each
BAND_NODES = 1 << 16  # whose votes are computed at once
TOGETHER = 1 << 18  # segments, times channels, of the views that are pooled in one walk over an image


@dataclass(frozen=True)
class TabulatedSample:
    """A sample as tables of its superpixels, all on the disk.

    Attributes:
        tables: One for each view.
        counts: True pixels of each class in each superpixel, (N, K), of each view.
        ids: Superpixels of each view, (V, *spatial); None in training, which paints nothing.
        facts: Counts worth a column, sums over the views.
        mask: The true mask where there are several views: the score of their mean needs its pixels.
    """

    tables: tuple[NodeTable, ...]
    counts: tuple[StoredArray, ...]
    ids: StoredArray | None
    facts: dict[str, float]
    mask: StoredArray | None

    @property
    def segments(self) -> NDArray[np.int32] | None:
        """Superpixels (*spatial), or (V, *spatial) of several views."""
        return None if self.ids is None else self.list_segments()[0] if len(self.tables) == 1 else self.ids.open()

    @property
    def stored_bytes(self) -> int:
        """Bytes in files."""
        return sum(part.nbytes for part in (*self.tables, *self.counts, self.ids, self.mask) if part is not None)

    def list_segments(self) -> list[NDArray[np.int32]]:
        """Return the superpixels (*spatial) of each view."""
        assert self.ids is not None, "a training item has no superpixels to paint"
        return [*self.ids.open()]


@dataclass(frozen=True)
class HeldOut:
    """A validation item, and of each view the bin numbers (N, F) and the sums (N, columns) of the trees so far."""

    item: TabulatedSample
    codes: tuple[StoredArray, ...]
    sums: tuple[StoredArray, ...]


class SuperpixelTrees(EnsembleKeeper):
    """A pipeline (`bench.pipelines.protocol`) of boosted trees that label superpixels as a network labels nodes."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, SuperpixelTreesConfig)
        self.config, self.settings, self.task = config, config.pipeline, task
        return_freed_memory()
        self.views, self.place = list_views(config.superpixels), config.graph.scratch_dir
        warm_up_views(config.superpixels, task.spatial_axes, task.in_channels, task.num_classes)
        self._warm_up_tables()
        warm_up_boosting()

    def prepare(self, sample: Sample) -> TabulatedSample:
        """Compute the features and the true classes of the superpixels of each view."""
        place, shape = self.place, tuple(sample.mask.shape)
        image = hold_small(sample.image, place)
        ids = self._segment(image, shape)
        views = [*ids.open()]
        tables = list[NodeTable]()
        for group in group_views(self.views, image.shape, TOGETHER):
            some = views[len(tables) : len(tables) + len(group)]
            tables.extend(tabulate_nodes(image, some, self.config.graph, place))
        del image
        mask = hold_small(sample.mask, place)
        rows, classes, ignored = count_rows(shape, BAND_PIXELS), self.task.num_classes, self.task.ignore_index
        counts = tuple(store_array(count_classes(mask, own, classes, ignored, rows), place) for own in views)
        facts: dict[str, float] = {
            "n_segments": sum(choose_n_segments(shape, view) for view in self.views),
            "num_nodes": sum(table.num_nodes for table in tables),
            "num_edges": sum(len(table.neighbours) for table in tables),
        }
        kept = None if len(views) == 1 else store_array(read_by_rows(mask), place)
        return TabulatedSample(tuple(tables), counts, ids, facts, kept)

    def reduce_item(self, item: TabulatedSample) -> TabulatedSample:
        """Return the tables of a training item: `fit` needs no superpixels, which take four bytes for each pixel."""
        return replace(item, ids=None, mask=None)

    def fit(self, train_items: Sequence[TabulatedSample], val_items: Sequence[TabulatedSample]) -> FitLog:
        """Boost until the pixel score of the validation images stops improving; keep the trees up to the best one."""
        started_ns = time.perf_counter_ns()
        settings, rng = self.settings, np.random.default_rng(self.config.seed)
        tables = [table for item in train_items for table in item.tables]
        most = max(min(settings.sample_nodes, MOST_CODES // tables[0].count_columns(settings.hops)), 2)
        sample = draw_nodes([nodes for item in train_items for nodes in item.counts], most, rng)
        drawn = gather_drawn(tables, sample, settings.hops, self.place)
        bins = find_node_bins(drawn, rng)
        codes = encode_drawn(drawn, bins)
        del drawn
        growth = TreeSettings(settings.leaves, settings.least_nodes, 0.0, settings.learning_rate)
        with start_workers(codes.shape) as workers:
            booster = Booster(codes, sample.labels, sample.weights, self.task.num_classes, growth, workers)
            held_out = [self._hold_out(item, bins, booster.start) for item in val_items]
            self.ensemble, log = boost(
                booster,
                bins,
                self._schedule(),
                lambda grown: self._validate(held_out, grown),
                started_ns,
                settings.name,
            )
        stored = sum(item.stored_bytes for item in (*train_items, *val_items))
        return replace(log, facts={**log.facts, "stored_bytes": stored}, flags=warn_of_memory(self.place, stored))

    def predict(self, item: TabulatedSample) -> NDArray[np.integer]:
        """Paint the classes of the superpixels onto the pixels (*spatial)."""
        segments = item.list_segments()
        out = np.empty(segments[0].shape, self.task.mask_dtype)
        votes = [self._vote(self._sum_trees(table, self.place)) for table in item.tables]
        paint_by_bands(votes, segments, out, BAND_PIXELS, lambda _: None)
        return out

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image in bands, to the same bits as `predict`.

        In memory is the table of one segmentation at a time.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for superpixels, and tables and bin numbers of nodes.
            progress: Called with the share done, in (0, 1].
        """
        segments, votes = self._predict_nodes(image, scratch, progress, self._vote)
        paint_by_bands(votes, segments, out, BAND_PIXELS, show_painting(progress))

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image in bands, and its class probabilities, as `Probabilistic` describes it.

        Those of several segmentations are means of log p.

        Args:
            image: (*spatial, C).
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Folder for superpixels, and tables and bin numbers of nodes.
            progress: Called with the share done, in (0, 1].
        """
        segments, votes = self._predict_nodes(image, scratch, progress, _log_probabilities)
        paint_probabilities(votes, segments, mask, shares, BAND_PIXELS, show_painting(progress))

    def _predict_nodes(
        self,
        image: Source,
        scratch: Path,
        progress: Callable[[float], None],
        vote: Callable[[NDArray[np.float64]], NDArray[Any]],
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[Any]]]:
        """Segments (*spatial) of each view of an image, and the votes (N, ...) of its nodes; 0.9 of the work."""
        place = str(scratch)
        image = hold_small(image, place)
        return collect_votes(
            image,
            group_views(self.views, image.shape, TOGETHER),
            scratch,
            progress,
            lambda segments: tabulate_nodes(image, segments, self.config.graph, place),
            lambda table, _: vote(self._sum_trees(table, place)),
        )

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

    def _segment(self, image: Source, shape: tuple[int, ...]) -> StoredArray:
        """Superpixels (V, *spatial) of each view; what is as large as the image is on the disk, unless it is small."""
        stored = StoredArray((len(self.views), *shape), np.int32, self.place)
        banded = all(SUPERPIXELS[view.method].banded for view in self.views)
        with ExitStack() as stack:
            on_disk = banded and choose_slab_rows(image.shape) is not None
            scratch = stack.enter_context(lend_scratch(self.place)) if on_disk else None
            for target, own in zip(stored.open(), segment_views(image, self.views, scratch), strict=True):
                for start, stop in cut_bands(shape, BAND_PIXELS):
                    target[start:stop] = own[start:stop]
                    release(target)
                    release(own)
        return stored

    def _hold_out(self, item: TabulatedSample, bins: Bins, start: NDArray[np.float64]) -> HeldOut:
        """A validation item before the first tree, whose sums are `start` (columns,)."""
        codes = tuple(encode_nodes(table, bins, self.settings.hops, self.place) for table in item.tables)
        sums = tuple(store_array(np.tile(start, (len(own), 1)), self.place) for own in codes)
        return HeldOut(item, codes, sums)

    def _validate(self, held_out: Sequence[HeldOut], grown: Ensemble) -> float:
        """Macro Dice on the pixels of all items, of what is painted once the trees `grown` are added."""
        confusion = np.zeros((self.task.num_classes, self.task.num_classes), np.int64)
        for held in held_out:
            votes = list[NDArray[Any]]()
            for codes, stored in zip(held.codes, held.sums, strict=True):
                sums = stored.open()
                add_stored(grown, codes, sums)
                votes.append(self._vote(sums))
                release(sums)
            confusion += self._confusion(held.item, votes)
        return macro_dice(confusion)

    def _confusion(self, item: TabulatedSample, votes: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        """Pixels (K, K) of an item by true and painted class."""
        classes = self.task.num_classes
        if item.mask is None:
            return group_confusion(np.asarray(item.counts[0].open()), votes[0])
        confusion, mask, segments = np.zeros((classes, classes), np.int64), item.mask.open(), item.list_segments()
        for start, stop in cut_bands(mask.shape, BAND_PIXELS):
            painted = paint_views(votes, [ids[start:stop] for ids in segments])
            confusion += confusion_matrix(mask[start:stop], painted, classes, self.task.ignore_index)
            for pages in (mask, *segments):
                release(pages)
        return confusion

    def _sum_trees(self, table: NodeTable, place: str | None) -> NDArray[np.float64]:
        """The sums (N, columns) of the trees at the nodes of a table, whose bin numbers lie in `place` for a while."""
        ensemble = self.fitted()
        codes = encode_nodes(table, Bins(ensemble.edges), self.settings.hops, place)
        sums = np.tile(ensemble.start, (len(codes), 1))
        add_stored(ensemble, codes, sums)
        return sums

    def _vote(self, sums: NDArray[np.float64]) -> NDArray[Any]:
        """What nodes with these sums (N, columns) vote: classes (N,) or, of one of several views, log p (N, K)."""
        if len(self.views) > 1:
            return _log_probabilities(sums)
        return np.asarray(widen(sums).argmax(axis=1), self.task.mask_dtype)

    def _warm_up_tables(self) -> None:
        """Compile what tables need, on a tiny image of two segments, in the system's own folder for temporary files.

        A run that was trained with another `graph.scratch_dir` can be loaded where there is no such folder.
        """
        shape = (4,) * self.task.spatial_axes
        segments = np.zeros(shape, np.int32)
        segments[2:] = 1
        image = np.zeros((*shape, self.task.in_channels), np.float32)
        [table] = tabulate_nodes(image, [segments], self.config.graph, None)
        hops, rng = self.settings.hops[:1], np.random.default_rng(0)
        sample = draw_nodes([store_array(np.eye(2, dtype=np.int64), None)], 2, rng)
        drawn = gather_drawn([table], sample, hops, None)
        bins = find_node_bins(drawn, rng)
        encode_drawn(drawn, bins)
        encode_nodes(table, bins, hops, None)


def _log_probabilities(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log p (N, K) of nodes with these sums (N, columns), some nodes at a time."""
    votes = np.empty((len(sums), max(sums.shape[1], 2)), np.float32)
    for low, high in cut_bands(sums.shape, rows=BAND_NODES):
        votes[low:high] = log_softmax(widen(sums[low:high]))
    return votes
