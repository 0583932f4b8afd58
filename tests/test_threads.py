"""Threads that share the bands of an array: every band once, in order, and an error ends the work."""

from __future__ import annotations

import threading

import pytest

from bench.arrays.threads import WORTH_THREADS, Workers, list_singles, start_workers


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_every_band_is_worked_on_once_and_results_come_in_their_order(threads: int, count: int) -> None:
    seen: list[int] = []

    def work(start: int, stop: int) -> tuple[int, int]:
        seen.append(start)
        return start, stop

    with Workers(threads) as workers:
        for _ in range(3):  # rounds of one pool
            assert workers.run(work, list_singles(count)) == list_singles(count)
    assert sorted(seen) == sorted(3 * list(range(count)))


@pytest.mark.parametrize("threads", [2, 3])
def test_the_calling_thread_is_among_so_many_that_work_at_once(threads: int) -> None:
    together = threading.Barrier(threads, timeout=30)

    def work(_: int, __: int) -> str:
        together.wait()  # passes once all of them are here
        return threading.current_thread().name

    with Workers(threads) as workers:
        names = workers.run(work, list_singles(threads))
    assert len(set(names)) == threads
    assert threading.current_thread().name in names


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_is_raised_and_no_further_band_is_taken(threads: int) -> None:
    begun: list[int] = []
    failed = threading.Event()

    def work(start: int, _: int) -> None:
        begun.append(start)
        if start == 0:
            failed.set()
            raise RuntimeError("band 0")
        assert failed.wait(30)

    with Workers(threads) as workers, pytest.raises(RuntimeError, match="band 0"):
        workers.run(work, list_singles(10_000))
    assert len(begun) < 5_000


def test_small_arrays_are_left_to_the_calling_thread() -> None:
    with start_workers((WORTH_THREADS - 1,)) as workers:
        assert workers.threads == 1
