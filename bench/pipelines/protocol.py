"""The verbs that make a pipeline, and what they hand back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.arrays.tiles import Window
from bench.datasets.sample import Sample
from bench.learning.fitlog import FitLog


class Prepared(Protocol):
    """What a pipeline makes of a sample before any learning."""

    @property
    def segments(self) -> NDArray[np.int32] | None:
        """Superpixel ids, (*spatial), or (V, *spatial) of several segmentations; None for a pixel arm."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Counts worth a column of `runs`, as means over the test images: num_nodes, num_edges, n_segments (asked).

        Of several segmentations of an image they are sums: what is computed, not how fine any of them is.
        """


P = TypeVar("P", bound=Prepared)


@runtime_checkable
class Reducing(Protocol):
    """An arm that trains on less of an item than it predicts from."""

    def reduce_item(self, item: Any, /) -> Prepared:
        """Return what `fit` needs of a training item; what only prediction needs is let go."""


@runtime_checkable
class Postponing(Protocol):
    """An arm that need not keep all that it makes of an image if it predicts it once."""

    def prepare_once(self, sample: Sample, /) -> Prepared:
        """Prepare a sample that is predicted once and never learned from, to the same mask as after `prepare`.

        What is left to be made is made by `predict`, after which the `facts` of the item are complete.
        """


@runtime_checkable
class Triable(Protocol):
    """An arm of whose settings only the library of its networks can say whether they fit together."""

    def try_settings(self) -> None:
        """Build a network and let it go. Raises `InputError` for settings that do not fit together."""


@runtime_checkable
class Probabilistic(Protocol):
    """An arm that can say how probable each class is."""

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image that need not fit in memory, as `predict_into`, and its class probabilities.

        Args:
            image: Grey values (*spatial, C), scaled as in training.
            mask: Receives the classes (*spatial); where two classes are equally probable, the lower one.
            shares: Receives the probabilities (K, *spatial), which add up to 1 in each pixel.
            scratch: Folder for what is as large as the image; the caller removes it.
            progress: Receives the share that is done, in [0, 1].
        """


@runtime_checkable
class Divisible(Protocol):
    """An arm that predicts an image in tiles, of which other processes may do some: the results are the same bits."""

    def divide(self, shape: Sequence[int], /) -> list[list[Window]]:
        """Return the tiles of an image (*spatial) in runs, each of which is predicted at one place."""

    def predict_tiles(self, image: Source, windows: Sequence[Window], scores: bool, /) -> list[NDArray[Any]]:
        """Predict a run of tiles of an image (*spatial, C): what `join_tiles` needs, with `scores` of probabilities."""

    def join_tiles(
        self,
        made: Iterator[NDArray[Any]],
        windows: Sequence[Window],
        mask: Writable,
        shares: Writable | None = None,
        /,
    ) -> None:
        """Put the tiles of an image together.

        Args:
            made: What `predict_tiles` made of each window, in their order.
            windows: All windows of the image.
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial); None where there are none.
        """


class Pipeline(Protocol[P]):
    """An arm of the comparison, built by `bench.pipelines.registry.build_pipeline` from a `Config` and a `Task`."""

    def prepare(self, sample: Sample) -> P:
        """Tiles, or a superpixel graph; no learning."""

    def fit(self, train: Sequence[P], val: Sequence[P]) -> FitLog:
        """Learn from `train`, choose the checkpoint on `val`."""

    def predict(self, item: P) -> NDArray[np.integer]:
        """Class indices at the image's full resolution, (*spatial)."""

    def save(self, path: Path) -> None:
        """Write the learned weights to `path`; an arm that learns nothing writes nothing."""

    def load(self, path: Path) -> None:
        """Take what `save` wrote under the same configuration and task."""

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image that need not fit in memory, by blocks, to the same bits as `predict` of the prepared image.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for arrays as large as the image, which the caller removes.
            progress: Called with the share done, in [0, 1].
        """


def prepare_once(pipeline: Pipeline[P], sample: Sample) -> P:
    """Prepare a sample that is predicted once, by `Postponing.prepare_once` where the arm has it."""
    return cast(P, pipeline.prepare_once(sample)) if isinstance(pipeline, Postponing) else pipeline.prepare(sample)
