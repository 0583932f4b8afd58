"""The other side of `bench.measure.isolation`: read the call, make it, leave the result behind, atomically."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from bench.measure.outcome import classify

_F_SETSIG = 10  # Linux's number for "which signal"; Python has no name for it


def main(folder: str) -> None:
    """Call what `folder/call.pickle` says; `folder/result.pickle` is (status, reason, result, error, traceback)."""
    if sys.platform == "linux" and os.getpgrp() == os.getpid():
        _killed_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = _call(Path(folder))
    try:
        data = pickle.dumps(answer)
    except Exception as problem:
        reason = f"the result cannot be handed back: {type(problem).__name__}: {problem}"
        data = pickle.dumps(("failed", reason, None, type(problem).__name__, traceback.format_exc()))
    if not Path(folder).is_dir():  # an interrupted parent has removed it: nobody waits for the result
        os._exit(1)
    _write(Path(folder) / "result.pickle", data)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is written: unloading the libraries would take another second


def _call(folder: Path) -> tuple[str, str, Any, str, str]:
    try:
        function, argument = pickle.loads((folder / "call.pickle").read_bytes())
        _write(folder / "called", repr(time.perf_counter()).encode())
        return "ok", "", function(argument), "", ""
    except BaseException as exception:
        status, reason = classify(exception)
        return status, reason, None, type(exception).__name__, traceback.format_exc()


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)


def _killed_with_parent() -> None:
    """Have the kernel kill our group when the pipe closes: code that holds the interpreter cannot delay that."""
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(0, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _end_with_parent() -> None:
    """Standard input is a pipe that only the parent can close: its end is ours, and that of all we started."""
    while os.read(0, 1):
        pass
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
