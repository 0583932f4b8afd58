"""When a fit warms up, validates, cools down and ends. Work decides: optimiser steps are counted, time is not.

The learning rate rises over the first steps, stays, and falls to zero in a cool-down at the end (warm-up, stable,
decay: Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024). The
constant part does not depend on where the end will be, so a fit may go on for as long as the validation score improves.
A budget in seconds is the one exception: its rows say that the clock ended the fit.
"""

from dataclasses import dataclass, field
from math import ceil, inf

from bench.config import TrainingConfig

VALIDATION_WORK = 4.0  # steps between two validations, in units of what one validation costs: a fifth of the work
VALIDATION_GROWTH = 0.05  # steps between two validations, as a share of those made: later ones are further apart
WARMUP_SHARE = 0.1  # of a budget in steps, at most


@dataclass
class Schedule:
    """The state of a fit's schedule.

    Attributes:
        settings: The rules.
        steps_per_epoch: Optimiser steps in an epoch.
        validation_cost: What one validation costs, in optimiser steps.
        steps: Optimiser steps made.
        seconds: Seconds since the fit began, where it has a budget in seconds; else 0.
    """

    settings: TrainingConfig
    steps_per_epoch: int
    validation_cost: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    next_validation: int = 0
    cooldown_start: float = field(init=False)
    cooldown_end: float = 1.0
    patience_over: bool = False
    _reference: float = -inf
    _stale: int = 0

    def __post_init__(self) -> None:
        self.cooldown_start = 1.0 - self.settings.cooldown
        self.next_validation = self._interval()

    @property
    def ceiling(self) -> int | None:
        """The largest number of steps that the budgets in steps and in epochs allow; None without either."""
        budgets = [] if self.settings.steps is None else [self.settings.steps]
        budgets += [] if self.settings.epochs is None else [self.settings.epochs * self.steps_per_epoch]
        return min(budgets, default=None)

    @property
    def spent(self) -> float:
        """Share of the budget that is spent, in [0, 1]: of work or of seconds, whichever is further."""
        work = 0.0 if self.ceiling is None else self.steps / self.ceiling
        clock = 0.0 if self.settings.seconds is None else self.seconds / self.settings.seconds
        return min(max(work, clock), 1.0)

    @property
    def progress(self) -> float:
        """Share of the fit that is over, in [0, 1], as far as is known: patience may still shorten it."""
        return min(self.spent / self.cooldown_end, 1.0)

    @property
    def rate(self) -> float:
        """Share of the peak learning rate for the next step, in [0, 1]."""
        length = self.settings.warmup
        if self.ceiling is not None:
            length = min(length, ceil(WARMUP_SHARE * self.ceiling))
        warm = min((self.steps + 1) / length, 1.0) if length else 1.0
        if self.settings.seconds is not None:
            warm = max(warm, min(self.spent / WARMUP_SHARE, 1.0))
        if self.settings.cooldown == 0 or self.spent < self.cooldown_start:
            return warm
        return warm * max((self.cooldown_end - self.spent) / (self.cooldown_end - self.cooldown_start), 0.0)

    def find_end(self) -> str:
        """Return why the fit is over: patience, steps, epochs or seconds; empty while it is not."""
        if self.spent < min(self.cooldown_end, 1.0):
            return ""
        if self.patience_over and self.cooldown_end < 1:
            return "patience"
        if self.settings.seconds is not None and self.seconds >= self.settings.seconds:
            return "seconds"
        return "steps" if self.ceiling == self.settings.steps else "epochs"

    @property
    def is_cooling(self) -> bool:
        """Whether the cool-down has begun."""
        return self.spent >= self.cooldown_start

    @property
    def is_validation_due(self) -> bool:
        """Whether the next validation is due: at the step that was set, and always at the end."""
        return self.steps >= self.next_validation or self.find_end() != ""

    def count_step(self, seconds: float) -> None:
        """Count an optimiser step, made `seconds` after the fit began."""
        self.steps += 1
        if self.settings.seconds is not None:
            self.seconds = seconds

    def count_validation(self, score: float) -> None:
        """Count a validation; start the cool-down once patience has run out.

        A score counts as better only if it exceeds the last one that did by `settings.min_gain`: noise does not keep a
        fit alive, and a slow rise does. A NaN is never better.
        """
        self.next_validation = self.steps + self._interval()
        better = score > self._reference + self.settings.min_gain
        self._reference, self._stale = (score, 0) if better else (self._reference, self._stale + 1)
        patience = self.settings.patience
        if patience is not None and self._stale >= patience and not self.is_cooling:
            self.patience_over = True
            self.cooldown_start = self.spent
            self.cooldown_end = min(self.spent / (1 - self.settings.cooldown), 1.0)

    def _interval(self) -> int:
        """Steps until the next validation."""
        least = max(self.settings.validate_every, VALIDATION_GROWTH * self.steps)
        return ceil(max(least, VALIDATION_WORK * self.validation_cost))
