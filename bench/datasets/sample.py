"""What every data set yields: named images with masks, in three splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bench.arrays.protocols import Source
from bench.datasets.normalization import Stored


@runtime_checkable
class Holdable(Protocol):
    """A source that can be in memory in fewer bytes than its float32 values take."""

    def hold(self) -> Source:
        """Return the same values, no longer read from a file."""


def hold_source(source: Source) -> Source:
    """Return `source` in memory, where it offers that in the type that its file has, to be scaled on access."""
    return source.hold() if isinstance(source, Holdable) else np.asarray(source)


@dataclass(frozen=True)
class Sample:
    """One image and its mask: `image` (*spatial, C) float32, normalised; `mask` (*spatial) integer class indices."""

    name: str
    image: Source
    mask: Source


@dataclass(frozen=True)
class Task:
    """What a model must know of a data set: nothing that a new image would not also have."""

    class_names: tuple[str, ...]  # background first
    in_channels: int
    spatial_axes: int  # 2 or 3
    ignore_index: int | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Suggestion:
    """A setting, its value and why; `str` gives them as one line."""

    setting: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.setting}={self.value} ({self.reason})"


@dataclass(frozen=True)
class Splits:
    """A data set, split by image. `name` labels it in tables; `facts` are further columns of the `runs` table.

    `stored` says what the values of the training images were before scaling, for those who scale a new image alike;
    `notes` are sentences for whoever starts a sweep: what was left out, what the results cannot say; `proposals` are
    settings that the training images suggest, each with its reason.
    """

    name: str
    task: Task
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    facts: dict[str, str | int | float]
    stored: Stored | None = None
    notes: tuple[str, ...] = ()
    proposals: tuple[Suggestion, ...] = ()
