"""Pieces of work for the workers of other processes: free of pytest and torch, so that they start fast."""

import os
import time

from bench.config import InputError


def describe(number: int) -> tuple[int, int, int, str | None]:
    """What a piece of work sees: its number, its process, the threads it may use, the threads of libraries."""
    from bench.arrays.threads import count_threads

    time.sleep(0.05)
    return number, os.getpid(), count_threads(), os.environ.get("OMP_NUM_THREADS")


def fail(number: int) -> int:
    if number == 3:
        raise InputError("the third cannot be used")
    return number
