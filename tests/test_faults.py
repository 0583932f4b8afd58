"""Faults really brought about: kills, full disks, folders that cannot be written, data that goes bad, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import folder_sets as sets
from support.sweeps import SMALL_SWEEP, TINY, make_command

from bench import cli
from bench.sweeps import jobs
from bench.sweeps.preparation import prepare_jobs
from bench.sweeps.sweep import plan_runs, sweep

if TYPE_CHECKING:
    from support import fault_campaign

    from bench.sweeps.compose import compose
    from bench.tables.collect import collect


ROOT = Path(__file__).parents[1]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and mounts")
ONE = ("pipeline=threshold", *TINY)


@pytest.fixture(autouse=True)
def _unchanged_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit while the tests run would make every run another run."""
    monkeypatch.setattr(jobs, "code_version", lambda: "unchanged")


def start(*arguments: str, before: tuple[str, ...] = (), report: bool = True) -> subprocess.Popen[str]:
    command = [*before, *make_command(*arguments, report=report)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_a_run_goes_on(results: Path) -> Path:
    """Wait for a run's directory with a row to come."""
    for _ in range(600):
        for directory in results.glob("runs/*"):
            if not (directory / "run.json").exists():
                return directory
        time.sleep(0.05)
    raise AssertionError("no run started")


@POSIX
def test_disturbed_at_random_moments_and_resumed_a_sweep_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without figures and report, which take most of such a sweep's time and would catch most of the signals."""
    monkeypatch.setattr(fault_campaign, "make_command", partial(make_command, report=False))
    one, problems = fault_campaign.campaign(SMALL_SWEEP, signals=3, seconds=600, seed=3, folder=tmp_path)
    assert problems == []
    assert one.signals.total() == 3
    assert one.starts > one.sweeps


@POSIX
@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_keeps_what_is_finished_and_says_how_to_go_on(
    tmp_path: Path, request_to_end: signal.Signals
) -> None:
    results = tmp_path / "results"
    arguments = (*SMALL_SWEEP, f"results_dir={results}")
    process = start(*arguments)
    first = until_a_run_goes_on(results)
    while not (first / "run.json").exists():
        time.sleep(0.02)
    until_a_run_goes_on(results)
    process.send_signal(request_to_end)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in said
    command = said[said.index("interrupted:") :].splitlines()[1].strip()
    assert shlex.split(command) == ["python", "-m", "bench", *arguments]
    tables = collect(results)
    assert list(tables.runs["status"]) == ["ok"]
    assert len(tables.unfinished) == 1
    assert list((results / "claims").iterdir()) == [], "nothing is claimed any more"
    assert (results / "report.md").exists()


@POSIX
def test_many_requests_to_end_are_one_sentence(tmp_path: Path) -> None:
    """Ctrl-C again and again, also while the process ends, which takes a second here."""
    code = "import atexit, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; atexit.register(time.sleep, 1); from bench.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "scene", "shape=9000x9000", f"out={tmp_path / 'a.zarr'}"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        said = process.stderr.read()
    assert "left" in first
    assert process.returncode == 130
    assert said.count("interrupted: ") == 1
    assert "Traceback" not in said
    assert not (tmp_path / "a.zarr").exists()


@POSIX
def test_two_sweeps_of_one_folder_do_each_run_once(tmp_path: Path) -> None:
    """The second starts while the first is within a run."""
    results = tmp_path / "results"
    first = start(*ONE, f"results_dir={results}", report=False)
    until_a_run_goes_on(results)
    second = start(*ONE, f"results_dir={results}", report=False)
    said = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert "finished meanwhile" in said[1] or "finished before" in said[1]
    assert list(collect(results).runs["status"]) == ["ok"]
    assert not (results / "superseded").exists()
    assert list((results / "claims").iterdir()) == []


@POSIX
def test_what_a_killed_sweep_leaves_is_cleaned_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, temporary = tmp_path / "results", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    process = start(*ONE, f"results_dir={results}")
    until_a_run_goes_on(results)
    process.kill()
    process.communicate()
    assert list((results / "claims").iterdir()), "the dead one's claim"
    assert go([*ONE, f"results_dir={results}", "seed=1"]) == ["ok"]
    assert list((results / "claims").iterdir()) == []
    assert not [path for path in temporary.iterdir() if path.name.startswith("run-")]


def in_a_namespace(script: str) -> tuple[str, ...]:
    """A command that runs `script`, and then its arguments, with mounts of its own; skips where that is refused."""
    command = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to mount with")
    tried = subprocess.run([*command, "mount -t tmpfs -o size=1m tmpfs /mnt"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mounts without rights: {tried.stderr.decode().strip()}")
    return (*command, script + ' && exec "$@"', "sh")


def test_a_folder_without_write_permission_is_said_before_anything_starts(tmp_path: Path) -> None:
    before = in_a_namespace(f"mount -t tmpfs -o ro tmpfs {tmp_path}")
    process = start(*ONE, f"results_dir={tmp_path}/results", before=before)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert re.search(r"error: results_dir .*/results cannot be written \(Read-only file system\)", said)
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("size", ["16k", "40k"])
def test_a_full_disk_ends_in_a_sentence_or_a_failed_row_and_not_in_a_half(tmp_path: Path, size: str) -> None:
    """The first is full before the run, the second within it."""
    kept = tmp_path / "kept"
    (tmp_path / "disk").mkdir()
    before = in_a_namespace(f"mount -t tmpfs -o size={size} tmpfs {tmp_path}/disk")
    copies = f'"$@"; code=$?; cp -r {tmp_path}/disk/results {kept}; exit $code'
    process = start(*ONE, f"results_dir={tmp_path}/disk/results", before=(*before, "sh", "-c", copies, "sh"))
    _, said = process.communicate(timeout=300)
    assert process.returncode in (1, 2)
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert not any(json.loads(path.read_text())["status"] == "ok" for path in kept.glob("runs/*/run.json"))
    assert go([*ONE, f"results_dir={kept}"]) == ["ok"], "with space again, the same command does it"
    assert list(collect(kept).runs["status"]).count("ok") == 1


@POSIX
def test_after_a_full_disk_the_run_is_done_again(tmp_path: Path) -> None:
    """The stand-in for a full disk that leaves its remains: no file may grow beyond a few kilobytes."""
    import resource

    results = tmp_path / "results"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    todo = plan_runs(prepare_jobs(compose([*ONE, f"results_dir={results}"])))
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
    try:
        statuses: dict[str, list[str]] = {}
        sweep(todo, statuses)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert statuses == {str(results): ["failed"]}
    [row] = collect(results).runs.to_dict("records")
    assert "File too large" in row["reason"]
    assert go([*ONE, f"results_dir={results}"]) == ["ok"]
    assert list(collect(results).runs["status"]) == ["ok"]


def go(arguments: list[str], between: Any = None) -> list[str]:
    """What the command line does, in this process, with something done between the check and the first run."""
    todo = plan_runs(prepare_jobs(compose(arguments)))
    if between is not None:
        between()
    statuses: dict[str, list[str]] = {}
    sweep(todo, statuses)
    return [status for folder in statuses.values() for status in folder]


def test_data_that_goes_bad_or_changes_between_check_and_run_fails_that_run_alone(tmp_path: Path) -> None:
    root, results = sets.make(tmp_path / "set", image_shape=(32, 32)), tmp_path / "results"
    for stem in sets.STEMS:
        sets.write(root / "masks" / f"{stem}.png", sets.classes((32, 32)))
    arguments = ["pipeline=threshold", "dataset=folder", f"dataset.root={root}", "device=cpu", f"results_dir={results}"]
    image = root / "images" / "b.png"
    good = image.read_bytes()

    shutil.copytree(root, tmp_path / "other")
    both = ["-m", *arguments, f"dataset.root={root},{tmp_path / 'other'}"]
    assert go(both, lambda: image.write_bytes(good[: len(good) // 2])) == ["failed", "ok"], "the sweep goes on"
    runs = collect(results).runs.set_index("status")
    assert "b.png cannot be read" in str(runs.loc["failed", "reason"])
    shutil.rmtree(results)

    image.write_bytes(good)
    assert go(arguments, lambda: sets.write(image, sets.picture(77, (32, 32)))) == ["failed"]
    [row] = collect(results).runs.to_dict("records")
    assert "the data set changed while the sweep was going on" in row["reason"]

    assert go(arguments) == ["ok"], "the data as they are now are another data set"
    image.write_bytes(good)
    assert go(arguments) == ["ok"], "and the first ones are done when they are back"
    runs = collect(results).runs
    assert sorted(runs["status"]) == ["ok", "ok"]
    assert runs["dataset.content"].nunique() == 2


def test_a_hanging_run_is_a_row_and_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_report", lambda _: 0)
    arguments = [*ONE, f"results_dir={tmp_path}"]
    assert cli.main([*arguments, "measure.timeout=0.05"]) == 1
    assert list(collect(tmp_path).runs["status"]) == ["timeout"]
    assert "still running after 0.05 s" in collect(tmp_path).runs["reason"][0]
    assert go(arguments) == ["ok"], "the same run: a limit of time changes no result"
    assert len(list(tmp_path.glob("superseded/*"))) == 1


def test_collect_says_which_directories_have_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go([*ONE, f"results_dir={tmp_path}"]) == ["ok"]
    shutil.copytree(next(tmp_path.glob("runs/*")), tmp_path / "runs" / "killed")
    (tmp_path / "runs" / "killed" / "run.json").unlink()
    capsys.readouterr()
    assert cli.main(["collect", f"results_dir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "1 run directory without a row" in said
    assert "left out: runs/killed: it has no run.json" in said
    assert list(collect(tmp_path).runs["concurrent_runs"]) == [0]
