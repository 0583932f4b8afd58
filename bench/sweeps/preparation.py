"""What precedes the runs of a sweep: checks, data sets read once, notes for the user, a calibrated meter."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.config import Config, DatasetConfig, FolderConfig, flatten
from bench.datasets.sample import Splits, Suggestion, Task
from bench.sweeps.gpus import hold_gpu
from bench.sweeps.jobs import Job


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
    flags = calibrate_devices({job.config.device for job in jobs}, all(job.config.measure.share_gpu for job in jobs))
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


def calibrate_devices(devices: Iterable[str], share: bool = False) -> dict[str, str]:
    """Return the column `flags` with what the meter could not see on the GPUs among `devices`; nothing without one.

    Args:
        devices: auto, cpu, cuda or cuda:N; of auto, one GPU that is free stands for all.
        share: Whether other runs may be on that GPU meanwhile; else it is held, as memory that another run takes or
            sees there would spoil either.
    """
    from bench.measure.calibration import calibrate, flag_calibration
    from bench.measure.machine import machine_facts

    gpus = sorted({"cuda" if device == "auto" else device for device in devices} - {"cpu"})
    if not gpus or not machine_facts()["gpu"]:
        return {}
    flags: list[str] = []
    for gpu in gpus:
        with hold_gpu(gpu, share) as variables:
            checks, problem = calibrate(gpu, variables)
        flags += [*flag_calibration(checks), *([f"invalid: calibration {problem}"] if problem else [])]
    return {"flags": "; ".join(flags)}
