"""Send signals to a sweep at random moments, again and again, resume it until it is done, and compare its tables.

python tests/support/fault_campaign.py --signals 150 --seconds 3600

They must be those of an undisturbed sweep in every column that is no time, no memory, no date and nothing that tells
how busy the machine was (`is_volatile`), and nothing may be left in the results, in TMPDIR and in /dev/shm.
`tests/test_faults.py` does the same with a few signals.
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
from support.sweeps import TINY, make_command  # noqa: E402

SWEEP = ("-m", "pipeline=threshold,oracle,superpixel_gnn", "superpixels=grid", "seed=0,1", *TINY)
SIGNALS = {
    "kill": signal.SIGKILL,
    "terminate": signal.SIGTERM,
    "interrupt": signal.SIGINT,
    "segfault": signal.SIGSEGV,
    "pause": signal.SIGSTOP,
}
VICTIMS = ("run", "harness", "group", "everything")
PAUSE = 2.0  # seconds from a pause to its end, at most
SHARED = Path("/dev/shm")
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
    """`code` is a folder with bench/, models/ and conf/; every sweep, and its TMPDIR, lies below `folder`."""

    code: Path
    folder: Path
    sweep: Sequence[str]
    chance: random.Random
    signals: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    sweeps: int = 0
    superseded: int = 0
    orphans: int = 0
    problems: list[str] = field(default_factory=list)
    longest: float = 8.0  # seconds after the start within which a signal strikes

    def start(self, results: Path) -> "subprocess.Popen[bytes]":
        """Start the real command; it heeds Ctrl-C also where the campaign runs in the background."""
        self.starts += 1
        (self.folder / "tmp").mkdir(exist_ok=True)
        command = make_command(*self.sweep, f"results_dir={results}")
        environment = os.environ | {"TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.code, stdout=log, stderr=log, start_new_session=True, env=environment
            )

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
        """Disturb one sweep by at most `limit` signals, none after `deadline`, and start it again until it is done."""
        self.sweeps += 1
        results = self.folder / f"disturbed-{self.sweeps}"
        until = self.signals.total() + limit
        finished: set[str] = set()
        for _ in range(50 + 3 * limit):
            code = self.once(results, until, deadline)
            if (results / "runs").is_dir() and any((results / "runs").iterdir()):
                finished = self.check(results, finished)
            if code == 0:
                self.problems += [f"left: {path}" for path in self.leavings(results)]
                return collect(results)
        raise RuntimeError(f"the sweep does not come to its end: see {self.folder / 'log.txt'}")

    def once(self, results: Path, until: int, deadline: float) -> int:
        """Start the sweep, sometimes twice at once, and send signals until it ends; the exit code."""
        processes = [self.start(results) for _ in range(2 if self.chance.random() < 0.15 else 1)]
        for process in processes:
            while process.poll() is None and self.signals.total() < until and time.monotonic() < deadline:
                self.strike(process)
        return max(process.wait() for process in processes) if all(p.wait() >= 0 for p in processes) else -9

    def strike(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait a random time, then send a signal to some of the sweep's processes, and see what is left of it."""
        try:
            process.wait(self.chance.uniform(0.0, self.longest))
            return
        except subprocess.TimeoutExpired:
            pass
        victim, name = self.chance.choice(VICTIMS), self.chance.choice(list(SIGNALS))
        tree = below(process.pid)
        runs = [one for one in tree if one.pid and is_run(one)]
        if victim == "run" and not runs:
            return
        self.signals[f"{name} {victim}"] += 1
        chosen = choose(victim, process, runs, tree)
        send(SIGNALS[name], chosen)
        if name == "pause":
            time.sleep(self.chance.uniform(0.0, PAUSE))
            send(signal.SIGCONT, chosen)
        elif victim != "run":
            process.wait(300)
            _, alive = psutil.wait_procs(tree, timeout=10)
            self.orphans += len(alive)

    def leavings(self, results: Path) -> list[Path]:
        """What a sweep that is over must not have left: claims, half-made files, temporary files."""
        places = [results / "claims", self.folder / "tmp"]
        found = [path for place in places if place.is_dir() for path in place.iterdir()]
        return found + [path for path in results.rglob(".*") if "superseded" not in path.parts]

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


def choose(
    victim: str, process: "subprocess.Popen[bytes]", runs: Sequence[psutil.Process], tree: Sequence[psutil.Process]
) -> list[psutil.Process]:
    """List the processes that a signal goes to: the run, the harness, its process group, or all of the sweep.

    Args:
        victim: One of `VICTIMS`.
        process: The harness, which leads a group of its own.
        runs: The processes of runs below it.
        tree: All processes below it.
    """
    if victim == "run":
        return list(runs)
    below_too = {"harness": [], "group": [one for one in tree if is_of_group(one, process.pid)], "everything": tree}
    return [*list_process(process.pid), *below_too[victim]]


def is_of_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group
    except ProcessLookupError:
        return False


def list_process(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def send(number: signal.Signals, victims: Sequence[psutil.Process]) -> None:
    """Send a signal to all that are still there."""
    for victim in victims:
        try:
            victim.send_signal(number)
        except psutil.NoSuchProcess:
            continue


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


def campaign(sweep: Sequence[str], signals: int, seconds: float, seed: int, folder: Path) -> tuple[Campaign, list[str]]:
    """Disturb sweep after sweep.

    Args:
        sweep: Words of the command line.
        signals: How many are sent in all.
        seconds: After them no more are sent.
        seed: Of the moments, victims and signals.
        folder: For the sweeps, and a copy of the code.

    Returns:
        What happened, and everything that went wrong.
    """
    one = Campaign(frozen(folder / "code"), folder, sweep, random.Random(seed))
    deadline = time.monotonic() + seconds
    expected = one.undisturbed()
    while one.signals.total() < signals and time.monotonic() < deadline:
        found = one.disturbed(signals - one.signals.total(), deadline)
        one.problems += differences(expected, found)
        one.superseded += sum(1 for _ in (folder / f"disturbed-{one.sweeps}" / "superseded").glob("*"))
    return one, one.problems + ([f"{one.orphans} processes outlived their harness"] if one.orphans else [])


def main() -> int:
    """Print the figures; exit code 1 if anything was lost, doubled, torn or different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as folder:
        started, shared = time.monotonic(), set(SHARED.glob("*"))
        one, problems = campaign(SWEEP, asked.signals, asked.seconds, asked.seed, Path(folder))
        expected = collect(Path(folder) / "undisturbed")
    print(f"{one.signals.total()} signals in {time.monotonic() - started:.0f} s: {dict(sorted(one.signals.items()))}")
    print(
        f"{one.starts} starts of {one.sweeps} sweeps of {len(expected.runs)} runs; {one.superseded} attempts replaced"
    )
    compared = sorted({str(c) for name in ("runs", "scores", "stages", "history") for c in getattr(expected, name)})
    print(f"not compared: {', '.join(column for column in compared if is_volatile(column))}")
    print(f"new in {SHARED}, also of others: {sorted(path.name for path in set(SHARED.glob('*')) - shared)}")
    print("\n".join(problems) or "no row lost, none twice, none torn; the tables are those of the undisturbed sweep")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
