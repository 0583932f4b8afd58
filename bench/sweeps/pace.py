"""How long the rest of a sweep will take, from the runs that it has finished."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bench.console.progress import format_seconds_left
from bench.sweeps.jobs import Job
from bench.tables.names import is_volume, label_pipeline


@dataclass
class SweepPace:
    """Seconds of the finished runs of a sweep; nothing but a line for the user is made of them."""

    by_kind: dict[tuple[str, ...], list[float]] = field(default_factory=dict)
    by_arm: dict[str, list[float]] = field(default_factory=dict)

    def add(self, job: Job, seconds: float) -> None:
        """Take in what a finished run took."""
        self.by_kind.setdefault(list_differences(job), []).append(seconds)
        self.by_arm.setdefault(job.config.pipeline.name, []).append(seconds)

    def estimate(self, job: Job) -> float | None:
        """Return the mean seconds of the runs that differ in the seed alone, else of those of the arm; None: none."""
        alike = self.by_kind.get(list_differences(job)) or self.by_arm.get(job.config.pipeline.name)
        return None if alike is None else fmean(alike)

    def describe(self, left: Sequence[Job]) -> str | None:
        """Return a sentence on the time that runs will take, as far as it can be known; None where it cannot.

        Runs of an arm of which none has finished are counted and named, not guessed.
        """
        found = [seconds for job in left if (seconds := self.estimate(job)) is not None]
        if not found:
            return None
        about = f"about {format_seconds_left(sum(found))} left"
        names = [
            label_pipeline(job.config.pipeline.name, is_volume(job.known)) for job in left if self.estimate(job) is None
        ]
        if not names:
            return f"{about} for {len(left)} {'run' if len(left) == 1 else 'runs'}"
        arms = " or ".join(dict.fromkeys(names))
        return f"{about} for {len(found)} of {len(left)} runs; none of {arms} has finished yet"


def list_differences(job: Job) -> tuple[str, ...]:
    """Return the settings of a run, its seed left out: runs that have the same ones take about as long."""
    return tuple(word for word in job.overrides if not word.startswith("seed="))
