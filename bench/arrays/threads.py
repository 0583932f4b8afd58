"""Work in bands on plain threads: the kernels hold no lock, and no runtime objects to forked or spawned processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from numba import config

Result = TypeVar("Result")
Band = tuple[int, int]
_LIMIT: ContextVar[int | None] = ContextVar("threads", default=None)


def thread_count() -> int:
    """Threads that the caller may use.

    `limited` says so, else numba's setting, which is `NUMBA_NUM_THREADS` or else the cores it has.
    """
    return _LIMIT.get() or int(config.NUMBA_NUM_THREADS)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Work within the block uses at most so many threads, if it runs in this very thread: others work beside it."""
    token = _LIMIT.set(min(threads, thread_count()))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def split(stop: int, pieces: int, start: int = 0) -> list[Band]:
    """`range(start, stop)` as at most `pieces` non-empty intervals of nearly equal length, in order."""
    count = stop - start
    pieces = max(min(pieces, count), 1)
    return [(start + piece * count // pieces, start + (piece + 1) * count // pieces) for piece in range(pieces)]


class Workers:
    """`threads` threads for as long as the `with` block lasts."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, work: Callable[[int, int], Result], bands: list[Band]) -> list[Result]:
        """`work(start, stop)` of every band, in the order of the bands."""
        if self._pool is None or len(bands) == 1:
            return [work(start, stop) for start, stop in bands]
        return [future.result() for future in [self._pool.submit(work, start, stop) for start, stop in bands]]
