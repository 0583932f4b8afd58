"""From readings at the edges of stages and samples in between to rows of `stages`.

Bytes, seconds, joules; None is what was not measured.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure.allocator import AllocatorReading
from bench.measure.device import Device
from bench.measure.memory import Peak
from bench.measure.sampling import Summary
from bench.measure.trace import Span, Trace

ENERGY_SECONDS = 10.0  # shorter stages have no energy: the counter's steps would be most of it


@dataclass(frozen=True)
class StageEntry:
    """One passage through a stage, read at its end before anything is given back."""

    span: Span
    peak: Peak | None = None
    rss_start_bytes: int | None = None
    pss_bytes: int | None = None
    allocator: AllocatorReading = field(default_factory=AllocatorReading)
    gpu_process_bytes: int | None = None
    gpu_foreign_bytes: int | None = None
    gpu_used_bytes: int | None = None
    accounting_bytes: int | None = None
    energy_joules: float | None = None

    @property
    def seconds(self) -> float:
        """Duration of the passage."""
        return (self.span[1] - self.span[0]) / 1e9


@dataclass
class Stage:
    """All passages through a stage of a split."""

    name: str
    split: str
    entries: list[StageEntry] = field(default_factory=list)
    images: int | None = None
    pixels: int | None = None
    data_wait_seconds: float | None = None
    cached_images: int = 0  # taken from a cache; below, what making them took beyond reading them
    cached_seconds: float = 0.0
    cached_peak_bytes: int | None = None

    @property
    def spans(self) -> list[Span]:
        """Start and end of each passage."""
        return [entry.span for entry in self.entries]

    @property
    def seconds(self) -> float:
        """Duration of all passages."""
        return sum(entry.seconds for entry in self.entries)

    def highest(self, read: Callable[[StageEntry], int | None]) -> int | None:
        """Return the highest of a reading over the passages; None where none is known."""
        return highest(read(entry) for entry in self.entries)

    @property
    def grew_only(self) -> bool:
        """Whether every passage proves that its last reading is its peak."""
        return bool(self.entries) and all(entry.allocator.grew_only for entry in self.entries)

    @property
    def hwm_reset(self) -> bool:
        """Whether the kernel's high-water mark could be reset at the start of every passage."""
        return bool(self.entries) and all(
            entry.peak is not None and entry.peak.source == "vmhwm" for entry in self.entries
        )


def highest(values: Iterable[int | None]) -> int | None:
    """Return the highest known value; None where none is known."""
    known = [value for value in values if value is not None]
    return max(known) if known else None


def total(values: Iterable[int | None]) -> int | None:
    """Return the sum of the known values; None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def stage_row(
    stage: Stage,
    trace: Trace,
    device: Device,
    summary: Summary | None,
    inside: Sequence[Span],
    workers: bool = False,
) -> dict[str, Any]:
    """Make the row of a stage.

    Args:
        stage: Its passages.
        trace: Samples of the whole run.
        device: The device of the run.
        summary: The sampler's report; None when the sampler died.
        inside: Spans of the phases within the stage: their time is left out of it, their memory is not.
        workers: Whether processes below the run's own did some of its work, so that memory is that of the tree.

    Returns:
        The columns of `stages`.
    """
    samples = trace.within(stage.spans)
    wall = stage.seconds - sum((end - start) / 1e9 for start, end in inside)
    row: dict[str, Any] = {
        "stage": stage.name,
        "split": stage.split,
        "seconds": wall + stage.cached_seconds,
        "wall_seconds": wall,
        "images_from_cache": None if stage.images is None else stage.cached_images,
        "data_wait_seconds": stage.data_wait_seconds,
        "images": stage.images,
        "pixels": stage.pixels,
    }
    row |= gpu_columns(stage, samples, device)
    row |= host_columns(stage, samples)
    row |= sampling_columns(stage.spans, trace, samples, summary)
    row |= energy_columns(stage, samples, device)
    return row | dict(zip(("peak_memory_bytes", "peak_memory_kind"), headline_of(row, device, workers), strict=True))


def phase_row(
    name: str, split: str, spans: Sequence[Span], trace: Trace, device: Device, summary: Summary | None
) -> dict[str, Any]:
    """Make the row of a phase within a stage: its time, and its memory as far as samples show it.

    Args:
        name: The phase.
        split: Its split.
        spans: Start and end of each time that it ran.
        trace: Samples of the whole run.
        device: The device of the run.
        summary: The sampler's report; None when the sampler died.

    Returns:
        The columns of `stages`.
    """
    samples = trace.within(spans)
    sampled = Stage(name, split, [StageEntry(span) for span in spans])
    row: dict[str, Any] = dict.fromkeys(stage_row(Stage(name, split), Trace([]), device, summary, []))
    row |= {"stage": name, "split": split, "seconds": sampled.seconds, "wall_seconds": sampled.seconds}
    row |= make_sampled_gpu_columns(samples, device)
    host = host_columns(sampled, samples)
    row |= {name: host[name] for name in ("peak_rss_bytes", "peak_rss_source", "peak_rss_tree_bytes")}
    return row | sampling_columns(spans, trace, samples, summary)


def host_columns(stage: Stage, samples: Trace) -> dict[str, Any]:
    """Make the columns of host memory.

    The peak is the kernel's mark where it could be reset, else the highest sample, else the mark of the process's life.
    """
    mark = stage.highest(lambda entry: entry.peak.rss_bytes if entry.peak else None)
    source = stage.entries[-1].peak.source if stage.entries and stage.entries[-1].peak else None
    sampled = samples.peak("rss_bytes")
    if not stage.hwm_reset and sampled is not None:
        mark, source = sampled, "sampled"
    mark = highest([mark, stage.cached_peak_bytes])
    tree = highest([samples.peak("rss_tree_bytes"), sampled, mark])
    return {
        "peak_rss_bytes": mark,
        "peak_rss_source": source,
        "hwm_reset": stage.hwm_reset,
        "peak_rss_tree_bytes": tree if samples.peak("rss_tree_bytes") is not None else None,
        "rss_start_bytes": stage.entries[0].rss_start_bytes if stage.entries else None,
        "pss_end_bytes": stage.highest(lambda entry: entry.pss_bytes),
    }


def gpu_columns(stage: Stage, samples: Trace, device: Device) -> dict[str, Any]:
    """Make the columns of the three kinds of GPU memory; `gross_peak` chooses that of the process.

    Args:
        stage: The stage.
        samples: The samples within it.
        device: The GPU, or none.

    Returns:
        Values by column, in bytes; None where a kind was not measured.
    """
    row = make_sampled_gpu_columns(samples, device)
    allocated = stage.highest(lambda entry: entry.allocator.allocated_peak_bytes)
    reserved = stage.highest(lambda entry: entry.allocator.reserved_peak_bytes)
    peak, source, exact = gross_peak(stage, samples, device, reserved)
    used_end = stage.highest(lambda entry: entry.gpu_used_bytes)
    if device.sees_device and used_end is not None and device.baseline_bytes is not None:
        delta = used_end - device.baseline_bytes
        row["gpu_peak_device_delta_bytes"] = highest([row["gpu_peak_device_delta_bytes"], delta])
    row["foreign_peak_bytes"] = highest(
        [row["foreign_peak_bytes"], stage.highest(lambda entry: entry.gpu_foreign_bytes)]
    )
    unattributed = None
    if peak is not None and reserved is not None and device.context_bytes is not None:
        unattributed = peak - reserved - device.context_bytes
    return row | {
        "gpu_peak_process_bytes": peak,
        "gpu_peak_source": source,
        "gpu_peak_exact": exact,
        "gpu_context_bytes": device.context_bytes,
        "gpu_allocated_peak_bytes": allocated,
        "gpu_reserved_peak_bytes": reserved,
        "gpu_unattributed_bytes": unattributed,
        "gpu_accounting_peak_bytes": stage.highest(lambda entry: entry.accounting_bytes),
        "alloc_retries": total(entry.allocator.alloc_retries for entry in stage.entries),
        "device_frees": total(entry.allocator.device_frees for entry in stage.entries),
    }


def make_sampled_gpu_columns(samples: Trace, device: Device) -> dict[str, Any]:
    """Make the columns of GPU memory that come from samples alone."""
    used, process = samples.peak("gpu_used_bytes"), samples.peak("gpu_process_bytes")
    delta = used - device.baseline_bytes if used is not None and device.baseline_bytes is not None else None
    return {
        "gpu_peak_process_bytes": process,
        "gpu_peak_source": None if process is None else "process_sampled",
        "gpu_peak_exact": None if process is None else False,
        "gpu_peak_device_delta_bytes": delta if device.sees_device else None,
        "foreign_peak_bytes": samples.peak("gpu_foreign_bytes"),
    }


def gross_peak(
    stage: Stage, samples: Trace, device: Device, reserved: int | None
) -> tuple[int | None, str | None, bool | None]:
    """Choose the highest memory of the process on the device.

    If nothing was given back within the stage, the reading at its end is the peak. Otherwise every reading is a lower
    bound, and the highest is taken: the driver's list at the end or at 1 Hz, the allocator's exact peak on top of the
    context, or, for a process that is not in the list, the difference of the whole device.

    Args:
        stage: The stage.
        samples: The samples within it.
        device: The device of the run.
        reserved: Peak of the allocator's reserve in bytes; None where it is unknown.

    Returns:
        Bytes, their source, and whether they are proven to be the peak; all None where nothing is known.
    """
    at_end = stage.highest(lambda entry: entry.gpu_process_bytes)
    if at_end is not None and stage.grew_only:
        return at_end, "process_end", True
    candidates: list[tuple[int, str]] = []
    if at_end is not None:
        candidates.append((at_end, "process_end"))
    if (sampled := samples.peak("gpu_process_bytes")) is not None:
        candidates.append((sampled, "process_sampled"))
    if device.own_pid is None and device.sees_device and device.baseline_bytes is not None:
        used = highest([samples.peak("gpu_used_bytes"), stage.highest(lambda entry: entry.gpu_used_bytes)])
        if used is not None:
            candidates.append((used - device.baseline_bytes, "device_delta"))
    if reserved is not None and device.context_bytes is not None and candidates:
        candidates.append((reserved + device.context_bytes, "allocator_plus_context"))
    return (*max(candidates), False) if candidates else (None, None, None)


def sampling_columns(spans: Sequence[Span], trace: Trace, samples: Trace, summary: Summary | None) -> dict[str, Any]:
    """Make the columns about sampling.

    Args:
        spans: Passages through the stage.
        trace: All samples of the run.
        samples: Those within the stage.
        summary: The sampler's report at its end; None where it sent none.

    Returns:
        Values by column; None without a report, as the samples may be incomplete.
    """
    if summary is None:
        return {"samples": None, "period_s": None, "max_gap_s": None, "duty": None}
    gaps = [gap for span in spans for gap in trace.gaps(span)]
    return {
        "samples": len(samples),
        "period_s": trace.period(spans),
        "max_gap_s": max(gaps) if gaps else None,
        "duty": summary.duty,
    }


def energy_columns(stage: Stage, samples: Trace, device: Device) -> dict[str, Any]:
    """Make the columns of energy for stages over 10 s: the counter's difference, else the integrated power.

    Args:
        stage: The stage.
        samples: The samples within it.
        device: The GPU, or none. A MIG slice has neither counter nor power.

    Returns:
        Joules and their source by column; None where there are none.
    """
    empty: dict[str, Any] = {"energy_j": None, "energy_source": None}
    if stage.seconds <= ENERGY_SECONDS or device.gpu.facts.mig:
        return empty
    counted = [entry.energy_joules for entry in stage.entries]
    known = [value for value in counted if value is not None]
    if known and len(known) == len(counted):
        return {"energy_j": sum(known), "energy_source": "counter"}
    power = samples.integrate("power_watts", stage.spans)
    return empty if power is None else {"energy_j": power, "energy_source": "power"}


def headline_of(row: dict[str, Any], device: Device, workers: bool) -> tuple[int | None, str | None]:
    """Choose the one number for memory of a row.

    Args:
        row: Columns of a stage.
        device: The GPU, or none.
        workers: Whether other processes took part, whose memory then counts.

    Returns:
        Bytes and their kind: the memory of the process on the GPU, else of torch's allocator, else (on a CPU run)
        resident memory, with `workers` that of the tree of processes; None twice where nothing was measured.
    """
    if row["gpu_peak_process_bytes"] is not None:
        return row["gpu_peak_process_bytes"], "gpu_process"
    if row["gpu_allocated_peak_bytes"] is not None:
        return row["gpu_allocated_peak_bytes"], "gpu_allocator"
    if workers and not device.gpu.present:
        return row["peak_rss_tree_bytes"], "cpu_rss_tree"
    if row["peak_rss_bytes"] is not None and not device.gpu.present:
        return row["peak_rss_bytes"], "cpu_rss"
    return None, None
