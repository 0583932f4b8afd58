"""Flags of a run, `contended: ...`, `invalid: ...` or `warn: ...`, each with its reason."""

from collections.abc import Sequence

from bench.measure.device import MIB, Device
from bench.measure.load import Load, flag_load
from bench.measure.sampling import Summary
from bench.measure.stages import ENERGY_SECONDS, Stage, total
from bench.measure.trace import Trace

MAX_GAP_SECONDS = 0.5
_THROTTLE = {
    0x08: "hardware slowdown",
    0x20: "software thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
}


def flag_run(
    stages: Sequence[Stage], trace: Trace, device: Device, summary: Summary | None, load: Load | None
) -> list[str]:
    """Return all flags of a run.

    Args:
        stages: Its stages.
        trace: Its samples.
        device: The device it used.
        summary: The sampler's report; None when the sampler died.
        load: What others took of the processor; None where it was not measured.
    """
    flags = list(device.flags)
    if summary is None:
        flags.append("invalid: the sampler died before the end")
    if device.gpu.struct_mismatch:
        flags.append("invalid: the driver's process list has another layout than pynvml's (struct mismatch)")
    flags += [flag for stage in stages for flag in flag_gaps(stage, trace, device)]
    flags += flag_foreign(trace, device)
    flags += flag_load(load) if load is not None else []
    return flags + flag_throttling(trace) + flag_retries(stages) + flag_energy(stages, trace)


def flag_gaps(stage: Stage, trace: Trace, device: Device) -> list[str]:
    """Flag a long time without a sample in a stage whose peak rests on samples alone.

    Args:
        stage: The stage.
        trace: All samples of the run.
        device: The GPU, or none.

    Returns:
        At most one flag, in words.
    """
    proven = stage.grew_only and device.own_pid is not None if device.gpu.present else stage.hwm_reset
    gaps = [gap for span in stage.spans for gap in trace.gaps(span)]
    if proven or not gaps or max(gaps) <= MAX_GAP_SECONDS:
        return []
    return [f"invalid: {max(gaps):.2f} s without a sample in {stage.name} ({stage.split}), and no proof of its peak"]


def flag_foreign(trace: Trace, device: Device) -> list[str]:
    """Flag another compute process on the device, and memory that is neither the baseline's nor the run's."""
    if not device.gpu.present:
        return []
    flags = []
    if trace.peak("gpu_foreign_count"):
        held = (trace.peak("gpu_foreign_bytes") or 0) // MIB
        flags.append(f"contended: another compute process on the GPU, holding up to {held} MiB")
    stray = stray_bytes(trace, device)
    if stray is not None and stray > max(16 * MIB, 0.01 * (trace.peak("gpu_process_bytes") or 0)):
        flags.append(f"contended: {stray // MIB} MiB of the GPU's memory changed hands beside this run")
    return flags


def stray_bytes(trace: Trace, device: Device) -> int | None:
    """Return the largest difference in a sample between the device's rise over its baseline and the run's memory.

    The driver takes milliseconds to list processes, in which the run may take or give back memory: the device, read
    before, is read again in the next sample, and what lies between the two readings is no difference.
    """
    if not device.sees_device or device.baseline_bytes is None:
        return None
    strays = []
    for sample, following in zip(trace.samples, [*trace.samples[1:], *trace.samples[-1:]], strict=True):
        used, own = sample.get("gpu_used_bytes"), sample.get("gpu_process_bytes")
        if used is None or own is None:
            continue
        after = following.get("gpu_used_bytes")
        readings = [int(reading) - device.baseline_bytes for reading in (used, after) if reading is not None]
        strays.append(max(min(readings) - int(own), int(own) - max(readings), 0))
    return max(strays) if strays else None


def flag_throttling(trace: Trace) -> list[str]:
    """Flag a GPU that was throttled, with the driver's reasons."""
    seen = 0
    for value in trace.values("throttle_reasons"):
        seen |= int(value)
    names = [name for bit, name in _THROTTLE.items() if seen & bit]
    return [f"warn: the GPU was throttled ({', '.join(names)})"] if names else []


def flag_retries(stages: Sequence[Stage]) -> list[str]:
    """Flag an allocator that had to give memory back before an allocation succeeded."""
    retries = total(entry.allocator.alloc_retries for stage in stages for entry in stage.entries)
    return [f"warn: the allocator gave memory back and tried again {retries} times"] if retries else []


def flag_energy(stages: Sequence[Stage], trace: Trace) -> list[str]:
    """Flag stages in which the energy counter and the integrated power differ by more than 10 %."""
    flags = []
    for stage in stages:
        counted = sum(entry.energy_joules or 0.0 for entry in stage.entries)
        power = trace.integrate("power_watts", stage.spans)
        if stage.seconds > ENERGY_SECONDS and counted and power and abs(counted - power) > 0.1 * max(counted, power):
            flags.append(f"warn: {stage.name} took {counted:.0f} J by the counter, {power:.0f} J by the power readings")
    return flags
