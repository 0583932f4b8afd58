"""What a list of runs will take, said before the first one starts. Standard library only."""

from collections.abc import Sequence

from bench.arms import ARMS
from bench.config import Config
from bench.sweeps.jobs import Job

BESIDES = 20.0  # seconds of a run that are not training: its start, superpixels or tiles, prediction, scores


def expected(jobs: Sequence[Job]) -> str:
    """A line with the number of runs and at most how long they take; empty for a single run.

    Training takes no longer than its budget in seconds; where there is none, nothing is known. Runs that are finished
    already are not done again, so it may be less.
    """
    if len(jobs) < 2:
        return ""
    training = [_training_seconds(job.config) for job in jobs]
    known = [seconds for seconds in training if seconds is not None]
    text = f"{jobs[0].config.experiment.name}: {len(jobs)} runs"
    if len(known) < len(jobs):
        return f"{text}, {len(jobs) - len(known)} of them without a budget in seconds\n"
    return f"{text}, about {_duration(sum(known) + BESIDES * len(jobs))} if they use all of their budgets\n"


def _training_seconds(config: Config) -> float | None:
    return config.training.seconds if ARMS[config.pipeline.name].learns else 0.0


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{max(minutes, 1)} min" if minutes < 120 else f"{seconds / 3600:.1f} h"
