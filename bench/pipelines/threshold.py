"""A method without learning: multi-Otsu thresholds of one channel. Its process needs numpy alone."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.arrays.rows import cut_bands
from bench.config import Config, ThresholdConfig, require
from bench.datasets.sample import Sample, Task
from bench.files import read_json, write_atomically
from bench.learning.fitlog import FitLog
from bench.pipelines.in_memory import hold_image, hold_mask
from bench.pipelines.otsu import multi_otsu
from bench.scores.metrics import group_confusion, macro_dice

BINS = 128  # of the pooled histogram: trying every set of four thresholds among 256 takes seconds
BAND_VALUES = 1 << 20  # of an image, counted or classified at once


@dataclass(frozen=True)
class Grey:
    """An image (*spatial, C), of which one channel is read, and its mask (*spatial) to count with, in their files."""

    image: Source
    mask: Source
    segments: None = None
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bands:
    """Ascending `thresholds` (B - 1,) and the class of each band between them, `classes` (B,)."""

    thresholds: NDArray[np.float64]
    classes: NDArray[np.int64]

    def predict(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Class of each value; one that equals a threshold belongs to the band below, as in scikit-image."""
        return np.asarray(self.classes[np.digitize(values, self.thresholds, right=True)])


class Threshold:
    """Multi-Otsu thresholds of one channel, from the pooled histogram of the training images.

    1 to 5 bands are tried; each takes its majority class on the training images, and the number with the best macro
    Dice on the validation images is kept, the smaller on ties.
    """

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, ThresholdConfig)
        self.channel, self.task, self.bands = config.pipeline.channel, task, Bands(np.zeros(0), np.zeros(1, np.int64))
        require(
            0 <= self.channel < task.in_channels,
            f"pipeline.channel must lie in [0, {task.in_channels}), the channels of the images, got {self.channel}",
        )

    def prepare(self, sample: Sample) -> Grey:
        """Return the sample as it is: its pixels are read when they are counted."""
        return Grey(sample.image, sample.mask)

    def fit(self, train_items: Sequence[Grey], val_items: Sequence[Grey]) -> FitLog:
        """Choose the number of bands, their thresholds and their classes."""
        ends = [(values.min(), values.max()) for item in train_items for _, values in self._walk(item.image)]
        low, high = float(min(least for least, _ in ends)), float(max(greatest for _, greatest in ends))
        edges = np.linspace(low, max(high, np.nextafter(low, np.inf)), BINS + 1)
        centres = (edges[:-1] + edges[1:]) / 2
        train_counts, val_counts = self._histogram(train_items, edges), self._histogram(val_items, edges)
        best = -1.0
        for bands in self._candidates(train_counts, centres):
            score = macro_dice(group_confusion(val_counts, bands.predict(centres)))
            if score > best:
                best, self.bands = score, bands
        return FitLog(parameters=len(self.bands.thresholds), best_score=best)

    def predict(self, item: Grey) -> NDArray[np.integer]:
        """Return the class of every pixel (*spatial)."""
        out = np.empty(item.mask.shape, self.task.mask_dtype)
        for rows, values in self._walk(item.image):
            out[rows] = self.bands.predict(values)
        return out

    def save(self, path: Path) -> None:
        """Write the thresholds and the classes of the bands beside `path`, as JSON."""
        learned = {"thresholds": self.bands.thresholds.tolist(), "classes": self.bands.classes.tolist()}
        write_atomically(path.with_suffix(".json"), json.dumps(learned) + "\n")

    def load(self, path: Path) -> None:
        """Take the thresholds that lie beside `path`."""
        learned = read_json(path.with_suffix(".json"))
        self.bands = Bands(np.array(learned["thresholds"], np.float64), np.array(learned["classes"], np.int64))

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image band by band.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Not needed here.
            progress: Called with the share done, in [0, 1].
        """
        del scratch
        for start, stop in cut_bands(image.shape, BAND_VALUES):
            out[start:stop] = self.bands.predict(image[start:stop][..., self.channel])
            progress(stop / image.shape[0])

    def _histogram(self, items: Sequence[Grey], edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """Pixels of each class in each bin, (BINS, K); values beyond the ends fall into the first or last bin."""
        classes = self.task.num_classes
        counts = np.zeros(BINS * classes, np.int64)
        for item in items:
            mask = hold_mask(item.mask)
            for rows, values in self._walk(item.image):
                labels = mask[rows]
                counted = labels != self.task.ignore_index
                bins = np.clip(np.digitize(values[counted], edges) - 1, 0, BINS - 1)
                counts += np.bincount(bins * classes + labels[counted], minlength=len(counts))
        return counts.reshape(BINS, classes)

    def _walk(self, image: Source) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield bands of rows of the one channel (rows, ...), with where they are; one image is in memory at a time."""
        held = hold_image(image)
        for start, stop in cut_bands(image.shape, BAND_VALUES):
            yield slice(start, stop), held[start:stop][..., self.channel]

    def _candidates(self, counts: NDArray[np.int64], centres: NDArray[np.float64]) -> list[Bands]:
        """One band, then 2 to 5 as far as there are that many different values."""
        pixels = counts.sum(axis=1)
        found = [Bands(np.zeros(0), counts.sum(axis=0, keepdims=True).argmax(axis=1))]
        for number in range(2, min(5, int(np.count_nonzero(pixels))) + 1):
            thresholds = multi_otsu(pixels, centres, number)
            band = np.digitize(centres, thresholds, right=True)
            in_band = np.stack([counts[band == index].sum(axis=0) for index in range(number)])
            found.append(Bands(thresholds, in_band.argmax(axis=1)))
        return found
