"""What spoils a run's numbers, in words: `contended: ...`, `invalid: ...`, `warn: ...`, each with its reason."""

from collections.abc import Sequence

from bench.measure.device import MIB, Device
from bench.measure.load import Load, load_flags
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


def run_flags(
    stages: Sequence[Stage], trace: Trace, device: Device, summary: Summary | None, load: Load | None
) -> list[str]:
    """All flags of a run. `summary` is None when the sampler died."""
    flags = list(device.flags)
    if summary is None:
        flags.append("invalid: the sampler died before the end")
    if device.gpu.struct_mismatch:
        flags.append("invalid: the driver's process list has another layout than pynvml's (struct mismatch)")
    flags += [flag for stage in stages for flag in gap_flags(stage, trace, device)]
    flags += foreign_flags(trace, device)
    flags += load_flags(load) if load is not None else []
    return flags + throttle_flags(trace) + retry_flags(stages) + energy_flags(stages, trace)


def gap_flags(stage: Stage, trace: Trace, device: Device) -> list[str]:
    """A long time without a sample spoils a peak that only samples vouch for."""
    proven = stage.grew_only and device.own_pid is not None if device.gpu.present else stage.hwm_reset
    gaps = [gap for span in stage.spans for gap in trace.gaps(span)]
    if proven or not gaps or max(gaps) <= MAX_GAP_SECONDS:
        return []
    return [f"invalid: {max(gaps):.2f} s without a sample in {stage.name} ({stage.split}), and no proof of its peak"]


def foreign_flags(trace: Trace, device: Device) -> list[str]:
    """Another compute process on the device, or memory of the device that is neither the baseline's nor ours."""
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
    """Largest difference, in one sample, between what the device holds more than at first and what we hold."""
    if not device.sees_device or device.baseline_bytes is None:
        return None
    strays = [
        abs(int(used) - device.baseline_bytes - int(own))
        for sample in trace.samples
        if (used := sample.get("gpu_used_bytes")) is not None and (own := sample.get("gpu_process_bytes")) is not None
    ]
    return max(strays) if strays else None


def throttle_flags(trace: Trace) -> list[str]:
    seen = 0
    for value in trace.values("throttle_reasons"):
        seen |= int(value)
    names = [name for bit, name in _THROTTLE.items() if seen & bit]
    return [f"warn: the GPU was throttled ({', '.join(names)})"] if names else []


def retry_flags(stages: Sequence[Stage]) -> list[str]:
    retries = total(entry.allocator.alloc_retries for stage in stages for entry in stage.entries)
    return [f"warn: the allocator gave memory back and tried again {retries} times"] if retries else []


def energy_flags(stages: Sequence[Stage], trace: Trace) -> list[str]:
    """Counter and integrated power should agree to 10 %."""
    flags = []
    for stage in stages:
        counted = sum(entry.energy_joules or 0.0 for entry in stage.entries)
        power = trace.integrate("power_watts", stage.spans)
        if stage.seconds > ENERGY_SECONDS and counted and power and abs(counted - power) > 0.1 * max(counted, power):
            flags.append(f"warn: {stage.name} took {counted:.0f} J by the counter, {power:.0f} J by the power readings")
    return flags
