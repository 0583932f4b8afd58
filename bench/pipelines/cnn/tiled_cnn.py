"""The pixel arms: random crops train a convolutional network, overlapping tiles are predicted and stitched."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.arrays.heap import trim_after, trim_heap
from bench.arrays.protocols import Readable, Source, Writable
from bench.arrays.rows import read_by_rows, release, write_by_rows
from bench.arrays.tiles import Window
from bench.config import Config, TiledCnn3dConfig, TilesConfig, require
from bench.datasets.sample import Sample, Task, hold_source
from bench.learning.devices import autocast_to, choose_dtype, resolve_device, seed_everything
from bench.learning.fitlog import FitLog
from bench.learning.losses import class_weights, segmentation_loss
from bench.learning.rare import FOCUS, announce_rare, correct_sampling, find_rare
from bench.learning.recording import FixedInputs
from bench.learning.training import Learner, train
from bench.pipelines.cnn.augment import augment_batches
from bench.pipelines.cnn.crops import IGNORED, Batch, CropSampler, Labelled
from bench.pipelines.cnn.foreground import find_foreground
from bench.pipelines.cnn.inference import Inferer, count_tiles_at_once
from bench.pipelines.cnn.networks import Network, choose_network
from bench.pipelines.cnn.resolution import count_blocks, merge_blocks
from bench.pipelines.cnn.tiled_image import TiledImage
from bench.pipelines.in_memory import HELD_VALUES, keep_decoded
from bench.pipelines.scratch import StoredArray, map_scratch, warn_of_memory
from bench.pipelines.shares import ClassesLast, ScoreWriter
from bench.scores.metrics import confusion_matrix, macro_dice
from models.checkpointing import checkpoint_blocks, run_in_parts
from models.narrow import NarrowCopy
from models.supervision import DeepSupervision, weigh_levels
from models.weights import load_weights

MEMORY_VALUES = 1 << 16  # values up to which a decoded image stays in memory, as the graph of a small one does
BATCHES = 4  # of tiles that are predicted elsewhere at a time
SHARES_BYTES = 1 << 30  # of class probabilities held at once, so that they are written in whole chunks


class TiledCnn:
    """A pipeline (`bench.pipelines.protocol`) with the network of `bench.pipelines.cnn.networks`.

    An image of more than `held_pixels` values is not read into memory whole.
    """

    def __init__(self, config: Config, task: Task, held_pixels: int = HELD_VALUES) -> None:
        assert isinstance(config.pipeline, TilesConfig)
        self.held_pixels = held_pixels
        self.config, self.settings, self.task = config, config.pipeline, task
        self.device = resolve_device(config.device)
        self.network: Network = choose_network(self.settings, task)
        self.dtype = self._choose_dtype()
        self.sight = self.network.sight
        self.tiling = self.network.tiling
        self.narrow = NarrowCopy()
        self._model: nn.Module | None = None  # weights that were there before a run began would not count as its memory

    def try_settings(self) -> None:
        """Build a network and let it go. Raises `InputError` for settings that do not fit together."""
        self._build()
        trim_heap()

    @property
    def model(self) -> nn.Module:
        """The network, with fresh weights until `fit` or `load`."""
        if self._model is None:
            self._model = self._build()
        return self._model

    def prepare(self, sample: Sample) -> TiledImage:
        """Decode the image, unless it is too large, and cut it into tiles."""
        image, mask, stored = sample.image, sample.mask, list[StoredArray]()
        values = prod(image.shape)

        def keep(decoded: NDArray[Any]) -> Source:
            kept = keep_decoded(decoded, MEMORY_VALUES, self.config.graph.scratch_dir)
            stored.extend([kept] if isinstance(kept, StoredArray) else [])
            return kept

        if values <= self.held_pixels:
            image, mask = hold_source(image, keep), hold_source(mask, keep)
        trim_after(values)
        windows = self.tiling.cut(mask.shape)
        facts = {"num_tiles": float(len(windows))}
        return TiledImage(image, mask, windows, facts, values <= self.held_pixels, sum(one.nbytes for one in stored))

    def fit(
        self,
        train_items: Sequence[TiledImage],
        val_items: Sequence[TiledImage],
        validate: Callable[[], float] | None = None,
    ) -> FitLog:
        """Train a new network; keep the weights with the best pooled macro Dice on the validation images.

        Args:
            train_items: What the network learns from.
            val_items: What chooses its weights.
            validate: Makes the score that does so in place of the Dice of the predicted masks; None: that Dice.

        Returns:
            The log of the fit.
        """
        started_ns = time.perf_counter_ns()
        seed_everything(self.config.seed, self.device)
        self._model = self._build()  # a second fit starts afresh
        if self.settings.checkpointing:
            checkpoint_blocks(self.model, self.network.list_blocks(self.model))
        counts = self.count_pixels(train_items)
        rare = find_rare(counts, self.config.training.rare_share)
        announce_rare(self.settings.name, rare, counts, self.task.class_names)
        sampler = self.make_sampler(train_items, rare)
        self.class_weights = self.weigh_classes(counts, sampler).to(self.device)
        trim_heap()
        deep = DeepSupervision(self.model, self.task.num_classes) if self.settings.deep_supervision else None
        self.trained: nn.Module = self.model if deep is None else deep
        learner = Learner(
            model=self.trained,
            batches=lambda epoch: self.draw_batches(sampler, epoch),
            loss=self._compute_loss,
            validate=validate or (lambda: self._score(val_items)),
            steps_per_epoch=len(sampler),
            validation_cost=self._validation_cost(val_items, sampler),
            fixed=self._fix_inputs(),
        )
        training = self.config.training
        log = train(learner, training, self.settings, seed=self.config.seed, device=self.device, started_ns=started_ns)
        if deep is not None:
            deep.remove()
            self.trained = self.model
        trim_heap()
        bits, from_scratch = torch.finfo(self.dtype).bits, self.network.from_scratch
        stored = sum(item.stored_bytes for item in (*train_items, *val_items))
        facts: dict[str, float] = {"convolution_bits": bits, "from_scratch": from_scratch, "rare_classes": len(rare)}
        flags = warn_of_memory(self.config.graph.scratch_dir, stored)
        return replace(log, facts={**facts, "stored_bytes": stored}, flags=(*log.flags, *flags))

    def predict(self, item: TiledImage) -> NDArray[np.integer]:
        """Return the class of every pixel (*spatial), tile by tile; those of an image in a file lie on the disk."""
        shape, dtype = item.mask.shape, self.task.mask_dtype
        out = np.empty(shape, dtype) if item.in_memory else map_scratch(shape, dtype, self.config.graph.scratch_dir)
        image = item.image if item.in_memory else read_by_rows(item.image)
        self.make_inferer().segment(image, item.windows, out, lambda _: release(out))
        return out

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image row of tiles by row of tiles, to the same bits as `predict`.

        In memory are the rows that one row of tiles needs, of the image and of the result: each row is read once and
        written once.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for arrays as large as the image; not needed here.
            progress: Called with the share done, in [0, 1].
        """
        del scratch
        windows = self.tiling.cut(image.shape[:-1])
        self.join_tiles(self.make_inferer().make_tiles(read_by_rows(image), windows, progress), windows, out)

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image row of tiles by row of tiles, and its class probabilities, as `Probabilistic` describes it.

        The mask is that of `predict`, but where two classes are equally probable in single precision.

        Args:
            image: (*spatial, C).
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Folder for arrays as large as the image; not needed here.
            progress: Called with the share of the tiles that are done, in [0, 1].
        """
        del scratch
        windows = self.tiling.cut(image.shape[:-1])
        made = self.make_inferer().make_tiles(read_by_rows(image), windows, progress, scores=True)
        self.join_tiles(made, windows, mask, shares)

    def divide(self, shape: Sequence[int]) -> list[list[Window]]:
        """Cut the tiles of an image (*spatial) into runs of whole batches; see `Divisible`."""
        windows = self.tiling.cut(shape)
        length = BATCHES * count_tiles_at_once(windows, self.settings.batch_size, self.settings.scale)
        return [windows[start : start + length] for start in range(0, len(windows), length)]

    def predict_tiles(self, image: Source, windows: Sequence[Window], scores: bool) -> list[NDArray[Any]]:
        """Predict a run of tiles, as `Divisible` describes it.

        Args:
            image: (*spatial, C), of which the tiles are read.
            windows: The tiles, a run that `divide` returned.
            scores: Whether probabilities are needed, for `join_tiles` with `shares`.

        Returns:
            Of each tile its classes (*tile), or with `scores` or Gaussian blending its probabilities (K, *tile).
        """
        return list(self.make_inferer().make_tiles(image, windows, lambda _: None, scores))

    def join_tiles(
        self,
        made: Iterator[NDArray[Any]],
        windows: Sequence[Window],
        mask: Writable,
        shares: Writable | None = None,
    ) -> None:
        """Put the tiles of an image together, as `Divisible` describes it.

        Args:
            made: What `predict_tiles` returned of each window, in their order; it may be overwritten.
            windows: All windows of the image, in the order of `divide`.
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial), for tiles predicted with `scores`; None for other tiles.
        """
        inferer, kinds = self.make_inferer(), (self.task.mask_dtype, np.dtype(np.float32))
        with write_by_rows(mask, kinds[0]) as rows:
            if shares is None:
                inferer.join(windows, made, rows)
                return
            with write_by_rows(ClassesLast(shares), kinds[1], SHARES_BYTES) as share_rows:
                inferer.join_scores(windows, made, ScoreWriter(rows, share_rows))

    def save(self, path: Path) -> None:
        """Write the `state_dict`."""
        torch.save(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        """Take the weights that `save` wrote under the same configuration."""
        load_weights(self.model, path)
        self.model.eval()

    def _choose_dtype(self) -> torch.dtype:
        """Choose the type of the convolutions; float32 where bfloat16 would not do."""
        precision = self.settings.precision
        dtype = choose_dtype(precision, self.device, self.config.training.amp)
        if dtype is not torch.bfloat16 or self.device.type != "cpu" or not self.network.is_shallow:
            return dtype
        require(
            precision == "auto",
            "pipeline.precision=bfloat16 on a CPU needs crops with four pixels along every axis of the deepest "
            "features: give precision=float32, or larger crops",
        )
        return torch.float32

    def _build(self) -> nn.Module:
        """Build the network with fresh weights, or those of a file, on the device, to predict."""
        layout = torch.channels_last if self.sight.axes == 2 else torch.channels_last_3d
        return self.network.build().to(self.device).to(memory_format=layout).eval()

    def count_pixels(self, items: Sequence[TiledImage]) -> NDArray[np.int64]:
        """Count the pixels of each class (K,) in the masks."""
        counts: NDArray[np.int64] = np.sum([self._confusion(item.mask, item.mask).diagonal() for item in items], axis=0)
        return counts

    def make_sampler(self, items: Sequence[TiledImage], rare: NDArray[np.intp]) -> CropSampler:
        """Make the sampler of training crops, which shows rare classes more often than they occur.

        With `pipeline.foreground` these are all but the most frequent one, and the share of the crops is that of the
        setting.
        """
        settings, ignored = self.settings, self.task.ignore_index
        masks = [item.mask for item in items]
        focus = settings.foreground or (FOCUS if len(rare) > 0 else 0.0)
        chosen = None if settings.foreground > 0 else rare
        return CropSampler(
            [Labelled(item.image, item.mask) for item in items],
            self._choose_crop(masks),
            settings.batch_size,
            settings.jitter,
            ignored,
            find_foreground(masks, self.task.num_classes, ignored, chosen) if focus > 0 else None,
            focus,
            self.sight,
            settings.scale,
            self.task.num_classes,
        )

    def _choose_crop(self, masks: Sequence[Source]) -> tuple[int, ...]:
        """Choose the size of a crop in pixels: `crop_size`, or one that covers every image where that is less.

        At lower resolution a crop covers so much that it may be a whole image, always the same one. It then leaves room
        to move: 0.85 of the shortest side at most (nuclei at a quarter of the resolution, validation images: 0.967
        instead of 0.909).
        """
        stride = max(self.sight.strides[-2:]) * self.settings.scale
        sides = [length for mask in masks for length in mask.shape[-2:]]
        crop = min(self.settings.crop_size * self.settings.scale, -(-max(sides) // stride) * stride)
        if self.settings.scale > 1:
            crop = min(crop, max(int(0.85 * min(sides)) // stride, 1) * stride)
        return (*self._choose_planes(masks), crop, crop)

    def _choose_planes(self, masks: Sequence[Source]) -> tuple[int, ...]:
        """Choose the planes of a crop, as `_choose_crop` its side; none for a network over two axes."""
        if not isinstance(self.settings, TiledCnn3dConfig):
            return ()
        stride = self.sight.strides[0]
        most = min(self.settings.crop_planes, max(mask.shape[0] for mask in masks))
        return (-(-most // stride) * stride,)

    def weigh_classes(self, counts: NDArray[np.int64], sampler: CropSampler) -> Tensor:
        """Return the weights (K,) of the cross-entropy, from the pixels (K,) of each class in the images.

        Crops around rare classes show these more often than the images do; the weights make up for it.
        """
        weights = class_weights(counts, self.config.training.class_weights)
        if sampler.foreground is None:
            return weights
        drawn = sampler.count_classes(np.random.default_rng([self.config.seed, 0]), self.task.num_classes)
        return correct_sampling(weights, counts, drawn)

    def _validation_cost(self, items: Sequence[TiledImage], sampler: CropSampler) -> float:
        """Cost of predicting `items` in optimiser steps: a step takes about three times a forward pass of its crops."""
        pixels = sum(prod(window.shape) for item in items for window in item.windows)
        views = len(self.sight.mirrors) if self.settings.flips else 1
        return pixels * views / (3 * sampler.batch_size * prod(sampler.size))

    def draw_batches(self, sampler: CropSampler, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 1, augmented as `pipeline.augmentation` says."""
        crops = sampler.draw_epoch(np.random.default_rng([self.config.seed, epoch]))
        if self.settings.augmentation == "light":
            return crops
        return augment_batches(crops, np.random.default_rng([self.config.seed, epoch, 1]))

    def _compute_loss(self, batch: Batch) -> Tensor:
        images, labels = _list_tensors(batch)
        return self._compute_loss_of([images.to(self.device, non_blocking=True), labels.to(self.device)])

    def _fix_inputs(self) -> FixedInputs[Batch] | None:
        """Batches have one shape as they are; what computes activations again looks at the random state."""
        again = self.settings.checkpointing or self.settings.accumulate > 1
        return None if again else FixedInputs(_list_tensors, self._compute_loss_of)

    def _compute_loss_of(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the loss of images (B, *axes, C) and labels on the device."""
        images, labels = inputs[0].movedim(-1, 1), inputs[1]
        with autocast_to(self.device, self.dtype):
            if isinstance(self.trained, DeepSupervision):
                levels: list[Tensor] = self.trained(images)  # (B, K, H, W), (B, K, H / 2, W / 2) ...
            else:
                levels = [run_in_parts(self.trained, images, self.settings.accumulate)]  # (B, K, *axes)
        return weigh_levels([self._compute_loss_at(logits, labels, 1 << level) for level, logits in enumerate(levels)])

    def _compute_loss_at(self, logits: Tensor, labels: Tensor, factor: int) -> Tensor:
        """Return the loss of logits (B, K, *lead, H / factor, W / factor).

        The labels are classes (B, *lead, H, W), or at lower resolution the pixels of each class, (B, *lead, H, W, K).
        """
        weights, classes = None, self.task.num_classes
        if factor > 1 or self.settings.scale > 1:  # shares of the classes in each block, weighted by what counts in it
            blocks = merge_blocks(labels, factor) if self.settings.scale > 1 else count_blocks(labels, classes, factor)
            counts = blocks.reshape(-1, classes)
            weights = counts.sum(dim=1)
            labels = counts / weights.clamp_min(1)[:, None]
        return segmentation_loss(
            logits.movedim(1, -1).reshape(-1, classes),
            labels.reshape(-1) if weights is None else labels,
            weights,
            self.class_weights,
            cross_entropy_weight=self.config.training.cross_entropy_weight,
            dice_weight=self.config.training.dice_weight,
            ignore_index=IGNORED,
        )

    def make_inferer(self) -> Inferer:
        """Make what predicts with the present weights."""
        settings = self.settings
        gaussian = settings.blend == "gaussian"
        is_narrow = self.dtype is not torch.float32 and self.device.type == "cpu"
        network = partial(self.narrow.predict, self.model, self.dtype) if is_narrow else self.model
        kind = (network, self.device, self.dtype)
        return Inferer(*kind, settings.batch_size, gaussian, settings.flips, settings.scale, self.sight)

    def _confusion(self, truth: Readable, predicted: Readable) -> NDArray[np.int64]:
        return confusion_matrix(truth, predicted, self.task.num_classes, self.task.ignore_index)

    def _score(self, items: Sequence[TiledImage]) -> float:
        """Pooled macro Dice on pixels."""
        counts = np.sum([self._confusion(item.mask, self.predict(item)) for item in items], axis=0)
        self.narrow.drop()  # the next steps change the weights
        return macro_dice(counts)


def _list_tensors(batch: Batch) -> list[Tensor]:
    """Return images (B, *axes, C) and labels of a batch."""
    return [torch.from_numpy(values) for values in batch]
