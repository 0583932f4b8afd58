"""Kill a sweep at random moments, again and again, resume it until it is done, and compare its tables.

python tests/support/fault_campaign.py --kills 100 --seconds 600

They must be those of an undisturbed sweep in every column that is no time, no memory, no date and nothing that tells
how busy the machine was (`is_volatile`). `tests/test_faults.py` does the same with a few kills.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.tables.collect import Tables, collect  # noqa: E402
from support.sweeps import TINY  # noqa: E402

SWEEP = ("-m", "pipeline=threshold,oracle,superpixel_gnn", "superpixels=grid", "seed=0,1", *TINY)
KINDS = ("run", "harness", "group", "everything")
VOLATILE = (
    "seconds",
    "bytes",
    "rss",
    "started",
    "run_id",
    "command",
    "sampler",
    "samples",
    "duty",
    "period_s",
    "gap_s",
)
BUSY = ("others_share", "flags", "concurrent_runs", "hwm_reset", "git_commit", "directory")


def is_volatile(column: str) -> bool:
    """Whether a column may differ between two runs of one key: times, memory, dates, sampling, other processes.

    Settings, facts of the data and of the machine have a dot in their names, and may not.
    """
    return "." not in column and any(word in column for word in (*VOLATILE, *BUSY))


def frozen(folder: Path) -> Path:
    """A copy of the code, so that nothing changes it while the campaign lasts."""
    for name in ("bench", "models", "conf"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@dataclass
class Campaign:
    """`code` is a folder with bench/, models/ and conf/; every sweep lies below `folder`."""

    code: Path
    folder: Path
    sweep: Sequence[str]
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    sweeps: int = 0
    superseded: int = 0
    orphans: int = 0
    problems: list[str] = field(default_factory=list)
    longest: float = 8.0  # seconds after the start within which a kill strikes

    def start(self, results: Path) -> "subprocess.Popen[bytes]":
        self.starts += 1
        command = [sys.executable, "-m", "bench", *self.sweep, f"results_dir={results}"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(command, cwd=self.code, stdout=log, stderr=log, start_new_session=True)

    def undisturbed(self) -> Tables:
        """The sweep as it should be."""
        results = self.folder / "undisturbed"
        started = time.perf_counter()
        code = self.start(results).wait()
        if code != 0:
            raise RuntimeError(f"the undisturbed sweep ended with {code}: see {self.folder / 'log.txt'}")
        self.longest = min(self.longest, time.perf_counter() - started)
        return collect(results)

    def disturbed(self, limit: int, deadline: float) -> Tables:
        """One sweep, killed and started again until it is done; no more kills than `limit`, none after `deadline`."""
        self.sweeps += 1
        results = self.folder / f"disturbed-{self.sweeps}"
        until = self.kills.total() + limit
        finished: set[str] = set()
        for _ in range(50 + 3 * limit):
            code = self.once(results, until, deadline)
            if (results / "runs").is_dir() and any((results / "runs").iterdir()):
                finished = self.check(results, finished)
            if code == 0:
                return collect(results)
        raise RuntimeError(f"the sweep does not come to its end: see {self.folder / 'log.txt'}")

    def once(self, results: Path, until: int, deadline: float) -> int:
        """Start the sweep, sometimes twice at once, and kill until it ends; the exit code."""
        processes = [self.start(results) for _ in range(2 if self.chance.random() < 0.15 else 1)]
        for process in processes:
            while process.poll() is None and self.kills.total() < until and time.monotonic() < deadline:
                self.strike(process)
        return max(process.wait() for process in processes) if all(p.wait() >= 0 for p in processes) else -9

    def strike(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait a random time, then kill something of the sweep, and see what is left of it."""
        try:
            process.wait(self.chance.uniform(0.0, self.longest))
            return
        except subprocess.TimeoutExpired:
            pass
        kind = self.chance.choice(KINDS)
        tree = below(process.pid)
        runs = [one for one in tree if one.pid and is_run(one)]
        if kind == "run" and not runs:
            return
        self.kills[kind] += 1
        kill(kind, process, runs, tree)
        if kind != "run":
            process.wait(10)
            _, alive = psutil.wait_procs(tree, timeout=5)
            self.orphans += len(alive)

    def check(self, results: Path, before: set[str]) -> set[str]:
        """After each end: tables can be collected, no finished row is gone, none was done twice. Keys finished now."""
        runs = collect(results).runs
        ok = list(runs.loc[runs["status"] == "ok", "run_key"])
        replaced = [json.loads(path.read_text()) for path in results.glob("superseded/*/run.json")]
        self.problems += [f"done twice: {row['run_key']}" for row in replaced if row["status"] == "ok"]
        self.problems += [f"lost: {key}" for key in before - set(ok)]
        self.problems += [f"twice: {key}" for key, times in Counter(ok).items() if times > 1]
        return set(ok)


def below(pid: int) -> list[psutil.Process]:
    """All processes that a process started, and those that they started."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_run(process: psutil.Process) -> bool:
    """Whether it is a run rather than its sampler or a helper."""
    try:
        return "bench.measure.child" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def kill(
    kind: str, process: "subprocess.Popen[bytes]", runs: Sequence[psutil.Process], tree: Sequence[psutil.Process]
) -> None:
    """kill -9: the run alone, the harness alone, the harness's process group, or every process at once."""
    if kind == "run":
        victims = list(runs)
    elif kind == "everything":
        victims = [psutil.Process(process.pid), *tree]
    else:
        victims = []
        (process.kill if kind == "harness" else lambda: signal_group(process.pid))()
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue


def signal_group(group: int) -> None:
    os.killpg(group, signal.SIGKILL)


def differences(expected: Tables, found: Tables) -> list[str]:
    """Where two folders' tables differ in what must not differ; runs are known by their keys."""
    said = []
    keys = [runs.set_index("run_id")["run_key"] for runs in (expected.runs, found.runs)]
    for name in ("runs", "stages", "scores", "history"):
        frames = [getattr(tables, name) for tables in (expected, found)]
        frames = [frame.assign(_key=frame["run_id"].map(key)) for frame, key in zip(frames, keys, strict=True)]
        frames = [frame[[c for c in frame if c == "_key" or not is_volatile(str(c))]] for frame in frames]
        one, two = (frame.sort_values(list(frame.columns)).reset_index(drop=True) for frame in frames)
        try:
            pd.testing.assert_frame_equal(one, two, check_exact=True, check_like=True)
        except AssertionError as error:
            said.append(f"{name}: {' '.join(str(error).split())}")
    if found.unfinished:
        said.append(f"left out: {found.unfinished}")
    return said


def campaign(sweep: Sequence[str], kills: int, seconds: float, seed: int, folder: Path) -> tuple[Campaign, list[str]]:
    """Sweep after sweep until `kills` are done or the time is over; what happened, and everything that went wrong."""
    one = Campaign(frozen(folder / "code"), folder, sweep, random.Random(seed))
    deadline = time.monotonic() + seconds
    expected = one.undisturbed()
    while one.kills.total() < kills and time.monotonic() < deadline:
        found = one.disturbed(kills - one.kills.total(), deadline)
        one.problems += differences(expected, found)
        one.superseded += sum(1 for _ in (folder / f"disturbed-{one.sweeps}" / "superseded").glob("*"))
    return one, one.problems + ([f"{one.orphans} processes outlived their harness"] if one.orphans else [])


def main() -> int:
    """Print the figures; exit code 1 if anything was lost, doubled, torn or different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as folder:
        started = time.monotonic()
        one, problems = campaign(SWEEP, asked.kills, asked.seconds, asked.seed, Path(folder))
        expected = collect(Path(folder) / "undisturbed")
    print(f"{one.kills.total()} kills in {time.monotonic() - started:.0f} s: {dict(sorted(one.kills.items()))}")
    print(
        f"{one.starts} starts of {one.sweeps} sweeps of {len(expected.runs)} runs; {one.superseded} attempts replaced"
    )
    compared = sorted({str(c) for name in ("runs", "scores", "stages", "history") for c in getattr(expected, name)})
    print(f"not compared: {', '.join(column for column in compared if is_volatile(column))}")
    print("\n".join(problems) or "no row lost, none twice, none torn; the tables are those of the undisturbed sweep")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
