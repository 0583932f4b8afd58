"""The search for the least memory: on a pretended card of known need, and on real limits of a real process."""

import sys

import pytest
from support import work

from bench.measure.caps import HARD, HOST
from bench.measure.device import MIB
from bench.measure.outcome import Outcome
from bench.measure.smallest_card import Smallest, bisect_limit, find_smallest

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's writable memory")


def needs(least: int) -> "Needs":
    return Needs(least)


class Needs:
    """Works from `least` bytes on."""

    def __init__(self, least: int, seconds: float = 1.0) -> None:
        self.least, self.seconds, self.shortest = least, seconds, list[int]()

    def __call__(self, limit: int) -> Outcome:
        self.shortest.append(limit)
        if limit >= self.least:
            return Outcome("ok", "", None, self.seconds, 0.0)
        return Outcome("out_of_memory", "GPU memory ran out", None, 0.1, 0.0)


@pytest.mark.parametrize("least", [1, 100 * MIB, 1000 * MIB, 1024 * MIB, 8 * 1024 * MIB])
@pytest.mark.parametrize("resolution", [32 * MIB, 128 * MIB])
def test_the_search_ends_just_above_the_need(least: int, resolution: int) -> None:
    trial = needs(least)
    found = bisect_limit(trial, 0, 8 * 1024 * MIB, resolution, kind=HARD)
    assert found.least_bytes is not None
    assert least <= found.least_bytes <= least + resolution
    assert len(trial.shortest) == len(found.trials) <= 10
    assert all(one.passed == (one.limit_bytes >= least) for one in found.trials)


def test_a_card_that_is_too_small_gives_no_number() -> None:
    found = bisect_limit(needs(10 * MIB), 0, 9 * MIB, MIB)
    assert found.least_bytes is None
    assert "does not work with 9 MiB either: GPU memory ran out" in found.reason


def test_a_trial_that_crawls_has_not_passed() -> None:
    found = bisect_limit(Needs(0, seconds=1.3), 0, MIB, MIB, seconds_allowed=1.25)
    assert found.least_bytes is None
    assert "took 1.3 s, more than the 1.2 s allowed" in found.trials[0].reason
    assert bisect_limit(Needs(0, seconds=1.2), 0, MIB, MIB, seconds_allowed=1.25).least_bytes == MIB


@pytest.mark.parametrize(("low", "high", "resolution"), [(0, 0, 1), (5, 4, 1), (-1, 4, 1), (0, 4, 0)])
def test_a_range_that_is_none_is_refused(low: int, high: int, resolution: int) -> None:
    with pytest.raises(ValueError, match="need 0 <= low < high"):
        bisect_limit(needs(1), low, high, resolution)


@linux
def test_the_need_of_a_real_process_follows_what_it_allocates() -> None:
    small, large = _search(50 * MIB), _search(250 * MIB)
    assert small.kind == large.kind == HOST
    assert small.least_bytes is not None
    assert large.least_bytes is not None
    assert abs(large.least_bytes - small.least_bytes - 200 * MIB) <= 32 * MIB
    assert {trial.status for trial in large.trials} == {"ok", "host_oom"}


def _search(size: int) -> Smallest:
    return find_smallest(work.allocate, size, "cpu", resolution=32 * MIB, high=512 * MIB, timeout=30)


def test_what_does_not_work_without_a_limit_is_not_searched() -> None:
    found = find_smallest(work.fail, "broken", "cpu", timeout=30)
    assert found.least_bytes is None
    assert found.trials == ()
    assert "does not work without a limit: failed: ValueError: broken" in found.reason
