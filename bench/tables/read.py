"""Read back what one run wrote. No pandas: whoever resumes a sweep reads rows, not tables."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from bench.config import InputError, require
from bench.files import read_json
from bench.tables.columns import find_column, list_required
from bench.tables.write import PARTS, STATUSES, restore


def read_run_rows(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of one run by table. Raises InputError with the reason if the run is unfinished or damaged."""
    run = _read_json(directory / "run.json")
    found: dict[str, list[dict[str, Any]]] = {"runs": [run]}
    for name in PARTS:
        path = directory / f"{name}.csv"
        needed = run["status"] == "ok" or path.exists()  # a run that died early keeps its row without the rest
        found[name] = _read_rows(path, name, str(run["run_id"])) if needed else []
    return found


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError("it has no run.json: the run is still going, or was killed")
    try:
        run = read_json(path)
    except InputError as error:
        raise InputError(f"its run.json cannot be read ({error.__cause__})") from error
    if not isinstance(run, dict) or not isinstance(run.get("run_id"), str) or run.get("status") not in STATUSES:
        raise InputError("its run.json is not a run's row: it needs a run_id and a known status")
    _check_values(run)
    return run


def _check_values(run: dict[str, Any]) -> None:
    """Raise InputError unless texts can be written, the run_id is the name of a folder, and numbers are numbers."""
    try:
        json.dumps(run, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"its run.json holds text that is not Unicode ({error.reason})") from error
    if run["run_id"] != Path(run["run_id"]).name or run["run_id"] in ("", ".", "..") or "\0" in run["run_id"]:
        raise InputError(f"its run.json has the run_id {run['run_id']!r}, which is not the name of a folder")
    for name, value in run.items():
        column = find_column("runs", name)
        if column and column.kind == "number" and isinstance(value, str | list | dict) and value not in ("inf", "-inf"):
            raise InputError(f"its run.json has {value!r} where {name} needs a number")


def _read_rows(path: Path, table: str, run_id: str) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows: list[dict[str, Any]] = list(reader)
    except (ValueError, OSError, csv.Error) as error:
        raise InputError(f"its {path.name} cannot be read ({error})") from error
    missing = [column for column in list_required(table, "any code") if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"its {path.name} lacks the column {missing[0]}")
    if not text.endswith("\n") or any(None in row or None in row.values() or row["run_id"] != run_id for row in rows):
        raise InputError(f"its {path.name} holds a row that is torn or belongs to another run")
    numbers = [n for n in reader.fieldnames or () if (c := find_column(table, n)) and c.kind == "number"]
    for row in rows:
        _check_numbers(path.name, row, numbers)
    return [{name: restore(cell) for name, cell in row.items()} for row in rows]


def _check_numbers(file: str, row: dict[str, str], columns: list[str]) -> None:
    for name in columns:
        try:
            known = not math.isnan(float(row[name] or 0))  # what is not known is an empty cell
        except ValueError:
            known = False
        require(known, f"its {file} has {row[name]!r} where {name} needs a number")
