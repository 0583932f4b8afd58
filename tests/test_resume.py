"""A sweep started again does what is missing: a run is known by settings, code and data, not by its place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import folder_sets as sets

from bench.config import (
    Config,
    ExperimentConfig,
    FolderConfig,
    InputError,
    MeasureConfig,
    OracleConfig,
    SyntheticConfig,
    ThresholdConfig,
)
from bench.pipelines.threshold import Threshold
from bench.run import check_same_data
from bench.run import run as run_now
from bench.sweeps import jobs, resume, sweep
from bench.sweeps.claims import Claim, take
from bench.sweeps.jobs import Job
from bench.tables.write import write_parts, write_row

if TYPE_CHECKING:
    from bench.tables.collect import collect


def job(folder: Path, content: str = "abc", **settings: Any) -> Job:
    config = Config(SyntheticConfig(), OracleConfig(), results_dir=str(folder), **settings)
    return Job(config, ("pipeline=oracle",), f"oracle {settings}", {"dataset.content": content})


def key(one: Job) -> str:
    return jobs.identify_run(one)[1]


class Doer:
    """Stands in for real runs: leaves a directory with a row of the status asked for, and notes what it did."""

    def __init__(self, status: str = "ok") -> None:
        self.status, self.done = status, list[int]()

    def __call__(self, one: Job, number: int, total: int, claim: Claim) -> str:
        assert claim.path.exists()
        assert number <= total
        self.done.append(one.config.seed)
        row = jobs.describe_job(one)
        directory = Path(one.config.results_dir) / "runs" / str(row["run_id"])
        resume.begin(directory, row)
        if self.status == "killed":
            raise KeyboardInterrupt
        write_parts(directory, row["run_id"], [], [], [])
        write_row(directory, row | {"status": self.status})
        return self.status


def go(todo: list[Job], doer: Doer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    statuses: dict[str, list[str]] = {}
    monkeypatch.setattr(sweep, "execute", doer)
    sweep.sweep(sweep.plan_runs(todo), statuses)
    return [status for folder in statuses.values() for status in folder]


Go = Callable[[list[Job], Doer], list[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Go:
    return lambda todo, doer: go(todo, doer, monkeypatch)


def test_only_what_is_missing_is_done_in_whatever_order(
    tmp_path: Path, run: Go, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Doer(), Doer()
    assert run([job(tmp_path, seed=n) for n in (3, 1)], first) == ["ok", "ok"]
    assert run([job(tmp_path, seed=n) for n in (1, 2, 3, 4)], second) == ["ok"] * 4
    assert (first.done, second.done) == ([3, 1], [2, 4])
    assert capsys.readouterr().err.count("finished before (ok, runs/") == 2
    assert len(collect(tmp_path).runs) == 4


@pytest.mark.parametrize(("rerun", "again"), [("failed", [1]), ("all", [0, 1]), ("none", [])])
def test_rerun_says_what_is_done_again(tmp_path: Path, run: Go, rerun: str, again: list[int]) -> None:
    run([job(tmp_path, seed=0)], Doer())
    run([job(tmp_path, seed=1)], Doer("timeout"))
    doer = Doer()
    statuses = run([job(tmp_path, seed=n, rerun=rerun) for n in (0, 1)], doer)
    assert doer.done == again
    assert sorted(statuses) == (["ok", "timeout"] if rerun == "none" else ["ok", "ok"])
    assert len(collect(tmp_path).runs) == 2, "an attempt that was replaced is not in the tables"
    assert sum(1 for _ in tmp_path.glob("superseded/*")) == len(again), "but it is not deleted"


def test_a_good_run_is_not_replaced_by_a_bad_one(tmp_path: Path, run: Go) -> None:
    run([job(tmp_path)], Doer())
    run([job(tmp_path, rerun="all")], Doer("failed"))
    assert sorted(collect(tmp_path).runs["status"]) == ["failed", "ok"], "and the bad one is not hidden"
    doer = Doer()
    run([job(tmp_path)], doer)
    assert doer.done == []


def test_a_killed_run_is_done_again_and_its_remains_step_aside(tmp_path: Path, run: Go) -> None:
    with pytest.raises(KeyboardInterrupt):
        run([job(tmp_path)], Doer("killed"))
    assert len(collect(tmp_path).unfinished) == 1
    run([job(tmp_path)], Doer())
    tables = collect(tmp_path)
    assert (len(tables.runs), len(tables.unfinished)) == (1, 0)
    assert list((tmp_path / "claims").iterdir()) == []


def test_remains_step_aside_though_the_sweep_was_killed_once_the_run_was_done_again(
    tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run([job(tmp_path)], Doer("killed"))
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "move_superseded", lambda *_: None)
        run([job(tmp_path)], Doer())
    assert len(collect(tmp_path).unfinished) == 1
    doer = Doer()
    run([job(tmp_path)], doer)
    tables = collect(tmp_path)
    assert (doer.done, len(tables.runs), len(tables.unfinished)) == ([], 1, 0)
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_damaged_row_is_not_finished(tmp_path: Path, run: Go) -> None:
    run([job(tmp_path)], Doer())
    next(tmp_path.glob("runs/*/scores.csv")).write_text("run_id")
    doer = Doer()
    run([job(tmp_path)], doer)
    assert doer.done == [0]


def test_what_changes_a_result_makes_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(job(tmp_path)), key(job(tmp_path, seed=1)), key(job(tmp_path, content="other"))]
    search = ExperimentConfig(kind="smallest_memory")
    keys += [key(job(tmp_path, experiment=search)), key(job(tmp_path, experiment=replace(search, resolution_mib=1)))]
    monkeypatch.setattr(jobs, "list_versions", lambda: {"torch_version": "0.1"})
    keys.append(key(job(tmp_path)))
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "code_version", lambda: "other code")  # what it hashes: tests/test_versions.py
    keys.append(key(job(tmp_path)))
    assert len(set(keys)) == len(keys)


def test_what_changes_no_result_makes_the_same_run(tmp_path: Path) -> None:
    same = [
        job(tmp_path),
        job(tmp_path / "elsewhere"),
        job(tmp_path, rerun="all"),
        job(tmp_path, measure=MeasureConfig(timeout=9, share_gpu=True)),
        job(tmp_path, experiment=ExperimentConfig(name="other")),
        replace(job(tmp_path), overrides=("seed=0",), label="other"),
    ]
    assert len({key(one) for one in same}) == 1


def test_two_machines_keep_a_row_each(tmp_path: Path, run: Go) -> None:
    run([job(tmp_path)], Doer())
    row = next(tmp_path.glob("runs/*/run.json"))
    row.write_text(json.dumps(json.loads(row.read_text()) | {"machine.id": "elsewhere"}))
    run([job(tmp_path, rerun="all")], Doer())
    assert len(collect(tmp_path).runs) == 2


def test_a_run_in_other_hands_is_waited_for_and_not_done_twice(
    tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other process finishes it while this one waits."""
    one, doer, other = job(tmp_path), Doer(), Doer()
    claim = take(tmp_path / "claims" / f"{key(one)}.claim")
    assert claim is not None

    def finish(_: float) -> None:
        other(one, 1, 1, claim)
        claim.release()

    monkeypatch.setattr(time, "sleep", finish)
    assert run([one, job(tmp_path, seed=1)], doer) == ["ok", "ok"]
    assert (doer.done, other.done) == ([1], [0])
    said = capsys.readouterr().err
    assert "waiting for 1 run" in said
    assert "finished meanwhile" in said


def test_a_run_that_was_going_on_when_the_sweep_began_is_not_done_again(
    tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its directory is there before the plan is made, and its row comes while this sweep waits."""
    one, doer = job(tmp_path), Doer()
    claim, row = take(tmp_path / "claims" / f"{key(one)}.claim"), jobs.describe_job(one)
    assert claim is not None
    directory = tmp_path / "runs" / str(row["run_id"])
    resume.begin(directory, row)

    def finish(_: float) -> None:
        write_parts(directory, row["run_id"], [], [], [])
        write_row(directory, row | {"status": "ok"})
        claim.release()

    monkeypatch.setattr(time, "sleep", finish)
    assert run([one], doer) == ["ok"]
    assert doer.done == []
    assert "finished meanwhile" in capsys.readouterr().err
    assert not (tmp_path / "superseded").exists()


def test_a_failure_is_replaced_though_the_sweep_was_killed_before_it_moved_it(
    tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([job(tmp_path)], Doer("failed"))
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "move_superseded", lambda *_: None)
        run([job(tmp_path)], Doer())
    assert sorted(collect(tmp_path).runs["status"]) == ["failed", "ok"]
    doer = Doer()
    run([job(tmp_path)], doer)
    assert (doer.done, list(collect(tmp_path).runs["status"])) == ([], ["ok"])


def test_a_run_whose_doer_dies_is_done_here(tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    one, doer = job(tmp_path), Doer()
    claim = take(tmp_path / "claims" / f"{key(one)}.claim")
    assert claim is not None
    monkeypatch.setattr(time, "sleep", lambda _: claim.release())
    run([one], doer)
    assert doer.done == [0]


def test_data_that_changed_since_the_sweep_began_is_refused() -> None:
    check_same_data({"dataset.content": "abc"}, {"dataset.content": "abc"})
    check_same_data({}, {"dataset.content": "abc"})
    with pytest.raises(InputError, match="changed while the sweep"):
        check_same_data({"dataset.content": "abc"}, {"dataset.content": "xyz"})


def test_a_folder_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file/results cannot be written"):
        sweep.plan_runs([job(tmp_path / "file" / "results")])


def test_a_disk_that_fills_up_is_said_in_a_sentence(tmp_path: Path, run: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "write_atomically", full)
    with pytest.raises(InputError, match=r"No space left on device.*free some space"):
        run([job(tmp_path)], Doer())
    monkeypatch.undo()
    run([job(tmp_path)], Doer())
    assert len(collect(tmp_path).runs) == 1


def test_data_that_change_while_a_run_scores_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are read again when test images are scored: those that were edited meanwhile belong to other data."""
    root = sets.make(tmp_path / "set", image_shape=(32, 32))
    for stem in sets.STEMS:
        sets.write(root / "masks" / f"{stem}.png", sets.classes((32, 32)))
    config = Config(
        dataset=FolderConfig(root=str(root)), pipeline=ThresholdConfig(), device="cpu", results_dir=str(tmp_path)
    )
    again = Threshold.predict

    def predict(self: Threshold, item: Any) -> Any:
        sets.write(root / "masks" / "e.png", 1 - sets.classes((32, 32)).clip(0, 1))
        return again(self, item)

    row = {"run_id": "run", "settings_key": "settings"}
    run_now(config, tmp_path, dict(row))
    monkeypatch.setattr(Threshold, "predict", predict)
    (tmp_path / "stages.csv").unlink()
    with pytest.raises(InputError, match="the data set changed while the sweep was going on"):
        run_now(config, tmp_path, dict(row))
    assert (tmp_path / "stages.csv").exists(), "what it cost stays"
