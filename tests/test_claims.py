"""A claim is held by one living process at a time: no two get it, and the dead do not keep it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.files import create_atomically, identify_process
from bench.sweeps import claims
from bench.sweeps.claims import Owner, clear_dead, is_held, read_owner, take

ROOT = Path(__file__).parents[1]
MACHINE, NUMBER, BOOT, TICKS = identify_process(os.getpid()).split("-")
DEAD = Owner(f"{MACHINE}-{2**22 + 1}-{BOOT}-1", "dead")
ELSEWHERE = Owner("ffffffff-1-0-1", "x")


def left_behind(path: Path, owner: Owner, silent_for: float = 0.0) -> None:
    """A claim as a process that is no more left it."""
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - silent_for, time.time() - silent_for))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.claim"


def test_one_of_many_gets_it_and_after_its_release_another(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = [claim for claim in pool.map(lambda _: take(path), range(16)) if claim is not None]
    assert len(got) == 1
    assert take(path) is None
    got[0].release()
    assert list(path.parent.iterdir()) == []
    again = take(path)
    assert again is not None
    again.release()


def test_the_claim_of_a_killed_process_is_taken_over_by_one(path: Path) -> None:
    code = (
        "from bench.sweeps.claims import take; import os, pathlib; "
        f"take(pathlib.Path({str(path)!r})); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert path.exists()
    with ThreadPoolExecutor(8) as pool:
        got = [claim for claim in pool.map(lambda _: take(path), range(16)) if claim is not None]
    assert len(got) == 1
    got[0].release()


def test_many_processes_never_hold_it_together(path: Path) -> None:
    """Each holder notes its coming and going in one file; two at once would show as two comings in a row."""
    log = path.with_name("log")
    code = (
        "import sys, time, pathlib; from bench.sweeps.claims import take\n"
        "path, log = pathlib.Path(sys.argv[1]), open(sys.argv[2], 'a', buffering=1)\n"
        "for _ in range(20):\n"
        "    while (claim := take(path)) is None: time.sleep(0.0005)\n"
        "    log.write('in\\n'); time.sleep(0.002); log.write('out\\n'); claim.release()\n"
    )
    left_behind(path, DEAD)
    command = [sys.executable, "-c", code, str(path), str(log)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    assert log.read_text().split() == ["in", "out"] * 100
    assert [found.name for found in path.parent.iterdir()] == ["log"]


def test_a_claim_made_while_another_process_tries_to_take_the_place_is_not_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim is released as this process looks, and a quicker one claims the place right after the second look."""
    other = json.dumps(asdict(Owner(identify_process(os.getpid()), "quicker"))).encode()
    create, look, looks = create_atomically, claims.is_held, Counter[str]()

    def come() -> None:
        looks["came"] += 1
        if looks["came"] == 1:
            path.write_bytes(other)

    def create_late(at: Path, content: bytes) -> bool:
        looks["create"] += 1
        if looks["create"] == 2:
            come()
        return looks["create"] == 2 and create(at, content)

    def look_then_lose(found: Path) -> bool:
        looks["look"] += 1
        held = look(found)
        if looks["look"] == 2:
            come()
        return held

    monkeypatch.setattr(claims, "create_atomically", create_late)
    monkeypatch.setattr(claims, "is_held", look_then_lose)
    assert take(path) is None
    assert path.read_bytes() == other


def test_a_process_number_used_again_is_not_the_owner(path: Path) -> None:
    held = take(path)
    assert held is not None
    owner = held.owner
    held.release()
    left_behind(path, owner)
    assert is_held(path)
    left_behind(path, Owner(f"{MACHINE}-{NUMBER}-{BOOT}-{int(TICKS) - 1}", "x"))
    assert not is_held(path)
    left_behind(path, Owner(f"{MACHINE}-{NUMBER}-abcdef01-{TICKS}", "x"))
    assert not is_held(path), "before the machine started anew"


def test_of_another_machine_silence_decides(path: Path) -> None:
    left_behind(path, ELSEWHERE, silent_for=claims.SILENCE - 30)
    assert take(path) is None
    left_behind(path, ELSEWHERE, silent_for=claims.SILENCE + 30)
    claim = take(path)
    assert claim is not None
    claim.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}', '{"process": "a-b", "token": ""}'])
def test_a_claim_that_names_nobody_falls_to_silence(path: Path, content: str) -> None:
    path.write_text(content)
    assert take(path) is None
    os.utime(path, (0, 0))
    claim = take(path)
    assert claim is not None
    claim.release()


def test_a_claim_taken_from_us_is_not_removed_by_us(path: Path) -> None:
    claim = take(path)
    assert claim is not None
    other = replace(claim.owner, token="other")
    left_behind(path, other)
    claim.release()
    assert read_owner(path) == other


def test_life_is_shown_and_neighbours_are_counted(path: Path) -> None:
    claim = take(path, beat=0.02)
    assert claim is not None
    assert claim.beside == 0
    os.utime(path, (0, 0))
    other = take(path.with_name("other.claim"), beat=0.02)
    assert other is not None
    time.sleep(0.2)
    other.release()
    assert time.time() - path.stat().st_mtime < 10
    claim.release()
    assert Counter([claim.beside, other.beside]) == {1: 2}


def test_a_guard_left_by_a_killed_taker_does_not_last(path: Path) -> None:
    left_behind(path, DEAD)
    path.with_suffix(".taking").mkdir()
    assert take(path, beat=-1.0) is None
    claim = take(path)
    assert claim is not None
    claim.release()


def test_what_dead_processes_left_is_cleared_and_what_lives_stays(path: Path) -> None:
    mine = take(path)
    assert mine is not None
    left_behind(path.with_name("dead.claim"), DEAD)
    left_behind(path.with_name("far.claim"), ELSEWHERE)
    half = path.with_name(f".run.claim.{DEAD.process}-0123456789ab.partial")
    half.mkdir()
    clear_dead(path.parent)
    assert sorted(found.name for found in path.parent.iterdir()) == ["far.claim", "run.claim"]
    mine.release()


def test_a_clock_that_is_set_does_not_end_a_claim(path: Path) -> None:
    """Readings of the time of day, and of starts by it, change by an hour in the process that looks."""
    mine = take(path)
    assert mine is not None
    code = (
        "import sys, time, pathlib, psutil; now = time.time; time.time = lambda: now() + 3600\n"
        "psutil.Process.create_time = lambda _: now() + 3600\n"
        "from bench.sweeps.claims import take; sys.exit(take(pathlib.Path(sys.argv[1])) is not None)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False).returncode == 0
    mine.release()


def test_nobody_is_named() -> None:
    assert os.uname().nodename not in identify_process(os.getpid())
