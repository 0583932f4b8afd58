"""Both together: a U-Net on a smaller image gives the surroundings, a graph of superpixels draws the boundaries.

The U-Net sees the image at a fraction of its resolution, for a fraction of the work. Its class probabilities, pooled
into superpixels at full resolution, are further features of the nodes. Both stages learn from the training images
alone, and the validation images choose the weights of either.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.protocols import Source, Writable
from bench.arrays.scratch import Storage
from bench.config import CoarseGnnConfig, Config, TrainingConfig, require
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.pipelines.both.scores import append_scores, append_to_item, append_when_made, score_image
from bench.pipelines.cnn.tiled_cnn import TiledCnn
from bench.pipelines.cnn.tiled_image import TiledImage
from bench.pipelines.gnn.items import Item, paint_item
from bench.pipelines.gnn.segmented import SegmentedSample
from bench.pipelines.gnn.superpixel_gnn import BAND_PIXELS, SuperpixelGnn
from bench.pipelines.node_votes import VOTED, show_painting
from bench.pipelines.painting import paint_by_bands, paint_probabilities
from bench.pipelines.scratch import map_scratch
from bench.scores.metrics import confusion_matrix, macro_dice

LEAST = 1e-6  # probability of a class that the U-Net rules out, in logarithms
COARSE_SHARE = 0.3  # of a prediction's progress


Graphs = TypeVar("Graphs", bound=Item | SegmentedSample)


@dataclass(frozen=True)
class CoarseItem(Generic[Graphs]):
    """A sample as graphs of superpixels, and its pixels for the U-Net."""

    graph: Graphs
    tiled: TiledImage

    @property
    def segments(self) -> NDArray[np.int32]:
        """Superpixels (*spatial), or (V, *spatial) of several views."""
        return self.graph.segments

    @property
    def facts(self) -> dict[str, float]:
        """Counts of the graph and of the tiles."""
        return {**self.graph.facts, **self.tiled.facts}


class CoarseGnn:
    """A pipeline (`bench.pipelines.protocol`) of two stages, each the arm that it is alone."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, CoarseGnnConfig)
        self.config, self.settings, self.task = config, config.pipeline, task
        self.gnn = SuperpixelGnn(config if self.settings.refine else leave_out_features(config), task)
        if self.settings.jitter > 0:
            self.gnn.response = self.gnn.response.extend(2 * task.num_classes)
        stages = 2 * self.settings.folds if self.settings.refine else 1
        training = limit_steps(config.training, self.settings.coarse_steps, 1 / stages)
        self.coarse = [
            TiledCnn(replace(config, pipeline=self.settings.coarse, training=training, seed=config.seed + fold), task)
            for fold in range(self.settings.folds)
        ]

    def try_settings(self) -> None:
        """Build a U-Net and let it go. Raises `InputError` for settings that do not fit together."""
        self.coarse[0].try_settings()

    def prepare(self, sample: Sample) -> CoarseItem[Item]:
        """Make the graphs of the sample, and cut it into tiles."""
        return CoarseItem(self.gnn.prepare(sample), self.coarse[0].prepare(sample))

    def prepare_once(self, sample: Sample) -> CoarseItem[Item | SegmentedSample]:
        """Segment the sample, and cut it into tiles."""
        return CoarseItem(self.gnn.prepare_once(sample), self.coarse[0].prepare(sample))

    def fit(self, train_items: Sequence[CoarseItem[Item]], val_items: Sequence[CoarseItem[Item]]) -> FitLog:
        """Train the U-Net, then the graph network on its scores; both keep the weights that validate best."""
        started_ns = time.perf_counter_ns()
        tiled, val_tiled = [item.tiled for item in train_items], [item.tiled for item in val_items]
        folds = split_folds(len(train_items), len(self.coarse))
        require(all(folds), f"pipeline.folds must not exceed the training images, {len(train_items)}, got {len(folds)}")
        validate = None if self.settings.refine else lambda: self._score(val_items)
        logs = [
            network.fit([tiled[index] for index in learned], val_tiled, validate)
            for network, learned in zip(self.coarse, folds, strict=True)
        ]
        coarse_score = min(log.best_score or 0.0 for log in logs)
        coarse_steps = sum(log.steps or 0 for log in logs)
        stored = sum(item.stored_bytes for item in (*tiled, *val_tiled))
        own = {"coarse_steps": coarse_steps, "coarse_val_score": coarse_score, "stored_bytes": stored}
        facts = {**logs[0].facts, **own}
        intervals = tuple(interval for log in logs for interval in log.intervals)
        parameters = sum(log.parameters for log in logs)
        if not self.settings.refine:
            return replace(logs[0], facts=facts)
        train = [
            append_to_item(item.graph, self._score_pixels(item, [self.coarse[index % len(folds)]]))
            for index, item in enumerate(train_items)
        ]
        val = [append_to_item(item.graph, self._score_pixels(item, self.coarse)) for item in val_items]
        log = self.gnn.fit(train, val, (time.perf_counter_ns() - started_ns) / 1e9)
        return replace(
            log,
            intervals=(*intervals, *log.intervals),
            parameters=parameters + log.parameters,
            facts={**log.facts, **facts, "stored_bytes": stored + log.facts["stored_bytes"]},
            earlier_wait_seconds=sum(stage.data_wait_seconds for stage in logs),
            flags=tuple(dict.fromkeys(flag for stage in (*logs, log) for flag in stage.flags)),
        )

    def predict(self, item: CoarseItem[Any]) -> NDArray[np.integer]:
        """Paint the classes of the nodes onto the pixels (*spatial)."""
        graphs, scores = item.graph, self._score_pixels(item, self.coarse)
        append = append_when_made if isinstance(graphs, SegmentedSample) else append_to_item
        return paint_item(append(graphs, scores), self._vote, self.config.graph.scratch_dir)

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image by tiles and then in bands, to the same bits as `predict`.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for arrays as large as the image: superpixels, and the class probabilities of the U-Net.
            progress: Called with the share done, in [0, 1].
        """
        with self._nodes(image, scratch, progress, self._vote) as (segments, votes):
            paint_by_bands(votes, segments, out, BAND_PIXELS, show_painting(progress))

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image by tiles and then in bands, and its class probabilities, as `Probabilistic` describes it.

        The probabilities are those of the graph network. Without `pipeline.refine` they are means of the U-Net's over
        superpixels, raised to `LEAST` where they are less. Those of several segmentations are means of log p.

        Args:
            image: (*spatial, C).
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Folder for arrays as large as the image: superpixels, and the class probabilities of the U-Net.
            progress: Called with the share done, in [0, 1].
        """
        with self._nodes(image, scratch, progress, self._log_probabilities) as (segments, votes):
            paint_probabilities(votes, segments, mask, shares, BAND_PIXELS, show_painting(progress))

    def save(self, path: Path) -> None:
        """Write the weights of all networks, each under the name of its stage."""
        weights = {
            f"coarse{fold}.{name}": value
            for fold, network in enumerate(self.coarse)
            for name, value in network.model.state_dict().items()
        }
        if self.settings.refine:
            weights |= {f"gnn.{name}": value for name, value in self.gnn.get_model().state_dict().items()}
        torch.save(weights, path)

    def load(self, path: Path) -> None:
        """Take the weights that `save` wrote under the same configuration."""
        weights = torch.load(path, map_location=self.gnn.device, weights_only=True)
        for fold, network in enumerate(self.coarse):
            network.model.load_state_dict(select_weights(weights, f"coarse{fold}."))
            network.model.eval()
        if self.settings.refine:
            self.gnn.take_weights(select_weights(weights, "gnn."))

    def _score_pixels(self, item: CoarseItem[Any], networks: Sequence[TiledCnn]) -> NDArray[np.float32]:
        """The class scores (*spatial, K) that `networks` give to an item; of a large image in a file."""
        shape = (*item.tiled.mask.shape, self.task.num_classes)
        place, in_memory = self.config.graph.scratch_dir, item.tiled.in_memory
        scores = np.empty(shape, np.float32) if in_memory else map_scratch(shape, np.float32, place)
        score_image(networks, item.tiled.image, scores, lambda _: None, in_memory)
        return scores

    @contextmanager
    def _nodes(
        self, image: Source, scratch: Path, progress: Callable[[float], None], vote: Callable[[Data], NDArray[Any]]
    ) -> Iterator[tuple[list[NDArray[np.int32]], list[NDArray[Any]]]]:
        """Segments of each view of an image, and what `vote` says of its nodes; 0.9 of the work."""
        with Storage(scratch) as disk:
            scores = disk.empty((*image.shape[:-1], self.task.num_classes), np.float32)
            score_image(self.coarse, image, scores, lambda share: progress(COARSE_SHARE * share), in_memory=False)
            disk.release()
            yield self.gnn.predict_nodes(
                image,
                scratch,
                lambda share: progress(COARSE_SHARE * VOTED + (1 - COARSE_SHARE) * share),
                lambda data, segments: vote(append_scores(data, segments, scores)),
            )

    def _score(self, items: Sequence[CoarseItem[Item]]) -> float:
        """Pooled macro Dice on pixels, of what `predict` paints."""
        classes, ignored = self.task.num_classes, self.task.ignore_index
        counts = [confusion_matrix(item.tiled.mask, self.predict(item), classes, ignored) for item in items]
        self.coarse[0].narrow.drop()  # the next steps change the weights
        return macro_dice(np.sum(counts, axis=0))

    def _vote(self, data: Data) -> NDArray[Any]:
        """What is painted of a graph, as `SuperpixelGnn` has it, or of the U-Net's means alone."""
        if self.settings.refine:
            return self.gnn.vote_nodes(data)
        if len(self.gnn.views) > 1:
            return self._log_probabilities(data)
        classes: NDArray[Any] = self._means(data).argmax(axis=1)
        return classes.astype(self.task.mask_dtype)

    def _log_probabilities(self, data: Data) -> NDArray[np.float32]:
        """Log p (N, K) of the nodes of a graph."""
        if self.settings.refine:
            return self.gnn.score_nodes(data)
        means = np.maximum(self._means(data), np.float32(LEAST))
        scores: NDArray[np.float32] = np.log(means / means.sum(axis=1, keepdims=True))
        return scores

    def _means(self, data: Data) -> NDArray[np.float32]:
        """The U-Net's mean probabilities (N, K): the first half of the features that it gave."""
        classes = self.task.num_classes
        means: NDArray[np.float32] = data.x[:, -2 * classes : -classes].numpy()
        return means


def split_folds(items: int, folds: int) -> list[list[int]]:
    """Return the training items that each network learns from: all of a single one, of several all but its own fold.

    A network is surer of what it learned from than of what it never saw. With two or more folds, item i is scored by
    network i modulo `folds`, which did not learn from it: as new images are, when the graph network is applied.
    """
    return [[item for item in range(items) if folds == 1 or item % folds != fold] for fold in range(folds)]


def leave_out_features(config: Config) -> Config:
    """Return the settings with the cheapest features: without a graph network, none but the U-Net's scores are read."""
    return replace(config, graph=replace(config.graph, features=["shape"]))


def limit_steps(training: TrainingConfig, steps: int, share: float) -> TrainingConfig:
    """Return the training settings of a U-Net of the first stage: no forks, and at most `steps` steps.

    Args:
        training: Settings of the arm.
        steps: Most steps of the U-Net.
        share: Its share of a budget in seconds, which all stages of the arm have together.
    """
    ceiling = steps if training.steps is None else min(steps, training.steps)
    seconds = None if training.seconds is None else training.seconds * share
    return replace(training, steps=ceiling, seconds=seconds, forks=False)


def select_weights(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the weights under `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
