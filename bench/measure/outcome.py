"""How a run in a process of its own ended: a closed set of statuses. Standard library only."""

import re
import signal
from dataclasses import dataclass
from typing import Any

# The first group that matches decides: host memory before the device's, plain words before disguises.
_HOST = (
    "can't allocate memory",
    "not enough memory: you tried",
    "unable to mmap",
    "cannot allocate memory",
    "std::bad_alloc",
)
_WORKER = re.compile(
    r"dataloader worker .*(killed by signal|bus error)|dataloader worker .*exited unexpectedly", re.DOTALL
)
_UNMAPPED = "failed to map segment from shared object"  # the loader's words for a library that memory has no room for
_DEVICE = ("cuda out of memory", "out of memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")
_DISGUISED = ("unable to find an engine", "cudnn_status_internal_error", "cudnn_status_not_supported")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: ok | out_of_memory | oom_suspected | host_oom | failed | timeout.
        reason: One sentence; empty when the status is ok.
        result: The value that the function returned.
        seconds: Wall time from the start of the process to its end.
        startup_seconds: The part of it before the call (interpreter and imports); None if there was no call.
        exit_code: Of the process; None where it was killed after a timeout.
        error: Name of the exception's type; empty without one.
        traceback: Text of the exception; empty without one.
    """

    status: str
    reason: str
    result: Any
    seconds: float
    startup_seconds: float | None = None
    exit_code: int | None = None
    error: str = ""
    traceback: str = ""

    @property
    def ok(self) -> bool:
        """Whether the call returned a result."""
        return self.status == "ok"


def classify(exception: BaseException) -> tuple[str, str]:
    """Return the status and a reason of one sentence for an exception, by type names and messages, without torch.

    A loss that is not finite is reported by raising `FloatingPointError`, and is a failure.
    """
    kind, text = type(exception).__name__, str(exception)
    if isinstance(exception, MemoryError):
        return "host_oom", _sentence("host memory ran out", kind, text)
    if kind == "OutOfMemoryError":
        return "out_of_memory", _sentence("GPU memory ran out", kind, text)
    if isinstance(exception, ImportError) and text.rstrip().endswith(_UNMAPPED):  # a mount without rights adds words
        return "host_oom", _sentence("host memory ran out", kind, text)
    if isinstance(exception, OSError) and exception.errno == 12:
        return "host_oom", _sentence("host memory ran out", kind, text)
    if isinstance(exception, OSError) and exception.errno == 24:
        return "failed", _sentence("too many files are open: raise the limit (ulimit -n)", kind, text)
    if isinstance(exception, RuntimeError) or kind == "AcceleratorError" or _tells_host(text):
        return _classify_runtime(kind, text)
    return "failed", _sentence("", kind, text)


def _tells_host(text: str) -> bool:
    """Return whether a message says that host memory ran out, which an exception around it of any type may quote."""
    return any(words in text.lower() for words in _HOST)


def _classify_runtime(kind: str, text: str) -> tuple[str, str]:
    low = text.lower()
    if _tells_host(text):
        return "host_oom", _sentence("host memory ran out", kind, text)
    if _WORKER.search(low):
        return "host_oom", _sentence("a data worker was killed, as happens when host memory runs out", kind, text)
    if any(words in low for words in _DEVICE):
        return "out_of_memory", _sentence("GPU memory ran out", kind, text)
    if any(words in low for words in _DISGUISED):
        return "oom_suspected", _sentence("a library error that lack of GPU memory is known to cause", kind, text)
    return "failed", _sentence("", kind, text)


def _sentence(what: str, kind: str, text: str) -> str:
    """One line of at most 300 characters: `what: kind: first line of text`."""
    lines = text.strip().splitlines()
    parts = [part for part in (what, kind, lines[0] if lines else "") if part]
    return ": ".join(parts)[:300]


def classify_exit(exit_code: int, oom_kills: int | None = None) -> tuple[str, str]:
    """Return the status and the reason for a process that ended without a result.

    `exit_code` is negative for a signal, as in `subprocess`. `oom_kills` is the kernel's count of out-of-memory kills
    meanwhile on the whole machine (None: unknown), which does not include other guards of memory.
    """
    if exit_code == -9 and oom_kills == 0:
        seen = "the kernel counted no such kill meanwhile, so that it may have been somebody else"
        return "host_oom", f"killed by signal 9, as is done when host memory runs out, but {seen}"
    if exit_code == -9:
        known = "" if oom_kills is None else f"; the kernel counted {oom_kills} such kills meanwhile"
        return "host_oom", f"killed by signal 9, as the kernel does when host memory runs out{known}"
    if exit_code < 0:
        return "failed", f"killed by signal {-exit_code} ({_signal_name(-exit_code)})"
    return "failed", f"the process ended with exit code {exit_code} and handed back no result"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
