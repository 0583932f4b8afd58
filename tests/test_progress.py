"""Progress is a line per tenth where nobody watches a terminal."""

import pytest

from bench.config import TrainingConfig
from bench.console.progress import Progress, format_seconds_left, track_progress
from bench.learning.progress import FitBar
from bench.learning.schedule import Schedule


def test_a_line_per_tenth_with_its_note_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("work") as bar:
        for step in range(1, 101):
            bar.show(step / 100, "epoch 2" if step == 100 else "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{share}%" for share in range(10, 101, 10)]
    assert all(line.endswith(" left") for line in lines)
    assert " epoch 2, 00:00 left" in lines[-1]


def test_a_long_fit_is_never_silent_for_more_than_half_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = Schedule(TrainingConfig(steps=10_000), steps_per_epoch=10)
    with FitBar("arm") as bar:
        for step in range(1, 301):  # a second each
            schedule.count_step(0.0)
            bar.show(schedule, 1, None, None, float(step))
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split("step ")[1].split(",")[0]) for line in lines] == list(range(30, 301, 30))


def test_the_time_left_counts_the_steps_and_not_what_came_before_them(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = Schedule(TrainingConfig(steps=100, patience=None), steps_per_epoch=10)
    with FitBar("arm") as bar:
        for step in range(1, 101):  # a second each, after an hour of something else
            schedule.count_step(0.0)
            bar.show(schedule, 1, None, None, 3600.0 + step)
    first, *lines = capsys.readouterr().err.splitlines()
    assert "left" not in first
    clocks = [line.split("at most ")[1].split()[0].split(":") for line in lines]
    found = [60 * int(minutes) + int(seconds) for minutes, seconds in clocks]
    assert found == pytest.approx(range(90, -1, -10), abs=1)


def test_items_pass_and_what_is_soon_done_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track_progress([3, 1, 2], "work", quiet_seconds=60.0)) == [3, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(track_progress([3, 1], "work", quiet_seconds=0.0)) == [3, 1]
    assert [line[:9] for line in capsys.readouterr().err.splitlines()] == ["work  50%", "work 100%"]
    assert list(track_progress([], "nothing")) == []


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (61.9, "01:01"), (3600, "1:00:00")])
def test_times_are_written_as_clocks_do(seconds: float, text: str) -> None:
    assert format_seconds_left(seconds) == text
