"""What a run's model was trained for, as `task.json` beside its checkpoint: enough to prepare a new image alike."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import NORMALIZATIONS, InputError, require, require_one_of
from bench.datasets.normalization import LEARNED, Moments, Scaling, Stored, choose_scaling, share_scale
from bench.datasets.sample import Task
from bench.files import read_json, write_atomically


@dataclass(frozen=True)
class Normalization:
    """How grey values are scaled: `mean` and `std` (C,) of the training pixels and their number types, where known.

    With centred, `std` is that within images.
    """

    mode: str  # one of bench.config.NORMALIZATIONS
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtypes: tuple[str, ...] = ()

    def check_type(self, dtype: np.dtype[Any], name: str = "the image") -> None:
        """Refuse a new image, called `name`, of stored values `dtype` that training images did not have.

        Each image scaled by its own pixels may have any, and floating point of any length is alike. Raises
        `InputError`.
        """
        alike = any(share_scale(dtype, np.dtype(known)) for known in self.dtypes)
        require(
            self.mode == "per_image" or not self.dtypes or alike,
            f"{name} holds {dtype} values and the run was trained with dataset.normalization={self.mode} on "
            f"{' and '.join(self.dtypes)}, whose grey values mean something else: convert the image",
        )

    def scaling(self, dtype: np.dtype[Any], own: Moments) -> Scaling:
        """Return the scaling of a new image of stored values `dtype` whose moments are `own`. Raises `InputError`."""
        self.check_type(dtype)
        if self.mode not in LEARNED:
            return choose_scaling(self.mode, dtype, own, own)
        train = Moments(0, np.array(self.mean), np.array(self.std) ** 2)
        return choose_scaling(self.mode, dtype, own, train)


def write(path: Path, task: Task, mode: str, stored: Stored | None) -> None:
    """Write `task.json`, whole or not at all.

    Args:
        path: The file.
        task: Classes, channels and axes.
        mode: `dataset.normalization`.
        stored: That of the `Splits`.
    """
    normalization: dict[str, Any] = {"mode": mode, "mean": [], "std": [], "dtypes": []}
    if stored is not None:
        normalization["mean"] = stored.moments.mean.tolist()
        normalization["std"] = np.sqrt(stored.moments.variance).tolist()
        normalization["dtypes"] = list(stored.dtypes)
    content = {
        "class_names": list(task.class_names),
        "in_channels": task.in_channels,
        "spatial_axes": task.spatial_axes,
        "ignore_index": task.ignore_index,
        "shortest": task.shortest,
        "spacing": task.spacing,
        "channel_names": list(task.channel_names),
        "normalization": normalization,
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_task(path: Path) -> tuple[Task, Normalization]:
    """Read what `write` wrote. Raises `InputError` naming the file and what is wrong with it."""
    content = read_json(path)
    try:
        task = _task(content)
        normalization = _normalization(content["normalization"], task.in_channels)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} does not describe a task: {reason}") from error
    return task, normalization


def _task(content: dict[str, Any]) -> Task:
    names, channels, axes, ignored = (
        content[key] for key in ("class_names", "in_channels", "spatial_axes", "ignore_index")
    )
    require(
        isinstance(names, list) and len(names) >= 1 and all(isinstance(name, str) for name in names),
        f"class_names must be a list of names, got {names!r}",
    )
    require(type(channels) is int and channels >= 1, f"in_channels must be a positive whole number, got {channels!r}")
    require(type(axes) is int and axes in (2, 3), f"spatial_axes must be 2 or 3, got {axes!r}")
    require(ignored is None or type(ignored) is int, f"ignore_index must be a whole number or null, got {ignored!r}")
    called = content.get("channel_names", [])
    require(
        called == []
        or (isinstance(called, list) and len(called) == channels and all(type(one) is str for one in called)),
        f"channel_names must be empty or hold {channels} names, got {called!r}",
    )
    shortest, spacing = (_per_axis(content, name, axes) for name in ("shortest", "spacing"))
    return Task(tuple(names), channels, axes, ignored, shortest, spacing, tuple(called))


def _per_axis(content: dict[str, Any], name: str, axes: int) -> Any:
    """Return a positive number for each axis, as a tuple; None where the file has none."""
    values = content.get(name)
    proper = values is None or (isinstance(values, list) and len(values) == axes and min(_numbers(values)) > 0)
    require(proper, f"{name} must be null or {axes} positive numbers, got {values!r}")
    return None if values is None else tuple(values)


def _normalization(content: dict[str, Any], channels: int) -> Normalization:
    require_one_of("normalization.mode", content["mode"], NORMALIZATIONS)
    mean, std = (_numbers(content[key]) for key in ("mean", "std"))
    needed = content["mode"] in LEARNED
    lengths = (channels,) if needed else (0, channels)
    require(
        len(mean) in lengths and len(std) == len(mean),
        f"normalization.mean and normalization.std must hold one number for each of {channels} channels",
    )
    return Normalization(
        content["mode"], tuple(mean), tuple(std), tuple(str(np.dtype(name)) for name in content["dtypes"])
    )


def _numbers(values: Any) -> list[float]:
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    require(array.ndim == 1 and bool(np.isfinite(array).all()), f"must be a list of finite numbers, got {values!r}")
    return [float(value) for value in array]
