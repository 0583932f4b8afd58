"""`python -m bench doctor`: what can be measured here, whether the meter is right, and whether others disturb.

Imports the standard library, psutil and pynvml; torch only where the driver shows a GPU.
"""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure.calibration import Check, calibrate
from bench.measure.gpu import Gpu
from bench.measure.load import Load, LoadProbe, flag_load
from bench.measure.machine import machine_facts
from bench.measure.memory import MemoryProbe
from bench.measure.nvml import open_gpus
from bench.measure.sampling import SamplerProcess, Summary
from bench.measure.trace import Trace, read_trace


@dataclass(frozen=True)
class Examination:
    """How long the doctor looks, and what it accepts.

    Attributes:
        idle_seconds: For which the load of other processes is measured.
        busy_seconds: For which samples are taken beside a loop that holds the interpreter.
        p99_gap_seconds: Largest 99th percentile of the gaps between samples that is accepted.
        cpu_share: Largest share of a core for the sampler that is accepted.
    """

    idle_seconds: float = 2.0
    busy_seconds: float = 6.0
    p99_gap_seconds: float = 0.05
    cpu_share: float = 0.02


USUAL = Examination()


@dataclass
class DoctorConfig:
    """Settings of `python -m bench doctor`."""

    device: str = "auto"  # auto | cpu | cuda | cuda:N; auto is a GPU where there is one

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda") and not self.device.removeprefix("cuda:").isdigit():
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")


@dataclass(frozen=True)
class Gaps:
    """Gaps between samples beside a loop that holds the interpreter, in seconds.

    Attributes:
        samples: Number of samples.
        median_gap: Median gap.
        p99_gap: 99th percentile of the gaps.
        longest_gap: Longest gap.
        thread_p99_gap: 99th percentile of a thread in the busy process itself, which is why the sampler is a process.
        duty: Processor time of the sampler per second; None where it is unknown.
    """

    samples: int
    median_gap: float
    p99_gap: float
    longest_gap: float
    thread_p99_gap: float
    duty: float | None


def main(settings: DoctorConfig, examination: Examination = USUAL) -> int:
    """Examine the machine and print what is found. Returns 0 if it is fit to publish from, else 1."""
    gpus, reason = open_gpus()
    device = settings.device if settings.device != "auto" else "cuda" if gpus else "cpu"
    _print("machine", (f"{name}: {value}" for name, value in machine_facts().items() if value is not None))
    _print("what can be measured here", [*describe_host(), *describe_gpus(gpus, reason)])
    load = _measure_idle_load(examination.idle_seconds)
    _print("others", [*describe_load(load), *describe_processes(gpus)])
    checks, problem = calibrate(device)
    _print("calibration", [*(str(check) for check in checks), *([problem] if problem else [])])
    beside = _measure_gaps(examination.busy_seconds)
    _print("the sampler beside a loop that holds the interpreter", describe_gaps(beside))
    reasons = [*flag_load(load), *flag_processes(gpus), *judge_machine(checks, problem, beside, examination)]
    print(
        f"not fit to publish: {'; '.join(reasons)}"
        if reasons
        else f"fit to publish: every probe of {device} measured what was held"
    )
    return 1 if reasons else 0


def find_disturbers(device: str, seconds: float = 1.0) -> list[str]:
    """Look for what would disturb measurements: the quick part of the examination, before a sweep starts.

    Args:
        device: auto, cpu, cuda or cuda:N: where the runs will be.
        seconds: For which the load of other processes is measured.

    Returns:
        A flag for each disturber.
    """
    load = _measure_idle_load(seconds)
    gpus, _ = ((), "") if device == "cpu" else open_gpus()
    return [*flag_load(load), *flag_processes(gpus)]


def _print(title: str, lines: Iterable[str]) -> None:
    print(title)
    for line in lines:
        print(f"  {line}")
    print(flush=True)


def describe_host() -> list[str]:
    """Return one line per probe of the host's memory."""
    probe = MemoryProbe()
    reset, peak, pss = probe.reset(), probe.peak(), probe.pss()
    mark = "nothing; the highest sample is used" if peak is None else peak.source
    return [
        f"peak resident memory of a stage: {mark}"
        + ("" if reset else " (cannot be reset: the highest sample is used)"),
        "resident memory of the process tree: by the sampler",
        f"proportional share at a stage's end: {'yes' if pss is not None else 'no (only Linux tells)'}",
    ]


def describe_gpus(gpus: Sequence[Gpu], reason: str) -> list[str]:
    """Return lines for each device, or why there is none and every gpu_* column stays empty."""
    if not gpus:
        return [f"GPU: none, every gpu_* column stays empty ({reason})"]
    return [line for gpu in gpus for line in _describe_gpu(gpu)]


def _describe_gpu(gpu: Gpu) -> list[str]:
    facts, processes = gpu.facts, gpu.processes()
    memory = f"total minus free ({facts.memory_api})" if facts.memory_api != "none" else "no: torch's allocator only"
    listed = (
        "no" if processes is None else "yes" if any(entry.used_bytes for entry in processes) else "only once we run"
    )
    vitals, energy = gpu.vitals(), gpu.energy_joules()
    return [
        f"GPU {facts.name}, {(facts.total_bytes or 0) / 2**30:.1f} GiB, driver {facts.driver}, CUDA {facts.cuda}",
        f"  memory of the device: {memory}{'; not under WDDM' if facts.wddm else ''}",
        f"  memory per process: {listed}",
        f"  power: {_yes(vitals.power_watts)}; energy counter: {_yes(energy)}",
        *(["  a MIG slice: no energy"] if facts.mig else []),
    ]


def _yes(reading: object) -> str:
    return "no" if reading is None else "yes"


def _measure_idle_load(seconds: float) -> Load:
    probe = LoadProbe()
    time.sleep(seconds)
    return probe.read()


def describe_load(load: Load) -> list[str]:
    """Return lines about the processor time that others took."""
    held = load.throttled_seconds
    return [
        f"processor time taken by others: {load.others_share:.1%} of all cores within {load.seconds:.1f} s",
        "held back by a cgroup: " + ("not known" if held is None else f"{held:.2f} s"),
    ]


def describe_processes(gpus: Sequence[Gpu]) -> list[str]:
    """Return a line for each process on the devices."""
    found = [(gpu.facts.name, entry) for gpu in gpus for entry in gpu.processes() or []]
    return [f"on {name}: process {entry.pid}, {_mebibytes(entry.used_bytes)}" for name, entry in found]


def _mebibytes(size: int | None) -> str:
    return "memory not known" if size is None else f"{size / 2**20:.0f} MiB"


def flag_processes(gpus: Sequence[Gpu]) -> list[str]:
    """Return a flag for each compute process that is on a device while none of this program is."""
    return [
        f"contended: process {entry.pid} computes on {gpu.facts.name}"
        for gpu in gpus
        for entry in gpu.processes() or []
        if entry.compute
    ]


def _measure_gaps(seconds: float) -> Gaps | None:
    """Sample this process beside the busy loop; None when the sampler died."""
    with TemporaryDirectory(prefix="doctor-") as folder:
        path = Path(folder) / "trace.csv"
        with SamplerProcess(path, 0.02) as sampler:
            start = time.perf_counter_ns()
            beats = hold_interpreter(seconds)
            end = time.perf_counter_ns()
        return (
            None if sampler.summary is None else summarise_gaps(read_trace(path), (start, end), sampler.summary, beats)
        )


def hold_interpreter(seconds: float) -> list[float]:
    """Hold the interpreter in long calls into C, as superpixels do, for some `seconds`.

    Returns the gaps in seconds of a thread that is due every 20 ms.
    """
    stop, beats = threading.Event(), [time.perf_counter()]

    def beat() -> None:
        while not stop.wait(0.02):
            beats.append(time.perf_counter())

    thread = threading.Thread(target=beat)
    thread.start()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sorted(range(1_500_000), key=int.bit_count)
    stop.set()
    thread.join()
    return [later - earlier for earlier, later in pairwise(beats)]


def summarise_gaps(trace: Trace, span: tuple[int, int], summary: Summary, beats: Sequence[float]) -> Gaps:
    """Summarise the gaps of a trace.

    Args:
        trace: The sampler's samples.
        span: Start and end of the busy loop in nanoseconds of the monotonic clock.
        summary: The sampler's report.
        beats: Gaps in seconds of a thread in the busy process.

    Returns:
        Quantiles of both kinds of gaps.
    """
    gaps = sorted(trace.gaps(span))
    samples = len(trace.within([span]))
    return Gaps(
        samples, quantile(gaps, 0.5), quantile(gaps, 0.99), gaps[-1], quantile(sorted(beats), 0.99), summary.duty
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least of the ordered values that more than `share` of them do not exceed, or the largest."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def describe_gaps(beside: Gaps | None) -> list[str]:
    """Return lines about the sampler beside the busy loop; None is a sampler that died."""
    if beside is None:
        return ["the sampler died"]
    return [
        f"{beside.samples} samples; gap median {beside.median_gap * 1000:.0f} ms, 99th percentile "
        f"{beside.p99_gap * 1000:.0f} ms, longest {beside.longest_gap * 1000:.0f} ms",
        f"a thread of the same process instead: 99th percentile {beside.thread_p99_gap * 1000:.0f} ms",
        f"processor share of the sampler: {beside.duty or 0:.2%} of one core, on a machine with {os.cpu_count()}",
    ]


def judge_machine(
    checks: Sequence[Check], problem: str, beside: Gaps | None, examination: Examination = USUAL
) -> list[str]:
    """Return why the machine is not fit to publish from; nothing when it is.

    Args:
        checks: Comparisons of the calibration.
        problem: Why a calibration did not run; empty if all did.
        beside: The sampler beside the busy loop; None is a sampler that died.
        examination: What is accepted.
    """
    reasons = [f"calibration failed ({check.what})" for check in checks if check.passed is False]
    reasons += [f"calibration {problem}"] if problem else []
    if checks and not any(check.passed for check in checks):
        reasons.append("no probe sees memory here")
    if beside is None:
        return [*reasons, "the sampler died"]
    gap, most = beside.p99_gap, examination.p99_gap_seconds
    if gap > most:
        reasons.append(f"the sampler's 99th percentile gap is {gap * 1000:.0f} ms, more than {most * 1000:.0f} ms")
    share = examination.cpu_share
    if beside.duty is not None and beside.duty > share:
        reasons.append(f"the sampler takes {beside.duty:.1%} of a core, more than {100 * share:.0f} %")
    return reasons
