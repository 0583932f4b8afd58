"""Warm-up, validations, patience and cool-down follow the work that was done, and nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.config import TrainingConfig
from bench.learning.fitlog import rise_late
from bench.learning.schedule import VALIDATION_GROWTH, VALIDATION_WORK, Schedule

PLAN = TrainingConfig(steps=1000, patience=None, warmup=20, validate_every=10, cooldown=0.2)


def rates(settings: TrainingConfig, steps_per_epoch: int = 10) -> list[float]:
    """The rate of every step of a fit whose score never changes after the first validation."""
    schedule, found = Schedule(settings, steps_per_epoch), []
    while not schedule.find_end():
        found.append(schedule.rate)
        schedule.count_step(0.0)
        if schedule.is_validation_due:
            schedule.count_validation(0.5)
    return found


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    found = rates(PLAN)
    assert len(found) == 1000
    assert found[:20] == pytest.approx([step / 20 for step in range(1, 21)])
    assert found[20:801] == pytest.approx([1.0] * 781)
    assert found[800:] == pytest.approx(list(np.linspace(1, 0, 201)[:-1]))


def test_a_small_budget_warms_up_in_a_tenth_of_it() -> None:
    assert rates(replace(PLAN, steps=50, cooldown=0.0)) == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 46])


def test_budgets_in_epochs_and_steps_are_the_same_work() -> None:
    assert rates(replace(PLAN, steps=None, epochs=30)) == rates(replace(PLAN, steps=300))
    assert rates(replace(PLAN, steps=300, epochs=100)) == rates(replace(PLAN, steps=300))


@pytest.mark.parametrize("cooldown", [0.0, 0.2, 0.5])
def test_patience_ends_a_fit_with_a_cool_down_of_the_planned_share(cooldown: float) -> None:
    patient = replace(PLAN, steps=100_000, patience=5, cooldown=cooldown)
    found = rates(patient)
    constant = sum(rate == 1.0 for rate in found[20:]) + 20
    assert len(found) == pytest.approx(constant / (1 - cooldown), abs=2)
    assert found == rates(replace(patient, steps=200_000)), "the ceiling plays no part"


def test_patience_counts_validations_without_a_gain_that_matters() -> None:
    schedule = Schedule(replace(PLAN, patience=3, min_gain=0.01), 10)
    for score in (0.5, 0.509, 0.518, math.nan):  # each rise is too small by itself, the second makes one together
        schedule.count_step(0.0)
        schedule.count_validation(score)
    before = schedule.patience_over
    for score in (0.52, 0.527):
        schedule.count_step(0.0)
        schedule.count_validation(score)
    assert (before, schedule.patience_over, schedule.is_cooling) == (False, True, True)


def test_a_cool_down_never_ends_after_the_budget() -> None:
    schedule = Schedule(replace(PLAN, patience=1), 10)
    for _ in range(790):
        schedule.count_step(0.0)
    schedule.count_validation(0.5)
    schedule.count_validation(0.5)
    while not schedule.find_end():
        schedule.count_step(0.0)
    assert (schedule.find_end(), schedule.steps) == ("patience", 988)
    late = Schedule(replace(PLAN, patience=1), 10)
    for _ in range(801):
        late.count_step(0.0)
    late.count_validation(0.5)
    late.count_validation(0.5)
    assert not late.patience_over, "the planned cool-down goes on"


@pytest.mark.parametrize("cost", [0.0, 30.0])
def test_validations_cost_at_most_a_fifth_of_the_work_and_move_apart(cost: float) -> None:
    schedule, steps = Schedule(replace(PLAN, steps=20_000), 10, cost), []
    while not schedule.find_end():
        schedule.count_step(0.0)
        if schedule.is_validation_due:
            steps.append(schedule.steps)
            schedule.count_validation(0.5)
    gaps = np.diff([0, *steps])[:-1]
    assert min(gaps) >= max(10, VALIDATION_WORK * cost)
    assert (gaps >= VALIDATION_GROWTH * np.array([0, *steps[:-2]])).all()
    assert len(steps) * cost <= 0.25 * schedule.steps
    assert steps[-1] == 20_000


def test_the_clock_plays_no_part_without_a_budget_in_seconds() -> None:
    schedule = Schedule(PLAN, 10)
    for _ in range(10):
        schedule.count_step(1e9)
    assert (schedule.spent, schedule.find_end()) == (0.01, "")


def test_the_clock_ends_a_fit_that_has_a_budget_in_seconds() -> None:
    schedule = Schedule(replace(PLAN, steps=None, seconds=10.0), 10)
    schedule.count_step(7.9)
    assert (schedule.rate, schedule.is_cooling) == (1.0, False)
    schedule.count_step(9.0)
    assert schedule.rate == pytest.approx(0.5)
    schedule.count_step(10.0)
    assert schedule.find_end() == "seconds"


@pytest.mark.parametrize("seconds", [0.05, 0.3, 4.0])
def test_slow_steps_warm_up_in_a_tenth_of_a_budget_in_seconds(seconds: float) -> None:
    schedule = Schedule(replace(PLAN, steps=None, seconds=10.0), 10)
    while schedule.seconds < 1.0:
        assert schedule.rate == max(min((schedule.steps + 1) / 20, 1.0), min(schedule.seconds, 1.0))
        schedule.count_step(schedule.seconds + seconds)
    assert schedule.rate == 1.0


def test_the_late_gain_is_what_the_last_quarter_brought() -> None:
    rows = [(10, 0.3), (50, 0.6), (75, 0.5), (76, 0.61), (100, 0.64)]
    assert rise_late(rows, 100) == pytest.approx(0.04)
    assert rise_late(rows[:3], 100) == 0
    assert rise_late([(80, 0.5), (90, 0.6)], 100) is None
    assert rise_late([(10, math.nan), (20, 0.4), (90, 0.5)], 100) == pytest.approx(0.1)
