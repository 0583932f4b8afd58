"""A sweep: every job that is not finished already, each done by one process only, however many sweep one folder."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.config import InputError
from bench.files import FULL
from bench.sweeps.claims import Claim, clear_dead, take
from bench.sweeps.jobs import Job, execute, identify_run
from bench.sweeps.pace import SweepPace
from bench.sweeps.resume import Attempt, find_finished, find_newer, list_attempts, move_superseded

POLL = 0.5  # seconds between two looks at runs that another process is doing


@dataclass(frozen=True)
class Planned:
    """A job with its place among the others, its key, and the attempts at it that were there when the sweep began."""

    job: Job
    number: int
    total: int
    run_key: str
    known: tuple[Attempt, ...] = field(repr=False)

    @property
    def results_dir(self) -> Path:
        """Results folder of the job."""
        return Path(self.job.config.results_dir)

    @property
    def before(self) -> Attempt | None:
        """The finished attempt for which it needs not be done."""
        return find_finished(self.known, self.run_key, self.job.config.rerun)

    def say(self, words: str) -> None:
        """Print a line about this run to standard error."""
        print(f"[{self.number}/{self.total}] {words}", file=sys.stderr, flush=True)


def plan_runs(jobs: Sequence[Job]) -> list[Planned]:
    """Return what is to be done, seen from what is there. Raises InputError for a folder that cannot be written."""
    folders = {job.config.results_dir: Path(job.config.results_dir) for job in jobs}
    known = {name: tuple(list_attempts(folder)) for name, folder in folders.items()}
    for folder in folders.values():
        check_writable(folder)
    planned = []
    for number, job in enumerate(jobs, start=1):
        run_key = identify_run(job)[1]
        same = tuple(attempt for attempt in known[job.config.results_dir] if attempt.run_key == run_key)
        planned.append(Planned(job, number, len(jobs), run_key, same))
    return planned


def check_writable(folder: Path) -> None:
    """Remove what killed sweeps left of their claims. Raises InputError where no run could be made below `folder`."""
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        claim = take(folder / "claims" / "writable.claim")
        clear_dead(folder / "claims")
        if claim is not None:
            claim.release()
    except OSError as error:
        raise explain_unwritable(folder, error) from error


def explain_unwritable(folder: Path, error: OSError) -> InputError:
    """Return the error for a results folder that cannot be written, or not any more."""
    advice = "free some space" if error.errno in FULL else "choose another one"
    return InputError(f"results_dir {folder} cannot be written ({error.strerror or error}): {advice}, and start again")


def sweep(planned: Sequence[Planned], statuses: dict[str, list[str]]) -> None:
    """Do what is not finished; `statuses` gathers how each job stands, by results folder.

    Runs that another process is doing are waited for at the end: if it dies, they are done here.
    """
    left = [one for one in planned if not note_found(one, statuses)]
    waited, pace = False, SweepPace()
    while left:
        others: list[Planned] = []
        for place, one in enumerate(left, start=1):
            if not do_run(one, statuses, pace):
                others.append(one)
                continue
            estimate = pace.describe([rest.job for rest in (*left[place:], *others)])
            if estimate:
                one.say(estimate)
        if others and len(others) == len(left):
            if not waited:
                runs = "run" if len(others) == 1 else "runs"
                others[0].say(f"waiting for {len(others)} {runs} that another process is doing")
            waited = True
            time.sleep(POLL)
        left = others


def note_found(one: Planned, statuses: dict[str, list[str]]) -> bool:
    """Return whether a job was finished before the sweep began; then note and print that."""
    if one.before is None:
        return False
    tidy(one)
    _note_finished(one, one.before, "before", statuses)
    return True


def tidy(one: Planned) -> None:
    """Move aside attempts that a finished one replaced: their sweep was killed before it could do so."""
    if len(one.known) > 1:
        with claim_run(one) as claim:
            if claim is not None:
                move_superseded(one.results_dir, one.run_key)


@contextmanager
def claim_run(one: Planned) -> Iterator[Claim | None]:
    """Yield our claim on a run, given up after the block; None where another process holds it.

    Raises InputError where the results folder cannot be written, within the block too.
    """
    try:
        claim = take(one.results_dir / "claims" / f"{one.run_key}.claim")
        try:
            yield claim
        finally:
            if claim is not None:
                claim.release()
    except OSError as error:
        raise explain_unwritable(one.results_dir, error) from error


def _note_finished(one: Planned, attempt: Attempt, when: str, statuses: dict[str, list[str]]) -> None:
    one.say(f"{one.job.label}: finished {when} ({attempt.status}, runs/{attempt.directory.name})")
    statuses.setdefault(one.job.config.results_dir, []).append(str(attempt.status))


def do_run(one: Planned, statuses: dict[str, list[str]], pace: SweepPace) -> bool:
    """Do one job, unless another process did it meanwhile.

    Args:
        one: The job.
        statuses: Gathers how it stands, by results folder.
        pace: Receives the seconds of a run that went well.

    Returns:
        False where another process is doing it.
    """
    with claim_run(one) as claim:
        if claim is None:
            return False
        meanwhile = find_newer(one.results_dir, one.run_key, one.known)
        if meanwhile is not None:
            _note_finished(one, meanwhile, "meanwhile", statuses)
        else:
            started = time.perf_counter()
            status = execute(one.job, one.number, one.total, claim)
            if status == "ok":
                pace.add(one.job, time.perf_counter() - started)
            statuses.setdefault(one.job.config.results_dir, []).append(status)
        move_superseded(one.results_dir, one.run_key)
    return True
