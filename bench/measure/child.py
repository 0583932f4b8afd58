"""The child's side of `bench.measure.isolation`: read the call, make it, write the result atomically."""

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
    """Make the call of `folder/call.pickle` and write (status, reason, result, error, traceback) to `result.pickle`."""
    if sys.platform == "linux" and os.getpgrp() == os.getpid():
        _bind_group_to_parent()
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
    os._exit(0)  # unloading the libraries would take another second


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


def _bind_group_to_parent() -> None:
    """Have the kernel kill the process group when the pipe closes, which code that holds the GIL cannot delay."""
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(0, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _end_with_parent() -> None:
    """End this process, and all that it started, when standard input closes: only the parent holds its other end."""
    while os.read(0, 1):
        pass
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
