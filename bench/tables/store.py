"""Run directories and the tables collected from them: every file is written whole or not at all."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.config import InputError, require

Row = Mapping[str, Any]

_RUN_TEXT = (
    *("run_id", "run_key", "started", "git_commit", "status", "reason", "flags", "experiment", "dataset", "pipeline"),
    "model",
)
_RUN_NUMBERS = ("seed", "parameters", "epochs", "best_epoch", "best_val_score", "stopped", "peak_memory_bytes")
SCHEMAS: dict[str, tuple[str, ...]] = {  # the columns that always exist, in this order; others follow by name
    "runs": (*_RUN_TEXT, *_RUN_NUMBERS, "peak_memory_kind", "harness_seconds"),
    "stages": ("run_id", "stage", "split", "seconds", "images", "pixels"),
    "scores": ("run_id", "split", "image", "metric", "class", "value"),
    "history": ("run_id", "epoch", "seconds", "train_loss", "val_score", "learning_rate", "data_wait_seconds"),
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
_PARTS = ("stages", "scores", "history")


@dataclass(frozen=True)
class Unfinished:
    """A run directory that gives no row: its name below `runs/` and why."""

    directory: str
    why: str


@dataclass(frozen=True)
class Tables:
    """The four tables of a result folder, and the run directories that are not in them."""

    runs: pd.DataFrame
    stages: pd.DataFrame
    scores: pd.DataFrame
    history: pd.DataFrame
    unfinished: tuple[Unfinished, ...] = ()


# ---------------------------------------------------------------------------------------------------------- write


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
    for name, rows in zip(_PARTS, (stages, scores, history), strict=True):
        write_part(directory, name, run_id, rows)


def write_part(directory: Path, name: str, run_id: str, rows: Iterable[Row]) -> None:
    """Write one run's rows of one table (stages, scores or history); a run that dies later keeps what it had."""
    directory.mkdir(parents=True, exist_ok=True)
    owned = [{**row, "run_id": run_id} for row in rows]
    write_atomically(directory / f"{name}.csv", _to_csv(owned, SCHEMAS[name]))


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
    write_atomically(path, _to_csv(rows, ()))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` so that at any moment it holds the old bytes or the new ones."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _to_csv(rows: list[dict[str, Any]], schema: tuple[str, ...]) -> str:
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


# -------------------------------------------------------------------------------------------------------- collect


def collect(results_dir: Path) -> Tables:
    """Read every run directory below `results_dir/runs` and write `results_dir/tables/*.csv`.

    A directory without a readable, complete run is left out and named in `Tables.unfinished`. Rows are sorted by
    run_id and keep their text as written, so that collecting twice gives identical bytes.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    unfinished: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for directory in _run_directories(results_dir):
        try:
            found = read_run(directory)
            run_id = str(found["runs"][0]["run_id"])
            if run_id in seen:
                raise InputError(f"it repeats the run_id of runs/{seen[run_id]}")
        except InputError as error:
            unfinished.append({"directory": directory.name, "why": str(error)})
            continue
        seen[run_id] = directory.name
        for name, part in found.items():
            rows[name] += part
    (results_dir / "tables").mkdir(exist_ok=True)
    for name, schema in SCHEMAS.items():
        write_atomically(results_dir / "tables" / f"{name}.csv", _to_csv(_by_run(rows[name]), schema))
    write_atomically(results_dir / "tables" / "unfinished.csv", _to_csv(unfinished, ("directory", "why")))
    return load(results_dir)


def _by_run(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["run_id"]))


def _run_directories(results_dir: Path) -> list[Path]:
    runs = results_dir / "runs"
    directories = sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    require(len(directories) > 0, f"results_dir {results_dir} holds no runs: there is nothing in {runs}")
    return directories


def read_run(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of one run by table. Raises InputError with the reason if the run is unfinished or damaged."""
    run = _read_json(directory / "run.json")
    found: dict[str, list[dict[str, Any]]] = {"runs": [run]}
    for name in _PARTS:
        path = directory / f"{name}.csv"
        needed = run["status"] == "ok" or path.exists()  # a run that died early keeps its row without the rest
        found[name] = _read_rows(path, SCHEMAS[name], str(run["run_id"])) if needed else []
    return found


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError("it has no run.json: the run is still going, or was killed")
    try:
        run = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"its run.json cannot be read ({error})") from error
    if not isinstance(run, dict) or not isinstance(run.get("run_id"), str) or run.get("status") not in STATUSES:
        raise InputError("its run.json is not a run's row: it needs a run_id and a known status")
    return run


def _read_rows(path: Path, schema: tuple[str, ...], run_id: str) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows: list[dict[str, Any]] = list(reader)
    except (ValueError, OSError, csv.Error) as error:
        raise InputError(f"its {path.name} cannot be read ({error})") from error
    missing = [column for column in schema if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"its {path.name} lacks the column {missing[0]}")
    if not text.endswith("\n") or any(None in row or None in row.values() or row["run_id"] != run_id for row in rows):
        raise InputError(f"its {path.name} holds a row that is torn or belongs to another run")
    return rows


# ----------------------------------------------------------------------------------------------------------- load


def load(results_dir: Path) -> Tables:
    """Read the collected tables. Numbers are numbers, names stay text (an image called 001 or NA keeps its name)."""
    folder = results_dir / "tables"
    frames = {name: _load(folder / f"{name}.csv") for name in (*SCHEMAS, "unfinished")}
    require(len(frames["runs"]) + len(frames["unfinished"]) > 0, f"results_dir {results_dir} holds no runs")
    pairs = zip(frames["unfinished"]["directory"], frames["unfinished"]["why"], strict=True)
    unfinished = tuple(Unfinished(str(directory), str(why)) for directory, why in pairs)
    return Tables(frames["runs"], frames["stages"], frames["scores"], frames["history"], unfinished)


def _load(path: Path) -> pd.DataFrame:
    require(path.exists(), f"{path} does not exist: collect the runs first (python -m bench collect results_dir=...)")
    text = dict.fromkeys((*TEXT, "directory", "why"), "str")
    try:
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], low_memory=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table ({error})") from error
    name = path.stem
    missing = [column for column in SCHEMAS.get(name, ()) if column not in frame]
    require(not missing, f"{path} lacks the column {missing[:1]}: collect the runs again")
    return frame.copy()  # in one piece: read column by column it is slow to work with


def current(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows that count: of several runs with one key, data and machine the newest ok one, else the newest one.

    The key is run_key, else settings_key; a run without either stands for itself. Machines are told apart by
    `machine.*`, data by `dataset.content`; a run that died before it knew its data belongs to the others of its key.
    """
    key = runs["run_key"].fillna(_column(runs, "settings_key")).fillna(runs["run_id"])
    content = _column(runs, "dataset.content")
    content = content.fillna(content.groupby(key).transform("last")).fillna("")
    ranked = runs.assign(_key=key, _content=content, _machine=machine_labels(runs), _ok=runs["status"] == "ok")
    ranked = ranked.sort_values(["_ok", "started", "run_id"], na_position="first", kind="stable")
    newest = ranked.drop_duplicates(["_key", "_content", "_machine"], keep="last")
    return newest[list(runs.columns)].sort_values("run_id").reset_index(drop=True)


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    return runs[name] if name in runs else pd.Series(None, index=runs.index, dtype="str")


def machine_labels(runs: pd.DataFrame) -> pd.Series:
    """One text per run that names its machine: processor, cores, accelerator and id. Empty where nothing is known.

    A run that died before it could say takes the machine of the others, if there is only one.
    """
    labels = pd.Series([_machine(row) for row in runs.to_dict("records")], index=runs.index, dtype="str")
    known = set(labels) - {""}
    return labels.replace("", known.pop()) if len(known) == 1 else labels


def _machine(row: Mapping[Any, Any]) -> str:
    cpu, cores, gpu, key = (row.get(f"machine.{fact}") for fact in ("cpu", "cores", "gpu", "id"))
    parts = [] if pd.isna(cpu) else [str(cpu)]
    parts += [] if pd.isna(cores) else [f"{int(cores)} cores"]
    parts += [] if pd.isna(gpu) else [str(gpu)]
    name = ", ".join(parts)
    return name if pd.isna(key) else f"{name} ({key})".strip()
