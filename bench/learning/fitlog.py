"""What a fit leaves behind: its history, and when it did what. Standard library only."""

from dataclasses import dataclass, field

LATE = 0.75  # of the steps before the cool-down: what the score rises after that is `late_gain`


@dataclass(frozen=True)
class Interval:
    """A span of `time.perf_counter_ns()` in which a fit was in one phase: init, warmup, validate, inspect, fork."""

    phase: str
    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Validation:
    """One row of `history`, written at each validation.

    Attributes:
        step: Optimiser steps made, from 1.
        epoch: Epoch in which that step was made, from 1.
        seconds: Seconds since the start of the fit, cool-downs of other budgets not counted.
        train_loss: Mean loss of the steps since the last row.
        val_score: Pixel score that picks the checkpoint: macro Dice over the classes, pooled over validation images.
        learning_rate: Of the last step.
        data_wait_seconds: Seconds spent waiting for batches since the last row.
        budget: Steps of the budget that the row's cool-down ends; None for rows of the fit itself.
    """

    step: int
    epoch: int
    seconds: float
    train_loss: float
    val_score: float
    learning_rate: float
    data_wait_seconds: float
    budget: int | None = None


@dataclass(frozen=True)
class StatedCost:
    """What a stage of an arm that ran elsewhere cost, as its user states it: nothing of it was measured here.

    Attributes:
        stage: prepare, train or predict.
        seconds: Its duration; None where it is not known.
        peak_memory_bytes: Its peak of memory in bytes; None where it is not known.
        peak_memory_kind: What that peak is of, a kind of `bench.measure.stages`; None without a peak.
    """

    stage: str
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_memory_kind: str | None = None


@dataclass(frozen=True)
class FitLog:
    """The whole of a fit. An arm that learns nothing returns `FitLog()`.

    Attributes:
        history: Validations in the order of their steps; those of forked cool-downs have a `budget`.
        intervals: When the fit was in a phase other than training.
        parameters: Learned numbers.
        steps: Optimiser steps of the fit itself.
        steps_per_epoch: Batches of an epoch, the expected number where it varies; None without batches.
        best_step: Step of the validation whose weights were kept.
        best_score: Its score.
        late_gain: Rise of the best validation score in the last quarter of the steps before the cool-down: what going
            on might still have brought. None where no validation came before that quarter.
        stopped: What ended the fit: patience, steps, epochs or seconds.
        facts: Further columns of the run's row.
        earlier_wait_seconds: Seconds that stages before the last one, whose history this is, waited for batches.
        flags: What the run's row should warn of, each beginning with `warn: `, with `contended: ` where its time was
            not its own, or, of an arm that ran elsewhere, with `elsewhere: `.
        stated: Of an arm that ran elsewhere, the costs that its user states; they take the place of what the meter
            measured. None for every other arm.
    """

    history: tuple[Validation, ...] = ()
    intervals: tuple[Interval, ...] = ()
    parameters: int = 0
    steps: int | None = None
    steps_per_epoch: int | None = None
    best_step: int | None = None
    best_score: float | None = None
    late_gain: float | None = None
    stopped: str = ""
    facts: dict[str, float] = field(default_factory=dict)
    earlier_wait_seconds: float = 0.0
    flags: tuple[str, ...] = ()
    stated: tuple[StatedCost, ...] | None = None

    @property
    def validations(self) -> int:
        """Number of validations of the fit itself."""
        return sum(row.budget is None for row in self.history)

    @property
    def data_wait_seconds(self) -> float:
        """Seconds spent waiting for batches."""
        return self.earlier_wait_seconds + sum(row.data_wait_seconds for row in self.history)


def rise_late(rows: list[tuple[int, float]], last: int) -> float | None:
    """Return how much the best score rose after `LATE` of the steps.

    Args:
        rows: Steps and scores of the validations before the cool-down, ascending.
        last: Steps made before the cool-down.

    Returns:
        The best score of all rows less that of the rows up to `LATE * last`, at least 0; None without such rows.
    """
    early = [score for step, score in rows if step <= LATE * last and score == score]
    late = [score for step, score in rows if score == score]
    return max(late) - max(early) if early else None
