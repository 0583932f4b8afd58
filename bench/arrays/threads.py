"""Work in bands on plain threads: the kernels hold no lock, and no runtime objects to forked or spawned processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import TypeVar

Result = TypeVar("Result")
Band = tuple[int, int]  # first row, and the row after the last one
WORTH_THREADS = 1 << 16  # values of an array below which threads cost more time than they save
WORTH_PIECE = 1 << 12  # rows of a table, such as one of segments, that are worth waking a thread
_LIMIT: ContextVar[int | None] = ContextVar("threads", default=None)


def count_threads() -> int:
    """Return how many threads the caller may use.

    That is the limit that `limit_threads` has set, else numba's setting: `NUMBA_NUM_THREADS`, or the number of cores.
    """
    limit = _LIMIT.get()
    if limit is not None:
        return limit
    from numba import config  # 50 MiB, which who only reads rows does not need

    return int(config.NUMBA_NUM_THREADS)


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let work within the `with` block use at most `threads` threads; work of other threads has limits of its own."""
    token = _LIMIT.set(min(threads, count_threads()))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def split_range(stop: int, pieces: int, start: int = 0, least: int = 1) -> list[Band]:
    """Cut `range(start, stop)` into intervals of nearly equal length.

    Args:
        stop: End of the range.
        pieces: Number of intervals; fewer where the range is shorter.
        start: First number of the range.
        least: Numbers that an interval has at least, unless the range has fewer.

    Returns:
        The intervals in ascending order, none of them empty unless the range is.
    """
    count = stop - start
    pieces = max(min(pieces, count // least), 1)
    return [(start + piece * count // pieces, start + (piece + 1) * count // pieces) for piece in range(pieces)]


def list_singles(count: int) -> list[Band]:
    """Return one interval (index, index + 1) for each of `count` items."""
    return [(index, index + 1) for index in range(count)]


class Workers:
    """`threads` threads that live as long as the `with` block; the one that calls `run` is among them.

    A round of bands wakes every other thread once, whatever the number of bands: waking one takes as long as the work
    on some thousand pixels.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, work: Callable[[int, int], Result], bands: list[Band]) -> list[Result]:
        """Call `work(start, stop)` for every band and return the results in the order of the bands.

        A thread takes the next band when it is done with one. After an error no thread takes another one.
        """
        if self._pool is None or len(bands) == 1:
            return [work(start, stop) for start, stop in bands]
        waiting, found = iter(range(len(bands))), dict[int, Result]()

        def take_bands() -> None:
            for index in waiting:  # under the lock of the interpreter each band is taken once
                try:
                    found[index] = work(*bands[index])
                except BaseException:
                    for _ in waiting:
                        continue
                    raise

        others = [self._pool.submit(take_bands) for _ in range(min(self.threads, len(bands)) - 1)]
        take_bands()
        for other in others:
            other.result()
        return [found[index] for index in range(len(bands))]


def start_workers(shape: tuple[int, ...], least: int = WORTH_THREADS) -> Workers:
    """Start all threads the caller may use for an array of `shape`, or one if it has fewer than `least` values."""
    return Workers(count_threads() if prod(shape) >= least else 1)
