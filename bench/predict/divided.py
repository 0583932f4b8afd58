"""One large image by several workers: each predicts runs of tiles, and this process puts them together and writes them.

Superpixels come from a clustering of the whole image, so a graph arm predicts it in one process, on all its threads.
"""

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.arrays.tiles import Window
from bench.config import ParallelConfig
from bench.datasets.files import Arranged, Scaled
from bench.measure.machine import default_threads
from bench.pipelines.parallel import stream_parallel
from bench.pipelines.protocol import Divisible, Pipeline
from bench.predict.loading import load_run
from bench.predict.prediction import Work, list_planes, open_work
from bench.predict.run_directory import read_run


@dataclass(frozen=True)
class TileRun:
    """A run of tiles of one image, picklable; `source` is the pickled piece of work and the scaling of the image."""

    source: bytes
    windows: Sequence[Window]
    scores: bool


@dataclass(frozen=True)
class DividedPipeline:
    """A trained arm whose tiles are predicted by workers: to the same bits as by `pipeline` alone."""

    pipeline: Divisible
    work: Work

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image, as `bench.pipelines.protocol.Pipeline.predict_into`.

        Args:
            image: The image of `work` (*spatial, C), a `Scaled`.
            out: Receives the classes (*spatial).
            scratch: Not needed.
            progress: Receives the share that is done.
        """
        del scratch
        self._predict(image, out, None, progress)

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image by workers, and its class probabilities, as `Probabilistic` describes it.

        Args:
            image: The image of `work` (*spatial, C), a `Scaled`.
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Not needed.
            progress: Called with the share of the runs of tiles that are done, in (0, 1].
        """
        del scratch
        self._predict(image, mask, shares, progress)

    def _predict(
        self, image: Source, mask: Writable, shares: Writable | None, progress: Callable[[float], None]
    ) -> None:
        assert isinstance(image, Scaled)
        runs = self.pipeline.divide(image.shape[:-1])
        source = pickle.dumps((self.work, image.scaling))
        parts = [TileRun(source, windows, shares is not None) for windows in runs]
        made = self._stream(parts, self.work.settings.parallel, progress)
        self.pipeline.join_tiles(made, [window for windows in runs for window in windows], mask, shares)

    def _stream(
        self, parts: Sequence[TileRun], parallel: ParallelConfig, progress: Callable[[float], None]
    ) -> Iterator[NDArray[Any]]:
        """Yield the tiles of all runs in their order."""
        for done, found in enumerate(stream_parallel(predict_run, parts, parallel, default_threads()), start=1):
            yield from found
            progress(done / len(parts))


def divide_pipeline(pipeline: Pipeline[Any], work: Work) -> Any:
    """Return what predicts a single image by the workers of the settings, or the pipeline itself where it cannot be.

    A stack of planes, and an arm whose image is not divided, are predicted by this process: a note says so.
    """
    run = read_run(work.run)
    if isinstance(pipeline, Divisible) and list_planes(work, run) == [None]:
        return DividedPipeline(pipeline, work)
    name = run.config.pipeline.name
    print(f"note: {name} predicts {work.image.name} in this process: parallel is for several images", file=sys.stderr)
    return pipeline


def predict_run(part: TileRun) -> list[NDArray[Any]]:
    """Predict a run of tiles, wherever this process is: it needs the files of the run and of the image."""
    pipeline, image = _open_source(part.source)
    return pipeline.predict_tiles(image, part.windows, part.scores)


@lru_cache(maxsize=1)
def _open_source(source: bytes) -> tuple[Divisible, Scaled]:
    work, scaling = pickle.loads(source)
    run, pipeline = load_run(work.run, work.settings.device)
    file, layout = open_work(work, run)
    assert isinstance(pipeline, Divisible)
    return pipeline, Scaled(Arranged(file.array, layout), scaling)
