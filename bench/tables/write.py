"""The four tidy tables: their columns, and how a run writes its rows. No pandas: the measured process writes."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import require
from bench.files import write_atomically

Row = Mapping[str, Any]

_RUN_TEXT = (
    *("run_id", "run_key", "started", "git_commit", "status", "reason", "flags", "experiment", "dataset", "pipeline"),
    "model",
)
_RUN_NUMBERS = (
    *("seed", "parameters", "steps", "epochs", "validations", "best_step", "best_val_score", "late_gain", "stopped"),
    "peak_memory_bytes",
)
SCHEMAS: dict[str, tuple[str, ...]] = {  # the columns that always exist, in this order; others follow by name
    "runs": (*_RUN_TEXT, *_RUN_NUMBERS, "peak_memory_kind", "harness_seconds"),
    "stages": ("run_id", "stage", "split", "seconds", "images", "pixels"),
    "scores": ("run_id", "split", "image", "metric", "class", "value"),
    "history": (
        *("run_id", "step", "epoch", "seconds", "train_loss", "val_score", "learning_rate", "data_wait_seconds"),
        "budget",
    ),
}
TEXT = {
    *_RUN_TEXT,
    "settings_key",
    "dataset.content",
    "stopped",
    "peak_memory_kind",
    "stage",
    "split",
    "image",
    "metric",
    "class",
    "command",
}
STATUSES = ("ok", "out_of_memory", "oom_suspected", "host_oom", "failed", "timeout", "skipped")
PARTS = ("stages", "scores", "history")


def write_run(directory: Path, run: Row, stages: Iterable[Row], scores: Iterable[Row], history: Iterable[Row]) -> None:
    """Write one run's rows into its directory; `run.json` comes last, so a run is finished when that file is there.

    `run_id` is filled into every row. None and NaN are empty cells; a column that the schema does not know is kept.
    """
    _check(run)
    write_parts(directory, str(run["run_id"]), stages, scores, history)
    write_row(directory, run)


def write_parts(
    directory: Path, run_id: str, stages: Iterable[Row], scores: Iterable[Row], history: Iterable[Row]
) -> None:
    """Write all of a run's rows but its own."""
    for name, rows in zip(PARTS, (stages, scores, history), strict=True):
        write_part(directory, name, run_id, rows)


def write_part(directory: Path, name: str, run_id: str, rows: Iterable[Row]) -> None:
    """Write one run's rows of one table (stages, scores or history); a run that dies later keeps what it had."""
    directory.mkdir(parents=True, exist_ok=True)
    owned = [{**row, "run_id": run_id} for row in rows]
    write_atomically(directory / f"{name}.csv", to_csv(owned, SCHEMAS[name]))


def write_row(directory: Path, run: Row) -> None:
    """Write a run's row of `runs`, which says that the run is over; what else its directory holds stays."""
    _check(run)
    text = json.dumps({key: _plain(value) for key, value in run.items()}, indent=1, allow_nan=False)
    write_atomically(directory / "run.json", text + "\n")


def run_key(settings_key: str, facts: Row) -> str:
    """What makes two runs the same: settings and code (`settings_key`), and the content of the data."""
    return f"{settings_key}-{facts.get('dataset.content', '')}"


def _check(run: Row) -> None:
    require("run_id" in run and "status" in run, "a run's row needs at least run_id and status")
    require(run["status"] in STATUSES, f"status must be one of {', '.join(STATUSES)}, got {run['status']!r}")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of a table without a fixed schema to a CSV file; columns by name."""
    write_atomically(path, to_csv(rows, ()))


def to_csv(rows: list[dict[str, Any]], schema: tuple[str, ...]) -> str:
    """CSV text with the schema's columns first and all others by name; missing and empty values are empty cells."""
    extra = sorted({column for row in rows for column in row} - set(schema))
    columns = [*schema, *extra]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, str):
        return plain.replace("\r", "")
    return repr(plain) if isinstance(plain, int | float) else json.dumps(plain, sort_keys=True)


def _plain(value: Any) -> Any:
    """Numpy scalars as Python's; NaN as None: what was not measured is empty. Lists and dicts stay whole."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
