"""The meter: it wraps the stages of a run from outside, and no pipeline imports it.

Units are bytes, seconds and joules. What was not measured is None, never 0.
"""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.measure.device import IdleState, open_device, split_process_bytes
from bench.measure.flags import flag_run
from bench.measure.gpu import GpuLostError
from bench.measure.libraries import list_libraries
from bench.measure.load import Load, LoadProbe
from bench.measure.memory import MemoryProbe, Peak
from bench.measure.sampling import SamplerProcess, Summary
from bench.measure.stages import Stage, StageEntry, highest, phase_row, stage_row
from bench.measure.trace import Mark, Span, Trace, read_trace, write_trace

TRACE_FILE = "memory_trace.csv"


class Meter:
    """Measures the process that it runs in, and all below it, as a context manager around the whole run.

    `rows`, `flags` and `headline` are complete once it is left.

    Args:
        run_directory: Folder of the run, for the trace.
        device: cpu, cuda or cuda:N.
        period: Seconds between samples, which the sampler widens when that costs more than 0.5 % of a core.
        workers: Whether processes below this one do some of its work: memory on the CPU is then that of the tree.
        idle: State of the devices before this process used one; None where it has not yet.
    """

    def __init__(
        self,
        run_directory: Path,
        device: str,
        period: float = 0.02,
        workers: bool = False,
        idle: Mapping[str | None, IdleState] | None = None,
    ) -> None:
        self._trace_path, self._device_name, self._period = run_directory / TRACE_FILE, device, period
        self._workers, self._idle = workers, idle
        self._stages: dict[tuple[str, str], Stage] = {}
        self._phases: dict[tuple[str, str], list[Span]] = {}
        self._inside: dict[tuple[str, str], list[Span]] = {}
        self._exit = ExitStack()
        self._pss_due = 0.0
        self._trace = Trace([])
        self._summary: Summary | None = None
        self._problems: list[str] = []
        self._libraries: list[str] = []
        self.load: Load | None = None  # of the machine by other processes, once the meter is left

    def __enter__(self) -> "Meter":
        self._memory = MemoryProbe()
        self._device = open_device(self._device_name, self._idle)
        self._rss_floor = self._memory.rss()
        gpu = self._device.gpu.facts.uuid if self._device.gpu.present else None
        sampler = SamplerProcess(self._trace_path, self._period, gpu=gpu, gpu_pid=self._device.own_pid)
        self._sampler = self._exit.enter_context(sampler)
        gc.collect()
        gc.freeze()  # objects that the libraries made at their start are no garbage: stages need not search them
        self._exit.callback(gc.unfreeze)
        self._load_probe, self._start_ns = LoadProbe(), time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.load = self._load_probe.read()
        self._libraries = list_libraries()
        self._exit.close()
        self._summary = self._sampler.summary
        self._trace = read_trace(self._trace_path)
        write_trace(self._trace_path, self._trace, self._marks(), self._start_ns)

    @contextmanager
    def stage(self, name: str, split: str, images: int | None = None, pixels: int | None = None) -> Iterator[None]:
        """Measure a block.

        Args:
            name: The stage: prepare, train or predict.
            split: train, val or test. A second block of the same stage and split adds to the first, its caches warm.
            images: Number of images that it works on.
            pixels: Number of pixels that it works on.
        """
        stage = self._stages.setdefault((name, split), Stage(name, split))
        stage.images = _add(stage.images, images)
        stage.pixels = _add(stage.pixels, pixels)
        energy, rss = self._begin(fresh=not stage.entries)
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            stage.entries.append(self._end(start, energy, rss, name))

    def add_interval(self, phase: str, start_ns: int, end_ns: int) -> None:
        """Add a phase of a fit within a stage that is already left, before the meter is left.

        Its seconds become a row of their own and leave the stage's row, so that rows add up.

        Args:
            phase: init, warmup, validate, fork or inspect.
            start_ns: Its start by `perf_counter_ns`.
            end_ns: Its end by `perf_counter_ns`.
        """
        home = self._stage_around(start_ns, end_ns)
        if home is None or self._overlaps(start_ns, end_ns):
            self._problems.append(f"invalid: the phase {phase} lies outside every stage or across another phase")
            return
        split = "val" if phase == "validate" else home[1]
        self._phases.setdefault((phase, split), []).append((start_ns, end_ns))
        self._inside.setdefault(home, []).append((start_ns, end_ns))

    def add_data_wait(self, name: str, split: str, seconds: float) -> None:
        """Add time within a stage that was spent waiting for data; it stays part of the stage's seconds.

        Args:
            name: Name of the stage.
            split: Split of the stage.
            seconds: Time to add.
        """
        stage = self._stages[(name, split)]
        stage.data_wait_seconds = (stage.data_wait_seconds or 0.0) + seconds

    def add_cached(self, name: str, split: str, images: int, seconds: float, peak_rss_bytes: int | None) -> None:
        """Add the cost of what a stage took from a cache, to its `seconds` and `peak_rss_bytes`, not to `wall_seconds`.

        Args:
            name: The stage.
            split: Its split.
            images: Number of images that came from the cache.
            seconds: How much longer the work took when it was done; negative where this run also filled the cache.
            peak_rss_bytes: Memory of the work when it was done; None where it is unknown.
        """
        stage = self._stages[(name, split)]
        stage.cached_images, stage.cached_seconds = stage.cached_images + images, stage.cached_seconds + seconds
        stage.cached_peak_bytes = highest([stage.cached_peak_bytes, peak_rss_bytes])

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per stage and split, then one per phase; `results/README.md` explains the columns."""
        rows = [
            stage_row(stage, self._trace, self._device, self._summary, self._inside.get(key, []), self._workers)
            for key, stage in self._stages.items()
        ]
        for (phase, split), spans in self._phases.items():
            rows.append(phase_row(phase, split, spans, self._trace, self._device, self._summary))
        return rows

    def flags(self) -> list[str]:
        """Return the flags of the run, `contended: ...`, `invalid: ...` or `warn: ...`, each with its reason."""
        stages = list(self._stages.values())
        return [*self._problems, *flag_run(stages, self._trace, self._device, self._summary, self.load)]

    def headline(
        self, stages: Sequence[str], splits: Sequence[str] = ("train", "val")
    ) -> tuple[int | None, str | None]:
        """Return the highest `peak_memory_bytes` of some stages and splits, and its kind.

        Both are None where the stages differ in their kinds, or nothing was measured.
        """
        return find_headline([row for row in self.rows() if row["stage"] in stages and row["split"] in splits])

    def facts(self) -> dict[str, Any]:
        """Return the columns of `runs` about the measurement: floor, libraries, load by others, cost of the sampler."""
        load, summary = self.load, self._summary
        return {
            "rss_floor_bytes": self._rss_floor,
            "libraries": " ".join(self._libraries),
            "others_share": None if load is None else load.others_share,
            "throttled_seconds": None if load is None else load.throttled_seconds,
            "sampler_samples": None if summary is None else summary.samples,
            "sampler_period_s": None if summary is None else summary.period_s,
            "sampler_max_gap_s": None if summary is None else summary.max_gap_s,
            "sampler_duty": None if summary is None else summary.duty,
            "gpu_memory_api": self._device.gpu.facts.memory_api if self._device.gpu.present else None,
            "gpu_process_found": self._device.own_pid is not None if self._device.gpu.present else None,
        }

    @property
    def summary(self) -> Summary | None:
        """The sampler's report, once the meter is left; None if the sampler died."""
        return self._summary

    def _begin(self, fresh: bool) -> tuple[float | None, int]:
        """Read the energy counter and the resident size; a fresh stage starts without garbage and caches."""
        if fresh:
            self._pss_due = 0.0
            gc.collect()
            self._device.allocator.clear()
        self._device.allocator.start()
        self._memory.reset()
        return self._energy(), self._memory.rss()

    def _end(self, start: int, energy: float | None, rss: int, name: str) -> StageEntry:
        try:
            self._device.allocator.synchronize()
        except RuntimeError as error:  # an error of the block itself that shows late; it must not hide the block's own
            self._problems.append(f"invalid: the device failed at the end of {name}: {str(error).splitlines()[0]}")
        span = (start, time.perf_counter_ns())
        peak = self._memory.peak()  # before reading anything else, which would raise it
        try:
            return self._read(span, peak, energy, rss)
        except (GpuLostError, RuntimeError) as error:
            self._problems.append(f"invalid: reading the device at the end of {name} failed: {error}")
            return StageEntry(span, peak, rss)

    def _read(self, span: Span, peak: Peak | None, energy: float | None, rss: int) -> StageEntry:
        gpu, pid, after = self._device.gpu, self._device.own_pid, self._energy()
        own, foreign = split_process_bytes(gpu, pid)
        return StageEntry(
            span=span,
            peak=peak,
            rss_start_bytes=rss,
            pss_bytes=self._pss(),
            allocator=self._device.allocator.read(),
            gpu_process_bytes=own,
            gpu_foreign_bytes=foreign,
            gpu_used_bytes=gpu.used_bytes(),
            accounting_bytes=gpu.accounting_peak_bytes(pid) if pid is not None else None,
            energy_joules=after - energy if after is not None and energy is not None else None,
        )

    def _pss(self) -> int | None:
        """Read the proportional set size, once a second at most: the kernel takes milliseconds to walk all pages."""
        if time.perf_counter() < self._pss_due:
            return None
        self._pss_due = time.perf_counter() + 1.0
        return self._memory.pss()

    def _energy(self) -> float | None:
        try:
            return self._device.gpu.energy_joules()
        except GpuLostError as error:
            self._problems.append(f"invalid: {error}")
            return None

    def _stage_around(self, start: int, end: int) -> tuple[str, str] | None:
        for key, stage in self._stages.items():
            if any(a <= start <= end <= b for a, b in stage.spans):
                return key
        return None

    def _overlaps(self, start: int, end: int) -> bool:
        return any(start < b and a < end for spans in self._inside.values() for a, b in spans)

    def _marks(self) -> list[Mark]:
        stages = [Mark(stage.name, stage.split, span) for stage in self._stages.values() for span in stage.spans]
        phases = [Mark(name, split, span) for (name, split), spans in self._phases.items() for span in spans]
        return stages + phases


def find_headline(rows: Sequence[Mapping[str, Any]]) -> tuple[int | None, str | None]:
    """Return the highest `peak_memory_bytes` of rows of `stages`, and its kind; None twice where kinds differ."""
    kinds = {row["peak_memory_kind"] for row in rows if row["peak_memory_bytes"] is not None}
    if len(kinds) != 1:
        return None, None
    return highest(row["peak_memory_bytes"] for row in rows), kinds.pop()


def _add(so_far: int | None, more: int | None) -> int | None:
    return so_far if more is None else (so_far or 0) + more
