"""What the C library does with memory that was freed, where it is glibc."""

import ctypes
import platform
import sys

TRIMMED = 1 << 19  # values of an image after which freed memory is worth handing back
MALLOPT = {-3: 1 << 20, -1: 1 << 20, -8: 2}  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in bytes, M_ARENA_MAX


def return_freed_memory() -> None:
    """Have the C library hand freed blocks of a MiB and more back to the system at once, where it is glibc.

    By default it keeps up to 64 MiB of them, and more for every thread, once a large array was freed.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in MALLOPT.items():
            library.mallopt(parameter, value)


def trim_heap() -> None:
    """Hand back what the C library holds of freed memory, where it is asked for that: on Linux with glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def trim_after(values: int) -> None:
    """Hand back freed memory after work on an image of so many `values`, where these were many."""
    if values >= TRIMMED:
        trim_heap()
