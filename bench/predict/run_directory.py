"""What a finished run left behind: its settings, its task and its checkpoint, checked as they are read."""

import types
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from bench.arms import ARMS
from bench.config import Config, DatasetConfig, InputError, PipelineConfig, require, walk_subclasses
from bench.datasets import task_file
from bench.datasets.sample import Task
from bench.datasets.task_file import Normalization
from bench.files import read_json

DECISIVE = ("dataset", "pipeline", "superpixels", "graph")  # what a prediction hangs on: must be there to the letter


@dataclass(frozen=True)
class FinishedRun:
    """A run whose model can be used again."""

    directory: Path
    config: Config
    task: Task
    normalization: Normalization

    @property
    def checkpoint(self) -> Path:
        """File of the weights."""
        return self.directory / "checkpoint.pt"


def read_run(directory: Path) -> FinishedRun:
    """Return the run of a directory. Raises `InputError` saying what is missing or wrong, and in which file."""
    require(
        directory.is_dir(), f"{directory} is not a folder: give run= the directory of a run, below results_dir/runs"
    )
    require(
        (directory / "config.json").is_file(),
        f"{directory} is no run directory, as it has no config.json: give one of those below results_dir/runs",
    )
    config = read_config(directory / "config.json")
    name = config.pipeline.name
    require(
        not ARMS[name].sees_truth,
        f"{directory} is a run of the {name}, which needs the true mask: give a run of another arm",
    )
    require(
        not ARMS[name].runs_elsewhere,
        f"{directory} scored masks that another program made: predict with that program, or give a run of another arm",
    )
    require(
        config.experiment.kind == "runs",
        f"{directory} is a run of the kind {config.experiment.kind}, which keeps no model: give an ordinary run",
    )
    require(
        any(directory.glob("checkpoint.*")),
        f"{directory} has no checkpoint, so the run did not get as far: give a run whose status is ok",
    )
    require((directory / "task.json").is_file(), f"{directory} has no task.json: repeat the run, as it is an old one")
    task, normalization = task_file.read_task(directory / "task.json")
    return FinishedRun(directory, config, task, normalization)


def read_config(path: Path) -> Config:
    """Return the settings of a run as `asdict(Config)` wrote them. Raises `InputError` naming `path` and the setting.

    A run of another version may lack settings, or have others, that no prediction hangs on; those have defaults.
    """
    content = read_json(path)
    try:
        for group in DECISIVE:
            require(isinstance(content, dict) and group in content, f"{group} is missing")
        rebuilt = rebuild(Config, content, "")
    except InputError as error:
        raise InputError(f"{path} does not hold the settings of a run: {error}") from error
    assert isinstance(rebuilt, Config)
    return rebuilt


def rebuild(kind: Any, value: Any, name: str) -> Any:
    """Return a value of JSON as its type.

    Args:
        kind: A data class, a list, a dict, an optional or a plain type.
        value: The value as JSON has it.
        name: Dotted name of the setting, for sentences.

    Raises:
        InputError: The value is not of that type, or a setting is missing or unknown on which a prediction hangs.
    """
    if is_dataclass(kind):
        return _rebuild_class(kind, value, name)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        [kind] = [option for option in inner if option is not type(None)]
        return rebuild(kind, value, name)
    if origin is list:
        require(isinstance(value, list), f"{name} must be a list, got {value!r}")
        return [rebuild(inner[0], item, name) for item in value]
    if origin is dict:
        require(isinstance(value, dict), f"{name} must be an object, got {value!r}")
        return {
            rebuild(inner[0], _read_key(inner[0], key), name): rebuild(inner[1], item, name)
            for key, item in value.items()
        }
    return _check_plain(kind, value, name)


def _rebuild_class(kind: Any, value: Any, name: str) -> Any:
    require(isinstance(value, dict), f"{name or 'the settings'} must be an object, got {value!r}")
    if kind in (DatasetConfig, PipelineConfig):
        kind = _find_class(kind, value.get("name"), name)
    prefix = f"{name}." if name else ""
    known = [item.name for item in fields(kind)]
    if name.split(".")[0] in DECISIVE:
        for key in sorted(set(value) - set(known)):
            raise InputError(f"{prefix}{key} is no setting of this version")
        for key in known:
            require(key in value, f"{prefix}{key} is missing: the run is of another version")
    hints = get_type_hints(kind)
    return kind(**{key: rebuild(hints[key], value[key], prefix + key) for key in known if key in value})


def _find_class(base: Any, wanted: Any, name: str) -> Any:
    """Return the settings class below `base` that is of the arm or data set `wanted`."""
    classes = {found().name: found for found in walk_subclasses(base)}
    require(wanted in classes, f"{name}.name must be one of {', '.join(classes)}, got {wanted!r}")
    return classes[wanted]


def _read_key(kind: Any, key: str) -> Any:
    """Return a key of a JSON object, whose keys are always text, as a whole number where one is meant."""
    return int(key) if kind is int and key.lstrip("-").isdigit() else key


def _check_plain(kind: Any, value: Any, name: str) -> Any:
    if kind is Any:
        return value
    fits = type(value) is kind or (kind is float and type(value) is int)
    require(fits, f"{name} must be of the type {kind.__name__}, got {value!r}")
    return kind(value)
