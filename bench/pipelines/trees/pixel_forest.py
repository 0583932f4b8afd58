"""A random forest on filter responses of single pixels: what ilastik does, and what needs no GPU. No torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable, Source, Writable
from bench.arrays.rows import cut_bands, read_by_rows, write_by_rows
from bench.arrays.threads import Workers, count_threads, list_singles
from bench.arrays.tiles import Window
from bench.config import Config, PixelForestConfig
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.pipelines.in_memory import hold_image, hold_mask
from bench.pipelines.shares import ClassesLast, ScoreWriter
from bench.pipelines.trees.bins import BIN_ROWS, Bins, find_bins
from bench.pipelines.trees.drawing import BAND_VALUES, draw_by_class, find_members
from bench.pipelines.trees.ensemble import EnsembleKeeper, join_trees
from bench.pipelines.trees.forest import ForestSettings, grow_forest, warm_up_forest
from bench.pipelines.trees.responses import Response, count_responses, cut_response_windows, respond

SHARES_BYTES = 1 << 26  # of class probabilities held at once, so that they are written in whole chunks


@dataclass(frozen=True)
class PixelSample:
    """A sample: image (*spatial, C) and mask (*spatial), in their files; one at a time is in memory (`hold_image`)."""

    image: Source
    mask: Source
    segments: None = None
    facts: dict[str, float] = field(default_factory=dict)


class PixelForest(EnsembleKeeper):
    """A pipeline (`bench.pipelines.protocol`) of trees that label pixels by their filter responses."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, PixelForestConfig)
        self.config, self.settings, self.task = config, config.pipeline, task
        warm_up_forest()

    def prepare(self, sample: Sample) -> PixelSample:
        """Return the sample as it is: its pixels are read when they are filtered."""
        return PixelSample(sample.image, sample.mask)

    def fit(self, train_items: Sequence[PixelSample], val_items: Sequence[PixelSample]) -> FitLog:
        """Grow the forest on pixels drawn from the training images. It chooses nothing, so nothing is validated."""
        del val_items
        settings, classes = self.settings, self.task.num_classes
        rng = np.random.default_rng(self.config.seed)
        counts = np.stack([self._count_classes(hold_mask(item.mask)) for item in train_items])
        draw = draw_by_class(counts, settings.sample_pixels, rng)
        places, labels = zip(
            *(
                find_members(hold_mask(item.mask), members)
                for item, members in zip(train_items, draw.members, strict=True)
            ),
            strict=True,
        )
        with Workers(count_threads()) as workers:
            bins, codes = self._encode_drawn([item.image for item in train_items], places, rng, workers)
            drawn = np.concatenate(labels)
            growth = ForestSettings(settings.trees, None, settings.least_pixels)
            trees = grow_forest(codes, drawn, draw.weights[drawn], classes, growth, self.config.seed, workers)
        self.ensemble = join_trees(bins, np.zeros(classes), trees, [0] * len(trees))
        return FitLog(parameters=self.ensemble.parameters, steps=len(trees), stopped="steps")

    def predict(self, item: PixelSample) -> NDArray[np.integer]:
        """Return the class of every pixel (*spatial), the one of the largest mean share."""
        out = np.empty(item.mask.shape, self.task.mask_dtype)
        image = hold_image(item.image)
        for window, shares in self._predict_windows(image, cut_response_windows(out.shape)):
            out[window.keep] = shares.argmax(axis=0)
        return out

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image window by window, to the same bits as `predict`.

        In memory are the rows of the image and of the result that one row of windows needs.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for arrays as large as the image; not needed here.
            progress: Called with the share of the windows that are done, in (0, 1].
        """
        del scratch
        windows = cut_response_windows(image.shape[:-1])
        with write_by_rows(out, self.task.mask_dtype) as rows:
            for done, (window, shares) in enumerate(self._predict_windows(read_by_rows(image), windows), start=1):
                rows[window.keep] = shares.argmax(axis=0).astype(self.task.mask_dtype)
                progress(done / len(windows))

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image window by window, and its class probabilities, as `Probabilistic` describes it.

        A probability is the mean over the trees of the share of the class in the leaf that the pixel falls into.

        Args:
            image: (*spatial, C).
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Folder for arrays as large as the image; not needed here.
            progress: Called with the share of the windows that are done, in (0, 1].
        """
        del scratch
        windows = cut_response_windows(image.shape[:-1])
        kinds = (self.task.mask_dtype, np.dtype(np.float32))
        with (
            write_by_rows(mask, kinds[0]) as rows,
            write_by_rows(ClassesLast(shares), kinds[1], SHARES_BYTES) as share_rows,
        ):
            writer = ScoreWriter(rows, share_rows)
            for done, (window, part) in enumerate(self._predict_windows(read_by_rows(image), windows), start=1):
                writer[window.keep] = part
                progress(done / len(windows))

    def _count_classes(self, mask: Source) -> NDArray[np.int64]:
        """Counted pixels of each class, (K,)."""
        counts = np.zeros(self.task.num_classes, np.int64)
        for start, stop in cut_bands(mask.shape, BAND_VALUES):
            counts += [int(np.count_nonzero(mask[start:stop] == label)) for label in range(len(counts))]
        if self.task.ignore_index is not None and 0 <= self.task.ignore_index < len(counts):
            counts[self.task.ignore_index] = 0
        return counts

    def _encode_drawn(
        self,
        images: Sequence[Source],
        places: Sequence[NDArray[np.int64]],
        rng: np.random.Generator,
        workers: Workers,
    ) -> tuple[Bins, NDArray[np.uint8]]:
        """The bins of the responses at `places` of each image, and the bin numbers there, a row per response (F, N).

        In memory are one image and the responses of one channel at a time.
        """
        ends, each = np.cumsum([len(own) for own in places]), count_responses(self.task.spatial_axes, 1)
        chosen = np.sort(rng.choice(ends[-1], min(BIN_ROWS, ends[-1]), replace=False))
        values = np.empty((each, ends[-1]), np.float32)
        codes = np.empty((self.task.in_channels, *values.shape), np.uint8)
        edges = []
        for channel, own_codes in enumerate(codes):
            for image, own, end in zip(images, places, ends, strict=True):
                read_responses(hold_image(image), channel, own, values[:, end - len(own) : end], workers)
            bins = Bins(np.concatenate([find_bins(line[chosen, None]).edges for line in values]))
            _encode_lines(bins, values, own_codes, workers)
            edges.append(bins.edges)
        return Bins(np.concatenate(edges)), codes.reshape(-1, ends[-1])

    def _predict_windows(
        self, image: Readable, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Each window with the class probabilities (K, *keep) of what it keeps."""
        with Workers(count_threads()) as workers:
            for window in windows:
                yield window, self._predict_window(image, window, workers)

    def _predict_window(self, image: Readable, window: Window, workers: Workers) -> NDArray[np.float32]:
        """The class probabilities (K, *keep); the bin numbers are gone before the next window has its own."""
        ensemble = self.fitted()
        bins, shape = Bins(ensemble.edges), tuple(kept.stop - kept.start for kept in window.keep)
        codes = np.empty((prod(shape), len(ensemble.edges)), np.uint8)

        def encode(number: int, response: Response) -> None:
            bins.encode_feature(np.ravel(response), number, codes)

        respond(np.asarray(image[window.read]), window.inner, encode, workers)
        return ensemble.sum_trees(codes).T.astype(np.float32).reshape(-1, *shape)


def _encode_lines(bins: Bins, values: NDArray[np.float32], codes: NDArray[np.uint8], workers: Workers) -> None:
    """Write the bin numbers of responses (F, N), a line each, into `codes` (F, N)."""
    workers.run(lambda line, _: bins.encode_feature(values[line], line, codes.T), list_singles(len(values)))


def read_responses(
    image: Readable, channel: int, places: NDArray[np.int64], values: NDArray[np.float32], workers: Workers
) -> None:
    """Compute the filter responses of some pixels of a channel.

    Args:
        image: (*spatial, C).
        channel: Which of its channels.
        places: Places (N,) of the pixels in the image laid out as one line.
        values: The responses (F, N), written here.
        workers: Threads that share the filters.
    """
    shape = tuple(image.shape[:-1])
    index = np.stack(np.unravel_index(places, shape))  # (axes, N)
    for window in cut_response_windows(shape):
        low = np.array([[kept.start] for kept in window.keep])
        high = np.array([[kept.stop] for kept in window.keep])
        inside = np.flatnonzero(((index >= low) & (index < high)).all(axis=0))
        at = tuple(index[:, inside] - low)

        def take(
            number: int,
            response: Response,
            inside: NDArray[np.intp] = inside,
            at: tuple[NDArray[np.int64], ...] = at,
        ) -> None:
            values[number, inside] = response[at]

        if len(inside):
            respond(np.asarray(image[window.read])[..., channel : channel + 1], window.inner, take, workers)
