"""Reports to TensorBoard or MLflow when a run is over, from its row and tables, in a process of its own.

Neither package is imported, or need be there, unless a setting asks for it. Whatever a tracker does, the row stays.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from bench.config import Config, InputError, flatten

TIMEOUT = 120.0  # seconds that a tracker may take for one run
NEEDS = {"tensorboard": ("tensorboard", "tensorboard"), "mlflow": ("mlflow", "mlflow-skinny")}  # module, package
NOT_A_SETTING = ("results_dir", "rerun", "experiment.", "tracker")  # of a run: in no table, and told to no tracker
CURVES = ("train_loss", "val_score", "learning_rate")  # columns of `history`
QUIET = {  # variables of a tracker's process, unless the user sets them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}
MOST = {"metrics": 1000, "params": 100, "text": 5000}  # of MLflow, in one request; letters of a text


@dataclass(frozen=True)
class Point:
    """A number at a moment: `step` is one of the optimiser, `seconds` are those since the start of training."""

    name: str
    value: float
    step: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """A run that is over, as its directory holds it. `started` in seconds since 1970."""

    run_id: str
    experiment: str
    status: str
    started: float
    duration: float
    settings: dict[str, Any]
    facts: dict[str, str]  # what is text in its row: reason, flags, versions, the machine
    points: tuple[Point, ...]


def check_tracker(tracker: str) -> None:
    """Raise InputError where the package of `tracker` is not there; `none` needs none."""
    if tracker in NEEDS and find_spec(NEEDS[tracker][0]) is None:
        raise InputError(
            f"tracker={tracker} needs the package {NEEDS[tracker][1]}: pip install 'gnn-vs-cnn[trackers]', "
            "or set tracker=none"
        )


def track(config: Config, directory: Path) -> str:
    """Report the run in `directory` to the tracker of its settings. Returns a warning, empty where all went well."""
    from bench.measure.isolation import run_isolated

    if config.tracker == "none":
        return ""
    variables = {name: os.environ.get(name, value) for name, value in QUIET.items()}
    try:
        reason = run_isolated(report_run, (config, directory), TIMEOUT, variables).reason
    except OSError as error:  # no process can be started, or its call not written
        reason = str(error)
    return f"warning: {config.tracker} has no runs/{directory.name}, whose row is kept: {reason}" if reason else ""


def report_run(argument: tuple[Config, Path]) -> None:
    """Read a run and write it to its tracker, in a process of its own."""
    config, directory = argument
    TRACKERS[config.tracker](read_finished(config, directory), config.tracker_uri, Path(config.results_dir))


def read_finished(config: Config, directory: Path) -> Finished:
    """Return the run in `directory`. Raises InputError where that is not whole."""
    from bench.tables.read import read_run_rows

    tables = read_run_rows(directory)
    [row] = tables["runs"]
    settings = {name: value for name, value in flatten(config).items() if not name.startswith(NOT_A_SETTING)}
    curves = [
        Point(name, float(row[name]), int(row["step"]), float(row["seconds"]))
        for row in tables["history"]
        if not row["budget"]  # else of a cool-down beside the fit
        for name in CURVES
        if row[name]
    ]
    last = curves[-1].step if curves else 0
    duration = float(row.get("process_seconds") or 0)
    ends = [Point(name, value, last, duration) for name, value in _list_ends(tables) if name not in settings]
    points = tuple(point for point in (*curves, *ends) if isfinite(point.value))
    facts = {name: value for name, value in row.items() if isinstance(value, str) and value and name not in settings}
    started = datetime.fromisoformat(row["started"]).timestamp()
    return Finished(row["run_id"], config.experiment.name, row["status"], started, duration, settings, facts, points)


def _list_ends(tables: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a run as a whole: of its row, its scores over all images of a split, seconds by stage."""
    for name, value in tables["runs"][0].items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value
    for score in tables["scores"]:
        if score["image"] == "all" and score["value"]:
            yield f"{score['split']}/{score['metric']}/{score['class']}", float(score["value"])
    seconds: dict[str, float] = {}
    for stage in tables["stages"]:
        name = f"seconds/{stage['stage']}/{stage['split']}"
        seconds[name] = seconds.get(name, 0.0) + float(stage["seconds"] or 0)
    yield from seconds.items()


# --------------------------------------------------------------------------------------------------- TensorBoard


def write_tensorboard(run: Finished, uri: str | None, results_dir: Path) -> None:
    """Write an event file: curves and ends as scalars, settings as hyperparameters and as text.

    TensorBoard's wall time is the moment of the run, so that its relative axis is the time of training.

    Args:
        run: The run.
        uri: Folder for a folder per run; None means `tensorboard` in `results_dir`.
        results_dir: Results folder of the run.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    folder = Path(uri) if uri is not None else results_dir / "tensorboard"
    known = {name: _plain(value) for name, value in run.settings.items() if value is not None}
    lines = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in {**run.facts, **run.settings}.items()]
    text = make_tensor_proto("\n".join(["| setting | value |", "|---|---|", *lines]))
    metadata = create_summary_metadata("settings", "")
    writer = EventFileWriter(str(folder / run.run_id))
    try:
        writer.add_event(Event(wall_time=run.started, summary=hparams_pb(known, trial_id=run.run_id)))
        about = Summary(value=[Summary.Value(tag="settings", tensor=text, metadata=metadata)])
        writer.add_event(Event(wall_time=run.started, summary=about))
        for point in run.points:
            scalar = Summary(value=[Summary.Value(tag=point.name, simple_value=point.value)])
            writer.add_event(Event(wall_time=run.started + point.seconds, step=point.step, summary=scalar))
    finally:
        writer.close()


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


# -------------------------------------------------------------------------------------------------------- MLflow


def write_mlflow(run: Finished, uri: str | None, results_dir: Path) -> None:
    """Log a run in the experiment of its name: settings as parameters, curves and ends as metrics, facts as tags.

    Args:
        run: The run.
        uri: Address of MLflow; None means a database in `results_dir`.
        results_dir: Results folder of the run.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    local = results_dir.resolve()
    client = MlflowClient(tracking_uri=uri or f"sqlite:///{local / 'mlflow.db'}")
    artifacts = None if uri else (local / "mlflow").as_uri()
    tags = {f"bench.{name}": value[: MOST["text"]] for name, value in {**run.facts, "status": run.status}.items()}
    begun = round(1000 * run.started)
    experiment = _experiment(client, run.experiment, artifacts)
    noted = client.create_run(experiment, start_time=begun, run_name=run.run_id, tags=tags).info.run_id
    params = iter([Param(name, str(value)[: MOST["text"]]) for name, value in run.settings.items()])
    while some := list(islice(params, MOST["params"])):
        client.log_batch(noted, params=some)
    points = iter(run.points)
    while batch := list(islice(points, MOST["metrics"])):
        moments = [begun + round(1000 * point.seconds) for point in batch]
        metrics = [Metric(_name(p.name), p.value, moment, p.step) for p, moment in zip(batch, moments, strict=True)]
        client.log_batch(noted, metrics=metrics)
    ended = "FINISHED" if run.status == "ok" else "FAILED"
    client.set_terminated(noted, ended, begun + round(1000 * run.duration))


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, which is made where it is not there, unless another run makes it meanwhile."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    try:
        return str(found.experiment_id if found else client.create_experiment(name, artifacts))
    except MlflowException:
        return str(client.get_experiment_by_name(name).experiment_id)


def _name(name: str) -> str:
    """Return what MLflow takes for the name of a metric."""
    return re.sub(r"[^\w\-. /:]", "_", name)


TRACKERS: dict[str, Callable[[Finished, str | None, Path], None]] = {
    "tensorboard": write_tensorboard,
    "mlflow": write_mlflow,
}
