"""What was freed goes back to the system, so that the peak of a process tells what it needs and not what it once held.

Batches of graphs differ in size from step to step. The C library keeps the holes that they leave for later, and later
ones do not fit: a process whose tensors stay the same grows for as long as it trains.
"""

import ctypes
import platform
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0  # a trim and the page faults after it take milliseconds


class HandBack:
    """Call it as often as you like: every `EVERY_SECONDS` it asks glibc to hand back pages that nothing lives in.

    Does nothing where the C library cannot be asked (macOS, Windows, musl).
    """

    def __init__(self) -> None:
        self._trim = _malloc_trim()
        self._last = time.monotonic()

    def __call__(self) -> None:
        if self._trim is not None and time.monotonic() - self._last >= EVERY_SECONDS:
            self._trim(0)
            self._last = time.monotonic()


def _malloc_trim() -> Callable[[int], int] | None:
    if platform.system() != "Linux":
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
    return trim
