"""An experiment becomes jobs; a job becomes one run in a fresh process, and always leaves a row."""

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import Config, DatasetConfig, ExperimentConfig, FolderConfig, InputError, flatten
from bench.datasets.sample import Splits, Suggestion, Task
from bench.files import write_atomically
from bench.sweeps.claims import Claim
from bench.sweeps.gpus import hold_gpu
from bench.sweeps.overrides import format_command, format_override
from bench.tables.write import run_key, write_parts, write_row
from bench.versions import code_version, git_commit

# settings that change no result
NOT_PART_OF_A_RUN = (
    *("results_dir", "rerun", "experiment.", "measure.timeout", "measure.share_gpu", "dataset.cache_dir"),
    *("dataset.mirror", "graph.cache_dir", "graph.scratch_dir", "tracker", "measure.memory_gib"),
)
GENERATED = ("synthetic", "scenes")  # choices of the group dataset whose images have any size
NOT_A_COLUMN = ("results_dir", "rerun", "experiment.", "tracker")


@dataclass(frozen=True)
class Job:
    """One run to be done: its settings, and the command line that composes them."""

    config: Config
    overrides: tuple[str, ...]
    label: str = ""  # what tells it from the others of its experiment
    known: dict[str, Any] = field(default_factory=dict)  # columns found out before it starts: its data, flags
    config_dir: Path | None = None  # folder of the user's own YAML files


def expand_experiment(experiment: ExperimentConfig, given: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each of an experiment's runs; those of one run when it has no sweeps.

    Runs are ordered by seed, the arms in alternating order (A B, B A, ...), so that drift hits all alike.

    Args:
        experiment: Its sweeps.
        given: Overrides of the user, which win: `pipeline=...` keeps only the sweeps of that arm, any other setting
            replaces the sweep's values.

    Raises:
        InputError: No sweep is left, or one budget is given to arms for which several are planned.
    """
    if not experiment.chosen_sweeps:
        return [list(given)]
    chosen = dict(item.lstrip("+").split("=", 1) for item in given if "=" in item)
    _check_budgets(experiment, chosen)
    runs = [run for sweep in experiment.chosen_sweeps for run in _expand_sweep(sweep, chosen, experiment.largest)]
    if not runs:
        asked = f"pipeline={chosen['pipeline']}" if "pipeline" in chosen else f"images within {experiment.largest}"
        raise InputError(f"experiment {experiment.name} has no sweep with {asked}")
    unique = list(dict.fromkeys(runs))
    return [[*run, *(g for g in given if g not in run)] for run in _alternate(unique)]


def _check_budgets(experiment: ExperimentConfig, chosen: dict[str, str]) -> None:
    """Raise `InputError` where one budget of training is given to arms for which the experiment plans several."""
    for name in ("training.steps", "training.epochs", "training.seconds"):
        planned = {str(sweep[name]) for sweep in experiment.chosen_sweeps if name in sweep}
        if name in chosen and len(planned) > 1 and "pipeline" not in chosen:
            raise InputError(
                f"{name}={chosen[name]} would give every arm of experiment {experiment.name} the same budget, "
                f"which plans {' and '.join(sorted(planned))}: give experiment.effort=0.5 for half of each, or add "
                "pipeline=..."
            )


def _expand_sweep(sweep: dict[str, Any], chosen: dict[str, str], largest: int | None) -> Iterator[tuple[str, ...]]:
    """The runs of a sweep; `largest` bounds the sides of its images. Other data has no settings of generated scenes."""
    if "pipeline" in chosen and chosen["pipeline"] != sweep.get("pipeline"):
        return
    generated = chosen.get("dataset", "synthetic") in GENERATED
    if not generated and "dataset.magnification" in sweep:
        return
    axes = {k: v if isinstance(v, list) else [v] for k, v in sweep.items() if k == "pipeline" or k not in chosen}
    axes = {k: v for k, v in axes.items() if generated or not k.startswith("dataset.")}
    if largest is not None and "dataset.image_size" in axes:
        axes["dataset.image_size"] = [size for size in axes["dataset.image_size"] if max(size) <= largest]
    for values in itertools.product(*axes.values()):
        yield tuple(f"{key}={format_override(value)}" for key, value in zip(axes, values, strict=True))


def _alternate(runs: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    by_seed: dict[str, list[tuple[str, ...]]] = {}
    for run in runs:
        by_seed.setdefault(next((part for part in run if part.startswith("seed=")), ""), []).append(run)
    groups = list(by_seed.values())
    return [run for turn, group in enumerate(groups) for run in (group[::-1] if turn % 2 else group)]


def prepare_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Check all jobs, load each of their data sets once, and return the jobs with what is known of their data.

    Where one will run on a GPU, the meter is calibrated on it first, and what failed flags every run. Raises InputError
    for what cannot be used.
    """
    from bench.datasets.registry import load
    from bench.sweeps import checks, trackers

    checks.check_names(job.config for job in jobs)
    for tracker in sorted({job.config.tracker for job in jobs}):
        trackers.check_tracker(tracker)
    checks.check_places([job.config for job in jobs])
    found: list[tuple[DatasetConfig, Task, dict[str, Any]]] = []
    masks: dict[int, dict[str, Any]] = {}  # by the `id` of the job
    for job in jobs:
        if all(job.config.dataset != config for config, _, _ in found):
            if isinstance(job.config.dataset, FolderConfig):
                print(f"checking the images and masks in {job.config.dataset.root}", file=sys.stderr, flush=True)
            data = load(job.config.dataset, Path(job.config.results_dir))
            alike = [one for one in jobs if one.config.dataset == job.config.dataset]
            announce(data, [one.config for one in alike])
            own = {"dataset": data.name, **data.facts, "dataset.spatial_axes": data.task.spatial_axes}
            found.append((job.config.dataset, data.task, own))
            masks |= {id(one): checks.check_external_masks(one.config, data) for one in alike}
    tasks = {id(job): task for job in jobs for data, task, _ in found if data == job.config.dataset}
    jobs = leave_out_flat(jobs, tasks)
    known = [next(one for one in found if one[0] == job.config.dataset) for job in jobs]
    checks.check_arms((job.config, task) for job, (_, task, _) in zip(jobs, known, strict=True))
    flags = calibrate_devices({job.config.device for job in jobs})
    return [replace(job, known=facts | masks[id(job)] | flags) for job, (_, _, facts) in zip(jobs, known, strict=True)]


def leave_out_flat(jobs: Sequence[Job], tasks: Mapping[int, Task]) -> list[Job]:
    """Leave out the runs of arms that are for volumes where the images are flat, and print that.

    Args:
        jobs: The runs of a sweep.
        tasks: What the images of each are, by its `id`.

    Returns:
        The others; all of them where none is left, to be refused.
    """
    from bench.sweeps.checks import fits_axes

    kept = [job for job in jobs if fits_axes(job.config, tasks[id(job)])]
    if not kept or len(kept) == len(jobs):
        return list(jobs)
    names = dict.fromkeys(job.config.pipeline.name for job in jobs if not fits_axes(job.config, tasks[id(job)]))
    count = len(jobs) - len(kept)
    runs, arms = "run is" if count == 1 else "runs are", " and ".join(f"pipeline={name}" for name in names)
    why = f"{arms} {'is' if len(names) == 1 else 'are'} for volumes, and these images are flat"
    print(f"note: {count} {runs} left out: {why}", file=sys.stderr, flush=True)
    return kept


def announce(data: Splits, configs: Sequence[Config]) -> None:
    """Print what must be known of a data set before anything is trained on it, and what its images suggest.

    Args:
        data: The data set.
        configs: Settings of the runs on it.
    """
    for note in data.notes:
        print(f"note: {data.name}: {note}", file=sys.stderr, flush=True)
    proposals = [line for line in (adapt_proposal(one, configs) for one in data.proposals) if line]
    if proposals:
        print(f"proposals for {data.name}, from its training images; none is applied:", file=sys.stderr, flush=True)
    for line in proposals:
        print(f"  {line}", file=sys.stderr, flush=True)


def announce_disturbers(jobs: Sequence[Job]) -> None:
    """Print what would disturb the measurements of a sweep of several runs: its times will be flagged.

    A single run flags itself, and costs no second of waiting.
    """
    from bench.measure.doctor import find_disturbers

    if len(jobs) < 2:
        return
    devices = {job.config.device for job in jobs}
    for flag in find_disturbers("cpu" if devices == {"cpu"} else "auto"):
        print(
            f"note: {flag}: while that goes on, times of these runs are flagged; scores do not depend on it",
            file=sys.stderr,
            flush=True,
        )


def adapt_proposal(proposal: Suggestion, configs: Sequence[Config]) -> str | None:
    """Return a proposal as it can be given to these runs; None where they have that value, or no such setting.

    Args:
        proposal: A setting, its value and the reason.
        configs: Settings of the runs; where only some have the setting, the arm that it needs is named.
    """
    settings = [flatten(config) for config in configs]
    values = [own[proposal.setting] for own in settings if proposal.setting in own]
    if {f"{one:g}" if isinstance(one, float) else str(one) for one in values} <= {proposal.value}:
        return None
    having = [config for config, own in zip(configs, settings, strict=True) if proposal.setting in own]
    arms = " or ".join(dict.fromkeys(config.pipeline.name for config in having))
    needed = f" with pipeline={arms}" if len(having) < len(configs) else ""
    return f"{proposal.setting}={proposal.value}{needed} ({proposal.reason})"


def calibrate_devices(devices: Iterable[str]) -> dict[str, str]:
    """Return the column `flags` with what the meter could not see on the GPUs among `devices`; nothing without one."""
    from bench.measure.calibration import calibrate, flag_calibration
    from bench.measure.machine import machine_facts

    gpus = sorted({"cuda" if device == "auto" else device for device in devices} - {"cpu"})
    if not gpus or not machine_facts()["gpu"]:
        return {}
    flags: list[str] = []
    for gpu in gpus:
        checks, problem = calibrate(gpu)
        flags += [*flag_calibration(checks), *([f"invalid: calibration {problem}"] if problem else [])]
    return {"flags": "; ".join(flags)}


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

    with hold_gpu(job.config.device, job.config.measure.share_gpu):
        found, summary = smallest.search_memory(job.config, directory, row)
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
        **{name: value for name, value in flat.items() if not name.startswith(NOT_A_COLUMN)},
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
        overrides = [word for word in overrides if not word.startswith("experiment.budget=")]
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
