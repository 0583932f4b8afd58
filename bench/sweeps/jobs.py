"""A job becomes one run in a fresh process, and always leaves a row."""

import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import Config, flatten
from bench.files import write_atomically
from bench.sweeps.claims import Claim
from bench.sweeps.gpus import hold_gpu
from bench.sweeps.overrides import format_command
from bench.sweeps.trackers import NOT_A_SETTING
from bench.tables.columns import NOT_PART_OF_A_RUN
from bench.tables.write import run_key, write_parts, write_row
from bench.versions import code_version, git_commit


@dataclass(frozen=True)
class Job:
    """One run to be done: its settings, and the command line that composes them."""

    config: Config
    overrides: tuple[str, ...]
    label: str = ""  # what tells it from the others of its experiment
    known: dict[str, Any] = field(default_factory=dict)  # columns found out before it starts: its data, flags
    config_dir: Path | None = None  # folder of the user's own YAML files


def execute(job: Job, number: int, total: int, claim: Claim) -> str:
    """Run a job in a fresh process and leave a row in its directory, whatever happens to the run.

    Args:
        job: The job.
        number: Its place among the jobs of the sweep, from 1.
        total: How many jobs the sweep has.
        claim: Our claim on it.

    Returns:
        The status of the run.

    Raises:
        OSError: The results folder cannot be written.
    """
    from bench.sweeps import resume, trackers

    results_dir, row = Path(job.config.results_dir), describe_job(job)
    directory = results_dir / "runs" / str(row["run_id"])
    resume.begin(directory, row)
    write_atomically(directory / "config.json", json.dumps(asdict(job.config), indent=1))
    print(f"[{number}/{total}] {job.label}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    work = _search_memory if job.config.experiment.kind == "smallest_memory" else _run_job
    done, summary = work(job, directory, row)
    claim.count_others()
    write_row(directory, done | _describe_neighbours(claim.beside, done.get("flags")))
    resume.move_superseded(results_dir, row["run_key"])
    print(f"[{number}/{total}] {summary} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    warning = trackers.track(job.config, directory)
    if warning:
        print(f"[{number}/{total}] {warning}", file=sys.stderr, flush=True)
    return str(done["status"])


def _describe_neighbours(others: int, flags: str | None) -> dict[str, Any]:
    """Columns for the number of runs of this folder that went on beside ours, and for the flag of that."""
    runs = "run" if others == 1 else "runs"
    contended = f"contended: {others} other {runs} of the sweep beside it" if others else None
    return {"concurrent_runs": others, "flags": "; ".join(flag for flag in (flags, contended) if flag)}


def _run_job(job: Job, directory: Path, row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Measure the job once. Returns its row and a line for the user."""
    from bench.measure.caps import HOST, LimitedCall, run_limited
    from bench.measure.environment import pin_environment
    from bench.measure.isolation import run_isolated
    from bench.measure.machine import default_threads

    environment = pin_environment(job.config.measure.threads or default_threads())
    with hold_gpu(job.config.device, job.config.measure.share_gpu) as gpu:
        argument = (job.config, directory, row)
        limit = find_memory_limit(job.config)
        if limit is None:
            outcome = run_isolated(run_in_child, argument, job.config.measure.timeout, environment | gpu)
        else:
            call = LimitedCall(run_in_child, argument, limit, HOST, "cpu")
            outcome = run_isolated(run_limited, call, job.config.measure.timeout, environment | gpu)
    if outcome.status != "ok":
        row = row | {"status": outcome.status, "reason": outcome.reason}
        return row, f"{outcome.status}: {outcome.reason}"
    done, summary = outcome.result
    times = {"process_seconds": outcome.seconds, "interpreter_seconds": outcome.startup_seconds}
    if "stages_seconds" in done:  # else the arm ran elsewhere
        times["harness_seconds"] = outcome.seconds - done["stages_seconds"]
    return {**done, **times}, str(summary)


def find_memory_limit(config: Config) -> int | None:
    """Return the bytes of host memory that a run may take: `measure.memory_gib`, or 90 % of the machine's if less.

    None where nothing was set, where the run is on a GPU, whose own memory is the limit, and on systems without one.
    """
    from bench.measure.machine import machine_facts, memory_bytes

    wanted = config.measure.memory_gib
    on_gpu = config.device != "cpu" and bool(machine_facts()["gpu"])
    if wanted is None or on_gpu or sys.platform != "linux":
        return None
    return int(min(wanted * 2**30, 0.9 * memory_bytes()))


def _search_memory(job: Job, directory: Path, row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Find the least memory with which the job works. Returns its row and a line for the user."""
    from bench.sweeps import smallest

    with hold_gpu(job.config.device, job.config.measure.share_gpu) as gpu:
        found, summary = smallest.search_memory(job.config, directory, row, gpu)
    write_parts(directory, str(row["run_id"]), [], [], [])
    return found, summary


def run_in_child(argument: tuple[Config, Path, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Do a run in the spawned process. Imports are lazy: the parent never loads torch."""
    import warnings

    # torch_geometric uses it while it is imported; nothing that a user could mend
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
    started = time.perf_counter()
    from bench.run import run

    config, directory, row = argument
    return run(config, directory, row | {"import_seconds": time.perf_counter() - started})


def describe_job(job: Job) -> dict[str, Any]:
    """Return the columns of a run's row that are known before it starts."""
    from bench.measure.machine import machine_facts
    from bench.sweeps import resume

    flat = flatten(job.config)
    now = datetime.now(UTC)
    settings, run_key = identify_run(job)
    moment = f"{now:%Y%m%dT%H%M%S}-{now.microsecond // 1000:03d}"
    return {
        "run_id": resume.name_directory(moment, job.config.pipeline.name, run_key),
        "settings_key": settings,
        "run_key": run_key,
        "started": now.isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "command": write_command(job),
        **{name: value for name, value in flat.items() if not name.startswith(NOT_A_SETTING)},
        "experiment": job.config.experiment.name,
        "dataset": job.config.dataset.name,
        **{f"machine.{name}": value for name, value in machine_facts().items()},
        **job.known,
        "pipeline": job.config.pipeline.name,
        "model": str(flat.get("pipeline.model.conv", flat.get("pipeline.model.architecture", ""))),
    }


def write_command(job: Job) -> str:
    """Return the command line that does this run alone, quoted for a shell.

    An experiment's sweeps and its search must not start again: they are emptied, as the run's own settings stand in the
    command. What else the experiment's YAML file sets stays in force.
    """
    experiment, overrides = job.config.experiment, list(job.overrides)
    if experiment.chosen_sweeps:
        replaced = ("experiment.budget=", "experiment.sweeps=")
        overrides = [word for word in overrides if not word.startswith(replaced)]
        overrides += ["experiment.sweeps=[]"]
    if experiment.kind == "tuning":
        overrides += ["experiment.kind=runs"]
    return format_command(overrides, job.config_dir)


def identify_run(job: Job) -> tuple[str, str]:
    """Return `settings_key` and `run_key`, by which a run is known before it starts.

    The first is a hash of all settings that change a result, of the masks that another program made, of the project's
    code and of the libraries' versions; the second adds the content of the data. No place in a list, no folder and no
    date goes into them.
    """
    settings = {name: value for name, value in flatten(job.config).items() if not name.startswith(NOT_PART_OF_A_RUN)}
    experiment = job.config.experiment
    searched = experiment.resolution_mib if experiment.kind == "smallest_memory" else None
    masks = job.known.get("pipeline.masks_content", "")
    text = json.dumps(
        [settings, searched, code_version(), list_versions(), *([masks] if masks else [])], sort_keys=True
    )
    settings_key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return settings_key, run_key(settings_key, job.known)


def list_versions() -> dict[str, Any]:
    """Return the installed versions that a row names: another torch makes another run."""
    from bench.measure.machine import machine_facts

    return {name: value for name, value in machine_facts().items() if name.endswith("_version") or name == "python"}
