"""Read back what one run wrote. No pandas: whoever resumes a sweep reads rows, not tables."""

import csv
import io
from pathlib import Path
from typing import Any

from bench.config import InputError
from bench.files import read_json
from bench.tables.write import PARTS, SCHEMAS, STATUSES


def read_run_rows(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of one run by table. Raises InputError with the reason if the run is unfinished or damaged."""
    run = _read_json(directory / "run.json")
    found: dict[str, list[dict[str, Any]]] = {"runs": [run]}
    for name in PARTS:
        path = directory / f"{name}.csv"
        needed = run["status"] == "ok" or path.exists()  # a run that died early keeps its row without the rest
        found[name] = _read_rows(path, SCHEMAS[name], str(run["run_id"])) if needed else []
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
