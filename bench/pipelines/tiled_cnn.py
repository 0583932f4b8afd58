"""The pixel arm: random crops train a convolutional network, overlapping tiles are predicted and stitched."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import bands, tiles
from bench.config import Config, InputError, TiledCnnConfig
from bench.datasets.sample import Sample, Source, Task
from bench.fitlog import FitLog
from bench.losses import class_weights, macro_dice, segmentation_loss
from bench.pipelines.crops import IGNORED, Batch, CropSampler, Labelled
from bench.tiles import Readable, Window, Writable
from bench.training import amp_dtype, autocast_to, resolve_device, seed_everything, train
from models.unet import build_cnn

STRIDE = 32  # of the deepest features of an encoder
BAND_PIXELS = 1 << 20  # counted at once


@dataclass(frozen=True)
class TiledImage:
    """A sample, image (*spatial, C) and mask (*spatial), and the windows through which it is predicted."""

    image: NDArray[np.float32]
    mask: NDArray[np.integer]
    windows: Sequence[Window]
    facts: dict[str, float]
    segments: None = None


def convolution_dtype(precision: str, device: torch.device, amp: bool) -> torch.dtype:
    """The type that convolutions run in. `auto` adds to `training.amp` the CPUs with bfloat16 instructions.

    On those a U-Net's step takes about half the time, and its activations half the memory.
    """
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type != "cpu":
        return amp_dtype(device, amp)
    capable = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16"))
    return torch.bfloat16 if amp and capable else torch.float32


class TiledCnn:
    """A pipeline (`bench.pipelines.protocol`) whose model is `models.unet.build_cnn` as `config.pipeline.model` says.

    Of a volume, every slice along the first axis is an image of its own.
    """

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, TiledCnnConfig)
        self.config, self.settings, self.task = config, config.pipeline, task
        self.device = resolve_device(config.device)
        self.dtype = convolution_dtype(self.settings.precision, self.device, config.training.amp)
        self.model = self._build()  # settings that do not fit together are refused here, before anything is prepared

    def prepare(self, sample: Sample) -> TiledImage:
        image, mask = np.asarray(sample.image), np.asarray(sample.mask)
        windows = self._windows(mask.shape)
        return TiledImage(image, mask, windows, {"num_tiles": float(len(windows))})

    def fit(self, train_items: Sequence[TiledImage], val_items: Sequence[TiledImage]) -> FitLog:
        started_ns = time.perf_counter_ns()
        seed_everything(self.config.seed)
        self.model = self._build()  # a second fit starts afresh
        sampler = self._sampler(train_items)
        balance = class_weights(self._counts(train_items), self.config.training.class_weights)
        self.class_weights = balance.to(self.device)
        log = train(
            self.model,
            lambda epoch: self._ahead(sampler.epoch(np.random.default_rng([self.config.seed, epoch]))),
            self._loss,
            lambda: self._score(val_items),
            self.config.training,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            seed=self.config.seed,
            device=self.device,
            description=self.settings.name,
            steps_per_epoch=len(sampler),
            started_ns=started_ns,
        )
        return replace(log, facts={"convolution_bits": float(torch.finfo(self.dtype).bits)})

    def predict(self, item: TiledImage) -> NDArray[np.integer]:
        out = np.empty(item.mask.shape, self._mask_dtype())
        self._segment(item.image, item.windows, out, lambda _: None)
        return out

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Class indices of `image` (*spatial, C) into `out` (*spatial), block by block; `progress` gets shares of 1.

        In memory are the rows that one row of tiles needs, of the image and of the result: each row is read once and
        written once. The mask is that of `predict`, to the bit. `scratch` is not needed.
        """
        del scratch
        windows = self._windows(image.shape[:-1])
        with bands.writer(out, self._mask_dtype()) as rows:
            self._segment(bands.reader(image), windows, rows, progress)

    def save(self, path: Path) -> None:
        """Write the `state_dict`."""
        torch.save(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        """Take the weights that `save` wrote under the same configuration."""
        self.model.load_state_dict(torch.load(path, map_location=self.device, weights_only=True))
        self.model.eval()

    def _build(self) -> nn.Module:
        model = self.settings.model
        try:
            network = build_cnn(
                model.architecture,
                model.encoder_name,
                model.encoder_weights,
                self.task.in_channels,
                self.task.num_classes,
                model.decoder_channels,
            )
        except ValueError as error:
            raise InputError(f"pipeline.model: {error}") from error
        return network.to(self.device).to(memory_format=torch.channels_last).eval()

    def _sampler(self, items: Sequence[TiledImage]) -> CropSampler:
        """Crops of the size asked for, or of the smallest one that covers every image."""
        longest = max(max(item.mask.shape[-2:]) for item in items)
        return CropSampler(
            [Labelled(item.image, item.mask) for item in items],
            min(self.settings.crop_size, -(-longest // STRIDE) * STRIDE),
            self.settings.batch_size,
            self.settings.jitter,
            self.task.ignore_index,
        )

    def _counts(self, items: Sequence[TiledImage]) -> NDArray[np.int64]:
        """Pixels of each class (K,), ignored ones not counted."""
        counts: NDArray[np.int64] = np.sum([self._confusion(item.mask, item.mask).diagonal() for item in items], axis=0)
        return counts

    def _ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; a GPU need not wait for them, as a thread assembles the next one while it works."""
        return batches if self.device.type == "cpu" else bands.ahead(batches)

    def _loss(self, batch: Batch) -> Tensor:
        images, labels = batch
        with autocast_to(self.device, self.dtype):
            logits = self._logits(images)  # (B, K, H, W)
        return segmentation_loss(
            logits.permute(0, 2, 3, 1).reshape(-1, self.task.num_classes),
            torch.from_numpy(labels).to(self.device).reshape(-1),
            None,
            self.class_weights,
            cross_entropy_weight=self.config.training.cross_entropy_weight,
            dice_weight=self.config.training.dice_weight,
            ignore_index=IGNORED,
        )

    def _logits(self, images: NDArray[np.float32]) -> Tensor:
        """(B, H, W, C) -> (B, K, H, W); the numpy layout is channels_last already."""
        inputs = torch.from_numpy(images).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        logits: Tensor = self.model(inputs)
        return logits

    def _windows(self, shape: Sequence[int]) -> list[Window]:
        """The tiles of an image of `shape` (*spatial); a tile is one slice thick."""
        slices = [1] * (len(shape) - 2)
        size, overlap = [self.settings.tile_size] * 2, [self.settings.overlap] * 2
        return tiles.windows(shape, [*slices, *size], [*(0 for _ in slices), *overlap], [*slices, STRIDE, STRIDE])

    def _mask_dtype(self) -> np.dtype[Any]:
        return np.min_scalar_type(self.task.num_classes - 1)

    def _segment(
        self, image: Readable, windows: Sequence[Window], out: Writable, progress: Callable[[float], None]
    ) -> None:
        """Class indices of `image` into `out`, tile by tile."""
        if self.settings.blend == "gaussian":
            tiles.blend(self._scored(image, windows, progress), out)
        else:
            tiles.stitch(self._classified(image, windows, progress), out)

    def _read(self, image: Readable, windows: Sequence[Window]) -> Iterator[tuple[list[Window], NDArray[np.float32]]]:
        """Windows in groups of the batch size, with their images (B, H, W, C)."""
        lead = (0,) * (len(image.shape) - 3)
        for start in range(0, len(windows), self.settings.batch_size):
            group = list(windows[start : start + self.settings.batch_size])
            yield group, np.stack([tiles.read(image, window.read)[lead] for window in group])

    def _batches(
        self, image: Readable, windows: Sequence[Window], progress: Callable[[float], None]
    ) -> Iterator[tuple[list[Window], Tensor]]:
        """Windows in groups of the batch size, with their logits (B, K, H, W); the next group is read meanwhile."""
        done = 0
        for group, images in bands.ahead(self._read(image, windows)):
            with torch.inference_mode(), autocast_to(self.device, self.dtype):
                yield group, self._logits(images)
            done += len(group)
            progress(done / len(windows))

    def _classified(
        self, image: Readable, windows: Sequence[Window], progress: Callable[[float], None]
    ) -> Iterator[tuple[Window, NDArray[np.integer]]]:
        narrow = torch.uint8 if self.task.num_classes <= 256 else torch.int32
        for group, logits in self._batches(image, windows, progress):
            classes = logits.argmax(dim=1).to(narrow).cpu().numpy()  # (B, H, W)
            yield from ((window, tile.reshape(window.shape)) for window, tile in zip(group, classes, strict=True))

    def _scored(
        self, image: Readable, windows: Sequence[Window], progress: Callable[[float], None]
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        for group, logits in self._batches(image, windows, progress):
            scores = logits.float().softmax(dim=1).permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, K)
            yield from ((window, tile.reshape(*window.shape, -1)) for window, tile in zip(group, scores, strict=True))

    def _confusion(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.int64]:
        """(K, K) pixels, rows = true. A band of rows at a time, so that a large image needs little memory."""
        classes, ignored = self.task.num_classes, self.task.ignore_index
        counts = np.zeros(classes**2, np.int64)
        rows = max(BAND_PIXELS * len(truth) // truth.size, 1)
        for start in range(0, len(truth), rows):
            true, guess = truth[start : start + rows].ravel(), predicted[start : start + rows].ravel()
            if ignored is not None:
                true, guess = true[true != ignored], guess[true != ignored]
            counts += np.bincount(true.astype(np.int64) * classes + guess, minlength=classes**2)
        return counts.reshape(classes, classes)

    def _score(self, items: Sequence[TiledImage]) -> float:
        """Pooled macro Dice on pixels."""
        return macro_dice(np.sum([self._confusion(item.mask, self.predict(item)) for item in items], axis=0))
