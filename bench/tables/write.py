"""The four tidy tables: their columns, and how a run writes its rows. No pandas: the measured process writes."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import require
from bench.files import write_atomically
from bench.tables.columns import list_required

Row = Mapping[str, Any]

STATUSES = ("ok", "out_of_memory", "oom_suspected", "host_oom", "failed", "timeout")
PARTS = ("stages", "scores", "history")
_FORMULA = re.compile(r"'*[=+\-@\t]")  # what a spreadsheet takes for a formula, however often protected
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def write_parts(
    directory: Path, run_id: str, stages: Iterable[Row], scores: Iterable[Row], history: Iterable[Row]
) -> None:
    """Write all of a run's rows but its own; `write_row` comes last: a run is finished when its row is there.

    Args:
        directory: The run's directory, made if it is not there.
        run_id: Filled into every row.
        stages: Rows of `stages`. None and NaN are empty cells; a column that the schema does not know is kept.
        scores: Rows of `scores`.
        history: Rows of `history`.
    """
    for name, rows in zip(PARTS, (stages, scores, history), strict=True):
        write_part(directory, name, run_id, rows)


def write_part(directory: Path, name: str, run_id: str, rows: Iterable[Row]) -> None:
    """Write one run's rows of one table; a run that dies later keeps what it had.

    Args:
        directory: The run's directory, made if it is not there.
        name: One of `PARTS`.
        run_id: Filled into every row.
        rows: Rows of that table.
    """
    directory.mkdir(parents=True, exist_ok=True)
    owned = [{**row, "run_id": run_id} for row in rows]
    write_atomically(directory / f"{name}.csv", to_csv(owned, list_required(name)))


def write_row(directory: Path, run: Row) -> None:
    """Write a run's row of `runs`, which says that the run is over; what else its directory holds stays.

    Raises InputError where the row lacks run_id or status, or the status is unknown.
    """
    _check(run)
    text = json.dumps({key: _plain(value) for key, value in run.items()}, indent=1, allow_nan=False)
    write_atomically(directory / "run.json", text + "\n")


def run_key(settings_key: str, facts: Row) -> str:
    """Return what makes two runs the same: settings and code (`settings_key`), and the content of the data."""
    return f"{settings_key}-{facts.get('dataset.content', '')}"


def _check(run: Row) -> None:
    require("run_id" in run and "status" in run, "a run's row needs at least run_id and status")
    require(run["status"] in STATUSES, f"status must be one of {', '.join(STATUSES)}, got {run['status']!r}")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of a table without a fixed schema to a CSV file; columns by name."""
    write_atomically(path, to_csv(rows, ()))


def to_csv(rows: list[dict[str, Any]], first: tuple[str, ...]) -> str:
    """Return CSV text with the columns of `first` first and all others by name; what is missing is an empty cell."""
    extra = sorted({column for row in rows for column in row} - set(first))
    columns = [*first, *extra]
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
        return protect(plain.replace("\r", ""))
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


def protect(text: str) -> str:
    """Return a cell's text so that no spreadsheet takes it for a formula: with an apostrophe before `=`, `+`, `-`, `@`.

    A number stays as it is. `restore` gives the text back, also where it began with apostrophes itself.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def restore(text: str) -> str:
    """Return the text that `protect` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
