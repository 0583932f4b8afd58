"""A fit that shared the machine in bursts is flagged, however quiet it was as a whole; an even one is not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.learning.fitlog import FitLog, Interval, Validation
from bench.learning.pace import find_lost_seconds, flag_pace

SECOND = 10**9


def make_log(stretches: Sequence[float], steps: int = 25, validation: float = 2.0) -> FitLog:
    """A fit of `stretches` of so many seconds, each ended by a validation, after 3 s of starting and a step of 4 s."""
    rows = list[Validation]()
    intervals = [Interval("init", 0, 3 * SECOND), Interval("warmup", 3 * SECOND, 7 * SECOND)]
    now = 7.0
    for number, length in enumerate(stretches):
        start = int((now + length) * SECOND)
        intervals.append(Interval("validate", start, start + int(validation * SECOND)))
        now += length + validation
        rows.append(Validation(1 + steps * (number + 1), 1, now, 0.5, 0.5, 0.1, 0.0))
    return FitLog(tuple(rows), tuple(intervals))


def test_an_even_fit_lost_nothing() -> None:
    log = make_log([5.0, 6.0, 5.5, 7.2, 5.0])
    assert find_lost_seconds(log, skip_first=False) == 0
    assert flag_pace(log, skip_first=False) == []


def test_a_burst_is_seen_and_counted() -> None:
    log = make_log([15.0, *[5.0] * 19])
    assert find_lost_seconds(log, skip_first=False) == pytest.approx(10)
    [flag] = flag_pace(log, skip_first=False)
    assert flag.startswith("contended: the fit lost 10.0 of 157.0 s")
    assert flag_pace(log, skip_first=True) == []


def test_forked_cool_downs_and_short_stretches_say_nothing() -> None:
    log = make_log([5.0] * 6)
    fork = Validation(26, 1, 500.0, 0.5, 0.5, 0.0, 0.0, budget=50)
    forked = replace(log, history=(*log.history[:2], fork, *log.history[2:]))
    assert find_lost_seconds(forked, skip_first=False) == 0
    last = Validation(log.history[-1].step + 2, 1, log.history[-1].seconds + 9, 0.5, 0.5, 0.1, 0.0)
    validation = Interval("validate", 0, 2 * SECOND)
    short = replace(log, history=(*log.history, last), intervals=(*log.intervals, validation))
    assert find_lost_seconds(short, skip_first=False) == 0
    assert find_lost_seconds(make_log([50.0, 5.0]), skip_first=False) == 0


def test_stages_before_are_no_burst() -> None:
    log = make_log([5.0] * 6)
    moved = replace(log, history=tuple(replace(row, seconds=row.seconds + 30) for row in log.history))
    assert flag_pace(moved, skip_first=False, earlier_seconds=30.0) == []
    assert flag_pace(moved, skip_first=False) != []
