"""What a fit leaves behind: its history, and when it did what. Standard library only."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interval:
    """A span of `time.perf_counter_ns()` in which a fit was in one phase: init, warmup, validate, inspect."""

    phase: str
    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Epoch:
    """One row of `history`. `seconds` since the start of the fit; `val_score` is None where nothing was validated."""

    epoch: int  # from 1
    seconds: float
    train_loss: float
    val_score: float | None  # pixel score that picks the checkpoint: macro Dice over the classes, pooled
    learning_rate: float
    data_wait_seconds: float


@dataclass(frozen=True)
class FitLog:
    """The whole of a fit. An arm that learns nothing returns `FitLog()`."""

    history: tuple[Epoch, ...] = ()
    intervals: tuple[Interval, ...] = ()
    parameters: int = 0  # learned numbers
    best_epoch: int | None = None
    best_score: float | None = None
    stopped: str = ""  # epochs | steps | seconds | patience: what ended the fit
    facts: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # what the run's row should warn of, each beginning with `warn: `

    @property
    def data_wait_seconds(self) -> float:
        return sum(epoch.data_wait_seconds for epoch in self.history)
