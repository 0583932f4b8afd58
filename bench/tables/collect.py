"""Collect the rows of all runs of a results folder into tables, and load those."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.arms import pixel_arms
from bench.config import InputError, require
from bench.files import write_atomically
from bench.tables.columns import TABLES, is_text, list_required
from bench.tables.read import read_run_rows
from bench.tables.write import protect, restore, to_csv

UNFINISHED = ("directory", "why")  # columns of `unfinished`
# Before 3.1 pandas loses the last bit where nobody asks for it; since then it warns where somebody asks.
READS_EXACTLY = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
TO_THE_LAST_BIT = {} if READS_EXACTLY else {"float_precision": "round_trip"}


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


# -------------------------------------------------------------------------------------------------------- collect


def collect(results_dir: Path) -> Tables:
    """Read every run directory below `results_dir/runs`, write `results_dir/tables/*.csv`, and load them.

    A directory without a readable, complete run is left out and named in `Tables.unfinished`. Rows are sorted by
    run_id and keep their text as written, so that collecting twice gives identical bytes.
    """
    texts = _collect_texts(results_dir)
    (results_dir / "tables").mkdir(exist_ok=True)
    for name, text in texts.items():
        write_atomically(results_dir / "tables" / f"{name}.csv", text)
    return load_tables(results_dir)


def read_runs(results_dir: Path) -> Tables:
    """Return what `collect` returns and write nothing: for a folder that is another's, or cannot be written."""
    texts = _collect_texts(results_dir)
    return _tables(results_dir, {name: _parse(f"{name}.csv", io.StringIO(text)) for name, text in texts.items()})


def _collect_texts(results_dir: Path) -> dict[str, str]:
    """The tables of a results folder as CSV."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    unfinished: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for directory in _run_directories(results_dir):
        try:
            found = read_run_rows(directory)
            run_id = str(found["runs"][0]["run_id"])
            if run_id in seen:
                raise InputError(f"it repeats the run_id of runs/{seen[run_id]}")
        except InputError as error:
            unfinished.append({"directory": directory.name, "why": str(error)})
            continue
        seen[run_id] = directory.name
        found["runs"] = [_move_voted_settings(found["runs"][0])]
        for name, part in found.items():
            rows[name] += part
    texts = {name: to_csv(_by_run(rows[name]), list_required(name)) for name in TABLES}
    return texts | {"unfinished": to_csv(unfinished, UNFINISHED)}


def _move_voted_settings(run: dict[str, Any]) -> dict[str, Any]:
    """Move the superpixel settings of a pixel arm, onto which its mask was voted if it was, to `voted.*`."""
    if run.get("pipeline") not in pixel_arms():
        return run
    settings = {name: value for name, value in run.items() if name.startswith("superpixels.")}
    voted = {name.replace("superpixels.", "voted."): value for name, value in settings.items()}
    return run | dict.fromkeys(settings) | (voted if run.get("metrics.voted") is True else {})


def _by_run(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["run_id"]))


def _run_directories(results_dir: Path) -> list[Path]:
    runs = results_dir / "runs"
    directories = sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    require(len(directories) > 0, f"results_dir {results_dir} holds no runs: there is nothing in {runs}")
    return directories


# ----------------------------------------------------------------------------------------------------------- load


def load_tables(results_dir: Path) -> Tables:
    """Read the collected tables. Numbers are numbers, names stay text (an image called 001 or NA keeps its name)."""
    folder = results_dir / "tables"
    for name in (*TABLES, "unfinished"):
        path = folder / f"{name}.csv"
        missing = f"{path} does not exist: collect the runs first (python -m bench collect results_dir=...)"
        require(path.exists(), missing)
    return _tables(
        results_dir, {name: _parse(folder / f"{name}.csv", folder / f"{name}.csv") for name in (*TABLES, "unfinished")}
    )


def _tables(results_dir: Path, frames: dict[str, pd.DataFrame]) -> Tables:
    require(len(frames["runs"]) + len(frames["unfinished"]) > 0, f"results_dir {results_dir} holds no runs")
    pairs = zip(frames["unfinished"]["directory"], frames["unfinished"]["why"], strict=True)
    unfinished = tuple(Unfinished(str(directory), str(why)) for directory, why in pairs)
    return Tables(frames["runs"], frames["stages"], frames["scores"], frames["history"], unfinished)


def _parse(path: Path | str, source: Path | io.StringIO) -> pd.DataFrame:
    """Read a table; `path` names it in sentences. Columns that older code did not write are empty."""
    table = Path(path).stem
    try:
        names = pd.read_csv(source, nrows=0).columns
        if isinstance(source, io.StringIO):
            source.seek(0)
        text = {name: "str" for name in names if is_text(table, name) or name in UNFINISHED}
        options: Any = {"keep_default_na": False, "na_values": [""], "low_memory": False, **TO_THE_LAST_BIT}
        frame: pd.DataFrame = pd.read_csv(source, dtype=text, **options).copy()
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table ({error})") from error
    missing = [column for column in _list_columns(table) if column not in frame]
    require(not missing, f"{path} lacks the column {missing[:1]}: collect the runs again")
    frame = frame.assign(**{name: frame[name].map(restore, na_action="ignore").astype("str") for name in text})
    newer = [column for column in list_required(table) if column not in frame] if table in TABLES else []
    return frame.assign(**dict.fromkeys(newer, np.nan))


def _list_columns(table: str) -> tuple[str, ...]:
    return list_required(table, "any code") if table in TABLES else UNFINISHED


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV text, no cell of which a spreadsheet takes for a formula."""
    texts = {
        name: frame[name].map(lambda cell: protect(cell) if isinstance(cell, str) else cell)
        for name in frame
        if not pd.api.types.is_numeric_dtype(frame[name])
    }
    text: str = frame.assign(**texts).to_csv(index=False, lineterminator="\n")  # type: ignore[arg-type]
    return text


def select_current(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that count: of several runs with one key, data and machine the newest ok one, else the newest.

    The key is run_key, else settings_key; a run without either stands for itself. Machines are told apart by
    `machine.*`, data by `dataset.content`; a run that died before it knew its data belongs to the others of its key.
    """
    key = runs["run_key"].fillna(_column(runs, "settings_key")).fillna(runs["run_id"])
    content = _column(runs, "dataset.content")
    content = content.fillna(content.groupby(key).transform("last")).fillna("")
    ranked = runs.assign(_key=key, _content=content, _machine=label_machines(runs), _ok=runs["status"] == "ok")
    ranked = ranked.sort_values(["_ok", "started", "run_id"], na_position="first", kind="stable")
    newest = ranked.drop_duplicates(["_key", "_content", "_machine"], keep="last")
    return newest[list(runs.columns)].sort_values("run_id").reset_index(drop=True)


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    return runs[name] if name in runs else pd.Series(None, index=runs.index, dtype="str")


def label_machines(runs: pd.DataFrame) -> pd.Series:
    """Return a text per run that names its machine: processor, cores, accelerator and id; empty where unknown.

    A run that died before it could tell takes the machine of the others, if there is only one.
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
