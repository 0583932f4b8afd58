"""The samples of a run: read, cut to stages, and written again with the stage of each; bytes, seconds, nanoseconds."""

import csv
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from bench.measure.sampler import COLUMNS, Sample

MAX_ROWS = 20_000  # of the trace that is kept; above, each bucket of time keeps its highest values
Span = tuple[int, int]  # start and end in nanoseconds of the monotonic clock


@dataclass(frozen=True)
class Mark:
    """A stage, or a phase within one, with its start and end."""

    stage: str
    split: str
    span: Span


class Trace:
    """Samples in the order of time."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._times = [time_ns(sample) for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def within(self, spans: Iterable[Span]) -> "Trace":
        """Return the samples within any of the spans, edges included."""
        parts = (self.samples[bisect_left(self._times, a) : bisect_right(self._times, b)] for a, b in sorted(spans))
        return Trace([sample for part in parts for sample in part])

    def values(self, column: str) -> list[float | int]:
        """Return the values of a column, without the samples that do not have it."""
        return [value for sample in self.samples if (value := sample.get(column)) is not None]

    def peak(self, column: str) -> int | None:
        """Return the highest value of a column; None where it was never read."""
        values = self.values(column)
        return int(max(values)) if values else None

    def gaps(self, span: Span) -> list[float]:
        """Return the seconds without a sample: from the span's start to the first, between samples, to its end."""
        inside = self._times[bisect_left(self._times, span[0]) : bisect_right(self._times, span[1])]
        edges = [span[0], *inside, span[1]]
        return [(later - earlier) / 1e9 for earlier, later in pairwise(edges)]

    def period(self, spans: Iterable[Span]) -> float | None:
        """Return the median seconds between two samples of the same span; None where no span holds two."""
        times = [self._times[bisect_left(self._times, a) : bisect_right(self._times, b)] for a, b in spans]
        steps = [later - earlier for inside in times for earlier, later in pairwise(inside)]
        return median(steps) / 1e9 if steps else None

    def integrate(self, column: str, spans: Iterable[Span]) -> float | None:
        """Integrate a column over time by trapezoids, for instance watts to joules; values are constant at the edges.

        Returns None if some span has no value.
        """
        total = 0.0
        for span in spans:
            points = [(time_ns(s), value) for s in self.within([span]).samples if (value := s.get(column)) is not None]
            if not points:
                return None
            points = [(span[0], points[0][1]), *points, (span[1], points[-1][1])]
            for (t0, v0), (t1, v1) in pairwise(points):
                total += (t1 - t0) / 1e9 * (v0 + v1) / 2
        return total


def time_ns(sample: Sample) -> int:
    """Return the time of a sample in nanoseconds of the monotonic clock."""
    return int(sample["t_ns"] or 0)


def read_trace(path: Path) -> Trace:
    """Read the sampler's file; an incomplete last line is left out, and a missing file is an empty trace."""
    if not path.exists():
        return Trace([])
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS)]
    return Trace([_sample(row) for row in rows[1:]])


def _sample(row: list[str]) -> Sample:
    cells = zip(COLUMNS, row, strict=True)
    return {column: float(cell) if "." in cell else int(cell) for column, cell in cells if cell}


def write_trace(path: Path, trace: Trace, marks: Sequence[Mark], start_ns: int) -> None:
    """Replace the sampler's file by one with the stage of each sample, at most `MAX_ROWS` lines long.

    Args:
        path: The file.
        trace: The samples.
        marks: Stages and phases. The last mark that contains a sample names it, so a stage stands before its phases.
        start_ns: Time of the monotonic clock from which the column `seconds` counts.
    """
    columns = [column for column in COLUMNS[1:] if trace.values(column)]
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seconds", "stage", "split", *columns])
        for sample in thin(trace, MAX_ROWS).samples:
            mark = _mark_of(time_ns(sample), marks)
            label = (mark.stage, mark.split) if mark else ("", "")
            seconds = f"{(time_ns(sample) - start_ns) / 1e9:.3f}"
            writer.writerow([seconds, *label, *(sample.get(column, "") for column in columns)])
    partial.replace(path)


def _mark_of(moment: int, marks: Sequence[Mark]) -> Mark | None:
    return next((mark for mark in reversed(marks) if mark.span[0] <= moment <= mark.span[1]), None)


def thin(trace: Trace, rows: int) -> Trace:
    """Merge consecutive samples into their highest values per column, to at most `rows`, so that no peak is lost."""
    size = -(-len(trace) // rows)
    if size <= 1:
        return trace
    buckets = (trace.samples[i : i + size] for i in range(0, len(trace), size))
    return Trace([_highest(bucket) for bucket in buckets])


def _highest(bucket: Sequence[Sample]) -> Sample:
    merged: Sample = {}
    for sample in bucket:
        for column, value in sample.items():
            if value is not None:
                merged[column] = max(value, merged.get(column) or value)
    return {**merged, "t_ns": bucket[0]["t_ns"]}
