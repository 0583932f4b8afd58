"""Flags that need no device: gaps without proof, counters that disagree."""

from dataclasses import replace

import pytest

from bench.measure.allocator import AllocatorReading
from bench.measure.device import Device, open_cpu
from bench.measure.flags import flag_energy, flag_gaps, flag_run, stray_bytes
from bench.measure.gpu import NoGpu
from bench.measure.memory import Peak
from bench.measure.sampler import Sample
from bench.measure.sampling import Summary
from bench.measure.stages import Stage, StageEntry
from bench.measure.trace import Trace

SECOND = 10**9
SUMMARY = Summary(10, 0.02, 0.03, 0.004)


class WithGpu(NoGpu):
    """A device that is there and answers nothing."""

    present = True


def on_gpu(own_pid: int | None) -> Device:
    return Device(WithGpu(""), open_cpu().allocator, own_pid)


def stage(source: str = "vmhwm", frees: int = 0) -> Stage:
    reading = AllocatorReading(1, 1, 1, 0, frees)
    return Stage("train", "train", [StageEntry((0, 2 * SECOND), Peak(1, source), allocator=reading)])


@pytest.mark.parametrize(
    ("device", "measured", "flagged"),
    [
        (open_cpu(), stage(), False),
        (open_cpu(), stage("vmhwm_lifetime"), True),
        (on_gpu(7), stage(), False),
        (on_gpu(7), stage(frees=1), True),
        (on_gpu(None), stage(), True),
    ],
)
def test_a_long_gap_is_invalid_unless_the_peak_is_proven(device: Device, measured: Stage, flagged: bool) -> None:
    gappy = Trace([{"t_ns": SECOND}])
    flags = flag_gaps(measured, gappy, device)
    assert bool(flags) == flagged
    assert all(flag.startswith("invalid: 1.00 s without a sample in train (train)") for flag in flags)
    dense = Trace([{"t_ns": moment * SECOND // 10} for moment in range(21)])
    assert flag_gaps(measured, dense, device) == []


@pytest.mark.parametrize(
    ("device_rises", "listed", "stray"),
    [
        ((400, 464), 464, 0),  # the run took memory before its process was listed
        ((464, 400), 400, 0),  # or gave some back
        ((400, 400), 400, 0),
        ((450, 450), 400, 50),  # memory of nobody known
        ((450, 500), 400, 50),
        ((400, 420), 500, 80),
    ],
)
def test_what_the_run_takes_while_processes_are_listed_is_no_stray(
    device_rises: tuple[int, int], listed: int, stray: int
) -> None:
    device = replace(on_gpu(7), baseline_bytes=100)
    samples: list[Sample] = [{"t_ns": number, "gpu_used_bytes": 100 + rise} for number, rise in enumerate(device_rises)]
    samples[0]["gpu_process_bytes"] = listed
    assert stray_bytes(Trace(samples), device) == stray
    assert stray_bytes(Trace([samples[0]]), device) == abs(device_rises[0] - listed), "there is no second reading"


@pytest.mark.parametrize(("counted", "flagged"), [(1200.0, False), (1100.0, False), (1000.0, True), (None, False)])
def test_counter_and_power_must_agree_to_a_tenth(counted: float | None, flagged: bool) -> None:
    measured = Stage("train", "train", [StageEntry((0, 12 * SECOND), energy_joules=counted)])
    samples = Trace([{"t_ns": second * SECOND, "power_watts": 100} for second in range(13)])
    assert bool(flag_energy([measured], samples)) == flagged
    short = Stage("train", "train", [StageEntry((0, 9 * SECOND), energy_joules=1.0)])
    assert flag_energy([short], samples) == []


def test_a_quiet_run_has_no_flags_and_a_dead_sampler_one() -> None:
    assert flag_run([stage()], Trace([]), open_cpu(), SUMMARY, None) == []
    assert flag_run([stage()], Trace([]), open_cpu(), None, None) == ["invalid: the sampler died before the end"]
