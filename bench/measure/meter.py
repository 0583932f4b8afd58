"""Thin first version: time and the kernel's high-water mark per stage."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.measure.memory import MemoryProbe


class Meter:
    """Measures stages of the running process."""

    def __init__(self, run_directory: Path, device: str, period: float = 0.02) -> None:
        self.run_directory, self.device, self.period = run_directory, device, period
        self._memory = MemoryProbe()
        self._rows: list[dict[str, Any]] = []
        self._intervals: list[tuple[str, int, int]] = []

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @contextmanager
    def stage(self, stage: str, split: str) -> Iterator[None]:
        gc.collect()
        self._memory.reset()
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            end = time.perf_counter_ns()
            peak = self._memory.peak()
            self._rows.append(
                {
                    "stage": stage,
                    "split": split,
                    "seconds": (end - start) / 1e9,
                    "peak_rss_bytes": peak.rss_bytes if peak else None,
                    "pss_end_bytes": self._memory.pss(),
                }
            )

    def add_interval(self, phase: str, start_ns: int, end_ns: int) -> None:
        self._intervals.append((phase, start_ns, end_ns))

    def rows(self) -> list[dict[str, Any]]:
        rows = [dict(row) for row in self._rows]
        for phase, start, end in self._intervals:
            seconds = (end - start) / 1e9
            next(row for row in rows if row["stage"] == "train")["seconds"] -= seconds
            rows.append({"stage": phase, "split": "val" if phase == "validate" else "train", "seconds": seconds})
        return rows

    def flags(self) -> list[str]:
        return []

    def headline(self, stages: tuple[str, ...] = ()) -> tuple[int | None, str | None]:
        peaks = [row["peak_rss_bytes"] for row in self._rows if not stages or row["stage"] in stages]
        return (max(peaks), "cpu_rss") if peaks else (None, None)
