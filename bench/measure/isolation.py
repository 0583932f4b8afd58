"""One fresh process per run: the parent watches it, survives its death and classifies how it ended."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.measure.outcome import Outcome, classify, classify_exit

__all__ = ["Outcome", "classify", "kill_tree", "run_isolated"]

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bench.measure.child import main; main(sys.argv[2])"
)


def run_isolated(
    function: Callable[[Any], Any],
    argument: Any,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Call `function(argument)` in a newly started interpreter.

    Standard output and error are inherited. If this process dies, the child dies too; on Ctrl-C the child is killed
    and `KeyboardInterrupt` is raised again.

    Args:
        function: Importable by its module and name.
        argument: Its one argument; it and the result must pickle.
        timeout: Seconds of wall time, start of the interpreter included, after which the whole tree of processes is
            killed; None waits for ever.
        environment: Variables that are laid over those of this process before the interpreter starts.

    Returns:
        How the call ended, with its result. An error in the child never raises here.

    Raises:
        ValueError: `function` is defined in `__main__`.
    """
    if function.__module__ == "__main__":
        raise ValueError(
            f"{function.__qualname__} is defined in __main__, which a fresh process cannot import; move it to a module"
        )
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        (Path(folder) / "call.pickle").write_bytes(pickle.dumps((function, argument)))
        kills, start = _oom_kills(), time.perf_counter()
        process = _start(folder, environment or {})
        timed_out = _wait(process, timeout)
        seconds = time.perf_counter() - start
        if timed_out:
            return Outcome(
                "timeout", f"still running after {timeout:g} s, killed", None, seconds, _startup(folder, start)
            )
        return _read(folder, process.returncode, seconds, start, _difference(kills, _oom_kills()))


def _start(folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the child, which ends itself when its standard input closes: only this process holds the other end."""
    path = [str(Path(entry).absolute()) for entry in sys.path]
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps(path), folder],
        stdin=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=os.name == "posix",  # Ctrl-C reaches the parent alone, and the whole group can be killed
    )


def _wait(process: subprocess.Popen[bytes], timeout: float | None) -> bool:
    """Wait for the end and return whether the time ran out. No process of the tree survives, whatever happens."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return True
    finally:
        kill_tree(process)
        if process.stdin is not None:
            process.stdin.close()
    return False


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session of its own, with all its descendants, and wait for it."""
    descendants = _descendants(process.pid) if process.poll() is None else []
    if os.name == "posix":
        _kill_group(process.pid)
    for descendant in descendants:
        _kill(descendant)
    if process.poll() is None:
        process.kill()
    process.wait()
    psutil.wait_procs(descendants, timeout=1.0)  # they are dying; one that nobody collects would stay for ever


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:  # nobody is left
        return


def _read(folder: str, exit_code: int, seconds: float, start: float, oom_kills: int | None) -> Outcome:
    startup, path = _startup(folder, start), Path(folder) / "result.pickle"
    if not path.exists():
        status, reason = classify_exit(exit_code, oom_kills)
        return Outcome(status, reason, None, seconds, startup, exit_code)
    try:
        status, reason, result, error, text = pickle.loads(path.read_bytes())
    except Exception as problem:  # a class that pickles but does not unpickle
        return Outcome("failed", f"the result could not be read back: {problem}", None, seconds, startup, exit_code)
    return Outcome(status, reason, result, seconds, startup, exit_code, error, text)


def _startup(folder: str, start: float) -> float | None:
    """Return the seconds from `start` to the call; all processes share the clock of `perf_counter`."""
    path = Path(folder) / "called"
    return float(path.read_text()) - start if path.exists() else None


def _oom_kills() -> int | None:
    """Return the kernel's count of out-of-memory kills since boot; None where it has no such count."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return counts[0] if counts else None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
