"""An experiment becomes jobs; a job becomes one run in a fresh process, and always leaves a row."""

import hashlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import Config, DatasetConfig, ExperimentConfig, InputError, flatten

CODE = Path(__file__).parent
# settings that change no result
NOT_PART_OF_A_RUN = ("results_dir", "experiment.", "measure.timeout", "dataset.cache_dir", "graph.cache_dir")


@dataclass(frozen=True)
class Job:
    """One run to be done: its settings, and the command line that composes them."""

    config: Config
    overrides: tuple[str, ...]
    label: str = ""  # what tells it from the others of its experiment
    known: dict[str, Any] = field(default_factory=dict)  # columns found out before it starts: its data, flags


def expand(experiment: ExperimentConfig, given: Sequence[str]) -> list[list[str]]:
    """The override lists of an experiment's runs; `[given]` when it has no sweeps.

    What the user gave wins: `pipeline=...` keeps only the sweeps of that arm, any other setting replaces the sweep's
    values. Runs are ordered by seed, the arms in alternating order (A B, B A, ...), so that drift hits all alike.
    """
    if not experiment.sweeps:
        return [list(given)]
    chosen = dict(item.lstrip("+").split("=", 1) for item in given if "=" in item)
    runs = [run for sweep in experiment.sweeps for run in _product(sweep, chosen)]
    if not runs:
        raise InputError(f"experiment {experiment.name} has no sweep with pipeline={chosen.get('pipeline')}")
    unique = list(dict.fromkeys(runs))
    return [[*run, *(g for g in given if g not in run)] for run in _alternate(unique)]


def _product(sweep: dict[str, Any], chosen: dict[str, str]) -> Iterator[tuple[str, ...]]:
    if "pipeline" in chosen and chosen["pipeline"] != sweep.get("pipeline"):
        return
    axes = {k: v if isinstance(v, list) else [v] for k, v in sweep.items() if k == "pipeline" or k not in chosen}
    for values in itertools.product(*axes.values()):
        yield tuple(f"{key}={_text(value)}" for key, value in zip(axes, values, strict=True))


def _text(value: Any) -> str:
    """A value as Hydra's override grammar reads it."""
    return "null" if value is None else json.dumps(value) if isinstance(value, bool | list) else str(value)


def _alternate(runs: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    by_seed: dict[str, list[tuple[str, ...]]] = {}
    for run in runs:
        by_seed.setdefault(next((part for part in run if part.startswith("seed=")), ""), []).append(run)
    groups = list(by_seed.values())
    return [run for turn, group in enumerate(groups) for run in (group[::-1] if turn % 2 else group)]


def prepared(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with what is known of their data, each data set loaded once; InputError where it cannot be used.

    Where one will run on a GPU, the meter is calibrated on it first, and what failed flags every run.
    """
    from bench.datasets import load

    found: list[tuple[DatasetConfig, dict[str, Any]]] = []
    for job in jobs:
        if all(job.config.dataset != config for config, _ in found):
            data = load(job.config.dataset)
            found.append((job.config.dataset, {"dataset": data.name, **data.facts}))
    flags = calibration({job.config.device for job in jobs})
    columns = [next(facts for config, facts in found if config == job.config.dataset) for job in jobs]
    return [replace(job, known={**facts, **flags}) for job, facts in zip(jobs, columns, strict=True)]


def calibration(devices: Iterable[str]) -> dict[str, str]:
    """The column `flags` for what the meter could not see on a GPU; nothing without one."""
    from bench.measure.calibration import calibrate, calibration_flags
    from bench.measure.machine import machine_facts

    gpus = sorted({"cuda" if device == "auto" else device for device in devices} - {"cpu"})
    if not gpus or not machine_facts()["gpu"]:
        return {}
    flags: list[str] = []
    for gpu in gpus:
        checks, problem = calibrate(gpu)
        flags += [*calibration_flags(checks), *([f"invalid: calibration {problem}"] if problem else [])]
    return {"flags": "; ".join(flags)}


def execute(job: Job, number: int, total: int) -> str:
    """Run `job` in a fresh process and see to it that its directory holds a row, whatever happened. Its status."""
    row = describe(job)
    directory = Path(job.config.results_dir) / "runs" / str(row["run_id"])
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(asdict(job.config), indent=1))
    print(f"[{number}/{total}] {job.label}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    status, said = (_search if job.config.experiment.kind == "smallest_memory" else _run)(job, directory, row)
    print(f"[{number}/{total}] {said} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    return status


def _run(job: Job, directory: Path, row: dict[str, Any]) -> tuple[str, str]:
    """Measure the job once; its status and what to tell the user."""
    from bench import tables
    from bench.measure.environment import pinned_environment
    from bench.measure.isolation import run_isolated
    from bench.measure.machine import default_threads

    environment = pinned_environment(job.config.measure.threads or default_threads())
    outcome = run_isolated(run_in_child, (job.config, directory, row), job.config.measure.timeout, environment)
    if outcome.status != "ok":
        tables.write_row(directory, {**row, "status": outcome.status, "reason": outcome.reason})
        return outcome.status, f"{outcome.status}: {outcome.reason}"
    done, said = outcome.result
    times = {"process_seconds": outcome.seconds, "interpreter_seconds": outcome.startup_seconds}
    tables.write_row(directory, {**done, **times, "harness_seconds": outcome.seconds - done["stages_seconds"]})
    return "ok", str(said)


def _search(job: Job, directory: Path, row: dict[str, Any]) -> tuple[str, str]:
    """Find the least memory with which the job works; its status and what to tell the user."""
    from bench import smallest, tables

    found, said = smallest.search(job.config, directory, row)
    tables.write_run(directory, found, [], [], [])
    return str(found["status"]), said


def run_in_child(argument: tuple[Config, Path, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """What the spawned process does. Imported lazily: the parent never loads torch."""
    import warnings

    # torch_geometric uses it while it is imported; nothing that a user could mend
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
    from bench.run import run

    return run(*argument)


def describe(job: Job) -> dict[str, Any]:
    """The columns of a run's row that are known before it starts."""
    from bench.measure.machine import machine_facts

    flat = flatten(job.config)
    now = datetime.now(UTC)
    settings = {name: value for name, value in flat.items() if not name.startswith(NOT_PART_OF_A_RUN)}
    key = hashlib.sha256(json.dumps([settings, code_version()], sort_keys=True).encode()).hexdigest()[:12]
    return {
        "run_id": f"{now:%Y%m%dT%H%M%S}-{now.microsecond // 1000:03d}-{job.config.pipeline.name}-{key[:6]}",
        "settings_key": key,
        "started": now.isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "command": " ".join(["python -m bench", *job.overrides]),
        **{name: value for name, value in flat.items() if not name.startswith(("experiment.", "results_dir"))},
        "experiment": job.config.experiment.name,
        "dataset": job.config.dataset.name,
        **{f"machine.{name}": value for name, value in machine_facts().items()},
        **job.known,
        "pipeline": job.config.pipeline.name,
        "model": str(flat.get("pipeline.model.conv", flat.get("pipeline.model.architecture", ""))),
    }


def code_version() -> str:
    """A hash over the project's own modules: what produced a number, whether committed or not."""
    digest = hashlib.sha256()
    for folder in (CODE, CODE.parent / "models"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder.parent).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def git_commit() -> str | None:
    """The checkout's commit, with `+` where tracked files were changed; None outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=CODE, capture_output=True, text=True, check=True)
    return done.stdout.strip()
