"""Processor time that other processes took during a measurement, in seconds and shares."""

import os
import time
from dataclasses import dataclass
from typing import Any

import psutil

from bench.measure.machine import cpu_quota, read_cgroup, usable_cores


@dataclass(frozen=True)
class Load:
    """The processor since the start of the probe.

    Attributes:
        seconds: Wall time.
        others_share: Share of the time of the cores on which this process may run that other processes, and a
            hypervisor, took, in [0, 1].
        throttled_seconds: Time in which the cgroup's quota held this process back; None without such a count.
    """

    seconds: float
    others_share: float
    throttled_seconds: float | None


class LoadProbe:
    """Compares the busy time of the usable cores with that of this process and all that it started."""

    def __init__(self) -> None:
        self._wall, self._busy, self._own = time.perf_counter(), busy_seconds(), own_seconds()
        self._throttled, self._cores = throttled_seconds(), len(read_cores())

    def read(self) -> Load:
        """Return the load since the probe was made."""
        wall = time.perf_counter() - self._wall
        others = (busy_seconds() - self._busy) - (own_seconds() - self._own)
        throttled = throttled_seconds()
        held_back = None if throttled is None or self._throttled is None else throttled - self._throttled
        return Load(wall, min(1.0, max(0.0, others / (wall * self._cores))) if wall else 0.0, held_back)


def busy_seconds() -> float:
    """Return the time since boot that the usable cores were not idle, stolen time included."""
    return float(sum(sum(t) - t.idle - getattr(t, "iowait", 0.0) - getattr(t, "guest", 0.0) for t in read_cores()))


def read_cores() -> list[Any]:
    """Return the times of each core on which this process may run; of all cores where these are not numbered alike."""
    times = psutil.cpu_times(percpu=True)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(times))
    return [times[core] for core in usable if core < len(times)] or times


def own_seconds() -> float:
    """Return the processor time of this process, of its children that have ended, and of its live descendants."""
    spent = os.times()
    living = sum(_seconds(child) for child in psutil.Process().children(recursive=True))
    return spent.user + spent.system + spent.children_user + spent.children_system + living


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
    return float(times.user + times.system)


def throttled_seconds() -> float | None:
    """Return the time for which its quota has kept this cgroup from running; None without such a count."""
    text = read_cgroup("cpu.stat", "cpu/cpu.stat")
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name in ("throttled_usec", "throttled_time"):
            return int(value) / (1e6 if name == "throttled_usec" else 1e9)
    return None


def flag_load(load: Load) -> list[str]:
    """A flag where others took more than a tenth of the cores, or the cgroup held us back for over 1 % of the time."""
    flags = []
    if load.others_share > 0.1:
        flags.append(f"contended: other processes took {load.others_share:.0%} of the processor time")
    if load.throttled_seconds is not None and load.throttled_seconds > 0.01 * load.seconds:
        quota = cpu_quota()
        limit = "" if quota is None else f" of {quota:g} of {usable_cores()} cores"
        flags.append(f"contended: the cgroup's limit{limit} held the run back for {load.throttled_seconds:.1f} s")
    return flags
