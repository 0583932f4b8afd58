"""What a list of runs will do, printed before the first one starts. Standard library only."""

from collections import Counter
from collections.abc import Sequence

from bench.arms import ARMS
from bench.sweeps.jobs import Job
from bench.tables.names import is_volume, label_pipeline


def describe_plan(jobs: Sequence[Job]) -> str:
    """Return a line with the number of runs by arm and the ceilings of their work; empty for a single run.

    How long that takes depends on the machine, and patience ends most fits before their ceiling: time is measured, and
    the progress of the sweep shows it.
    """
    if len(jobs) < 2:
        return ""
    counts = Counter(label_pipeline(job.config.pipeline.name, is_volume(job.known)) for job in jobs)
    ceilings = sorted({_ceiling(job) for job in jobs if ARMS[job.config.pipeline.name].uses_training} - {""})
    text = (
        f"{jobs[0].config.experiment.name}: {len(jobs)} runs ({', '.join(f'{n} {arm}' for arm, n in counts.items())})"
    )
    return f"{text}, each fit of at most {' or '.join(ceilings)}\n" if ceilings else f"{text}\n"


def _ceiling(job: Job) -> str:
    """The first budget of a job's training, in words."""
    training = job.config.training
    budgets = ((training.seconds, "s"), (training.steps, "steps"), (training.epochs, "epochs"))
    return next((f"{value:g} {unit}" for value, unit in budgets if value is not None), "")
