"""What every data set yields: named images with masks, in three splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source
from bench.config import GraphConfig, SuperpixelsConfig, require
from bench.datasets.normalization import Stored

Settings = TypeVar("Settings", SuperpixelsConfig, GraphConfig)
Keep = Callable[[NDArray[Any]], Source]  # puts the values of an image where they are read from again and again


@runtime_checkable
class Holdable(Protocol):
    """A source whose values can be kept in fewer bytes than those of float32 take."""

    def hold(self, keep: Keep = np.ascontiguousarray) -> Source:
        """Return the same values, no longer decoded from a file; `keep` is given them as they are stored."""


def hold_source(source: Source, keep: Keep = np.ascontiguousarray) -> Source:
    """Return `source` decoded, where it offers that in the type that its file has, to be scaled on access.

    Args:
        source: An image (*spatial, C), or a mask (*spatial).
        keep: Puts the stored values in memory, or elsewhere; an array that is in memory already stays there.
    """
    if isinstance(source, np.ndarray):
        return source
    return source.hold(keep) if isinstance(source, Holdable) else keep(np.asarray(source))


@dataclass(frozen=True)
class Sample:
    """One image and its mask: `image` (*spatial, C) float32, normalised; `mask` (*spatial) integer class indices."""

    name: str
    image: Source
    mask: Source


@dataclass(frozen=True)
class Task:
    """What a model needs to know of a data set, apart from its images."""

    class_names: tuple[str, ...]  # background first
    in_channels: int
    spatial_axes: int  # 2 or 3
    ignore_index: int | None = None
    shortest: tuple[int, ...] | None = None  # least length of each spatial axis among training images, where known
    spacing: tuple[float, ...] | None = None  # length of a pixel along each spatial axis, where known
    channel_names: tuple[str, ...] = ()  # where all images that name their channels call them so

    @property
    def num_classes(self) -> int:
        """Number of classes K, the background included."""
        return len(self.class_names)

    @property
    def mask_dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every class number, which predicted masks have."""
        return np.min_scalar_type(self.num_classes - 1)


def adopt_spacing(settings: Settings, task: Task) -> Settings:
    """Return settings of superpixels or graphs with the spacing of the images, where they have none of their own.

    Args:
        settings: Settings that have a spacing.
        task: What the images are.

    Raises:
        InputError: A spacing was given for another number of axes.
    """
    own = settings.spacing
    group = "superpixels" if isinstance(settings, SuperpixelsConfig) else "graph"
    require(
        own is None or len(own) == task.spatial_axes,
        f"{group}.spacing must hold one length for each of {task.spatial_axes} axes, got {own}",
    )
    if own is not None or task.spacing is None:
        return settings
    return replace(settings, spacing=list(task.spacing))


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
