"""The three verbs that make a pipeline, and what they hand back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.datasets.sample import Sample
from bench.fitlog import FitLog


class Prepared(Protocol):
    """What a pipeline makes of a sample before any learning."""

    @property
    def segments(self) -> NDArray[np.int32] | None:
        """Superpixel ids, (*spatial); None for a pixel arm."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Counts worth a column of `runs`, as means over the test images: num_nodes, num_edges, n_segments (asked)."""


P = TypeVar("P", bound=Prepared)


class Pipeline(Protocol[P]):
    """An arm of the comparison, built as `PIPELINES[name](config, task)` from a `Config` and a `Task`."""

    def prepare(self, sample: Sample) -> P:
        """Tiles, or a superpixel graph; no learning."""

    def fit(self, train: Sequence[P], val: Sequence[P]) -> FitLog:
        """Learn from `train`, choose the checkpoint on `val`."""

    def predict(self, item: P) -> NDArray[np.integer]:
        """Class indices at the image's full resolution, (*spatial)."""

    def save(self, path: Path) -> None:
        """Write the learned weights to `path`; an arm that learns nothing writes nothing."""
