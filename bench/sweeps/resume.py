"""What a results folder already holds of a sweep: which runs are finished, which are done anew, what they replace."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import InputError, require
from bench.files import fill_atomically, read_json, write_atomically
from bench.tables.read import read_run_rows

RERUNS = ("failed", "all", "none")
STARTED = "started.json"  # in a run's directory from its beginning: the columns of its row known by then


@dataclass(frozen=True)
class Attempt:
    """A run directory. `status` is None where no whole row is in it: killed, damaged, or still going."""

    directory: Path
    run_key: str
    status: str | None
    machine: str
    started: str

    @property
    def rank(self) -> tuple[bool, bool, str, str]:
        """Orders the attempts at one run: the last one counts, and any that ended well before any that did not."""
        return (self.status == "ok", self.status is not None, self.started, self.directory.name)


def list_attempts(results_dir: Path, ending: str = "") -> list[Attempt]:
    """Return every run directory whose name ends so, without those that have no key (they are older than keys)."""
    found = sorted((results_dir / "runs").glob(f"*{ending}"))
    read = [_read_attempt(directory) for directory in found if directory.is_dir()]
    return [attempt for attempt in read if attempt.run_key]


def _read_attempt(directory: Path) -> Attempt:
    try:
        row, whole = read_run_rows(directory)["runs"][0], True
    except InputError:
        row, whole = _read_started(directory), False
    text = {name: str(row.get(name) or "") for name in ("run_key", "machine.id", "started")}
    status = str(row["status"]) if whole else None
    return Attempt(directory, text["run_key"], status, text["machine.id"], text["started"])


def _read_started(directory: Path) -> dict[str, Any]:
    try:
        row = read_json(directory / STARTED)
    except InputError:
        return {}
    return row if isinstance(row, dict) else {}


def begin(directory: Path, row: dict[str, Any]) -> None:
    """Make the run's directory, whose `started.json` holds from the first moment what is known of the run."""
    claims = directory.parents[1] / "claims"
    for folder in (claims, directory.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with fill_atomically(directory, beside=claims) as new:
        new.mkdir()
        write_atomically(new / STARTED, json.dumps(row, indent=1, default=str))


def find_finished(found: Sequence[Attempt], run_key: str, rerun: str) -> Attempt | None:
    """Find the attempt that makes doing a run again unnecessary.

    Args:
        found: Attempts, also at other runs.
        run_key: Key of the run.
        rerun: One of `RERUNS`.

    Returns:
        The attempt; None where the run is to be done.

    Raises:
        InputError: `rerun` is none of `RERUNS`.
    """
    require(rerun in RERUNS, f"rerun must be one of {', '.join(RERUNS)}, got {rerun!r}")
    ended = [attempt for attempt in found if attempt.run_key == run_key and attempt.status is not None]
    last = max(ended, key=lambda attempt: attempt.rank, default=None)
    if last is None or rerun == "all" or (rerun == "failed" and last.status != "ok"):
        return None
    return last


def move_superseded(results_dir: Path, run_key: str) -> None:
    """Leave one attempt of a run per machine in `runs/`: the newest that ended well, else the newest.

    A failure after that one stays as well. The others move to `superseded/`, unread by anything; nothing is deleted. To
    be called by whoever claims the run.
    """
    found = [attempt for attempt in list_attempts(results_dir, _name_ending(run_key)) if attempt.run_key == run_key]
    for machine in {attempt.machine for attempt in found}:
        ranked = sorted((a for a in found if a.machine == machine), key=lambda attempt: attempt.rank)
        for attempt in ranked[:-1]:
            if attempt.status is None or attempt.directory.name < ranked[-1].directory.name:
                (results_dir / "superseded").mkdir(exist_ok=True)
                attempt.directory.rename(results_dir / "superseded" / attempt.directory.name)


def find_newer(results_dir: Path, run_key: str, known: Sequence[Attempt]) -> Attempt | None:
    """Find an attempt at a run that another process finished meanwhile.

    Args:
        results_dir: Results folder.
        run_key: Key of the run.
        known: Attempts that were there when the sweep began; those that were not finished then count as well.

    Returns:
        The best such attempt, if there is one.
    """
    names = {attempt.directory.name for attempt in known if attempt.status is not None}
    found = [
        a
        for a in list_attempts(results_dir, _name_ending(run_key))
        if a.run_key == run_key and a.directory.name not in names
    ]
    return max((a for a in found if a.status is not None), key=lambda attempt: attempt.rank, default=None)


def name_directory(moment: str, pipeline: str, run_key: str) -> str:
    """Return the name of a run's directory.

    Args:
        moment: When it began.
        pipeline: Its arm.
        run_key: Its key, of which the name has the first digits.
    """
    return f"{moment}-{pipeline}{_name_ending(run_key)}"


def _name_ending(run_key: str) -> str:
    return f"-{run_key[:6]}"
