"""`python -m bench doctor`: what can be measured here, whether the meter sees it, and whether others disturb.

Standard library, psutil and pynvml; torch only where the driver shows a GPU.
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
from bench.measure.load import Load, LoadProbe, load_flags
from bench.measure.machine import machine_facts
from bench.measure.memory import MemoryProbe
from bench.measure.nvml import open_gpus
from bench.measure.sampling import SamplerProcess, Summary
from bench.measure.trace import Trace, read_trace

IDLE_SECONDS = 2.0
BUSY_SECONDS = 6.0
P99_GAP_SECONDS = 0.05
CPU_SHARE = 0.02


@dataclass
class DoctorConfig:
    """Settings of `python -m bench doctor`."""

    device: str = "auto"  # auto | cpu | cuda | cuda:N; auto is a GPU where there is one

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda") and not self.device.removeprefix("cuda:").isdigit():
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")


@dataclass(frozen=True)
class Beside:
    """How the sampler fared beside a loop that never lets go of the interpreter for long. Seconds."""

    samples: int
    median_gap: float
    p99_gap: float
    longest_gap: float
    thread_p99_gap: float  # of a thread in the busy process itself, which is what the sampler is a process for
    duty: float | None


def main(settings: DoctorConfig) -> int:
    """Print the examination. Returns the exit code: 0 if the machine is fit to publish from, else 1."""
    gpus, reason = open_gpus()
    device = settings.device if settings.device != "auto" else "cuda" if gpus else "cpu"
    _print("machine", (f"{name}: {value}" for name, value in machine_facts().items() if value is not None))
    _print("what can be measured here", [*host_abilities(), *gpu_abilities(gpus, reason)])
    load = _idle_load()
    _print("others", [*load_lines(load), *foreign_lines(gpus)])
    checks, problem = calibrate(device)
    _print("calibration", [*(str(check) for check in checks), *([problem] if problem else [])])
    beside = _beside_a_busy_loop()
    _print("the sampler beside a loop that holds the interpreter", beside_lines(beside))
    reasons = [*load_flags(load), *foreign_flags(gpus), *verdict(checks, problem, beside)]
    print(
        f"not fit to publish: {'; '.join(reasons)}"
        if reasons
        else f"fit to publish: everything asked of {device} was seen"
    )
    return 1 if reasons else 0


def _print(title: str, lines: Iterable[str]) -> None:
    print(title)
    for line in lines:
        print(f"  {line}")
    print(flush=True)


def host_abilities() -> list[str]:
    """One line per probe of the host's memory."""
    probe = MemoryProbe()
    reset, peak, pss = probe.reset(), probe.peak(), probe.pss()
    mark = "nothing; the highest sample is used" if peak is None else peak.source
    return [
        f"peak resident memory of a stage: {mark}"
        + ("" if reset else " (cannot be reset: the highest sample is used)"),
        "resident memory of the process tree: by the sampler",
        f"proportional share at a stage's end: {'yes' if pss is not None else 'no (only Linux tells)'}",
    ]


def gpu_abilities(gpus: Sequence[Gpu], reason: str) -> list[str]:
    """One line per device, or why there is none: every gpu_* column is empty then."""
    if not gpus:
        return [f"GPU: none, every gpu_* column stays empty ({reason})"]
    return [line for gpu in gpus for line in _abilities(gpu)]


def _abilities(gpu: Gpu) -> list[str]:
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


def _idle_load() -> Load:
    probe = LoadProbe()
    time.sleep(IDLE_SECONDS)
    return probe.read()


def load_lines(load: Load) -> list[str]:
    held = load.throttled_seconds
    return [
        f"processor time taken by others: {load.others_share:.1%} of all cores within {load.seconds:.1f} s",
        "held back by a cgroup: " + ("not told" if held is None else f"{held:.2f} s"),
    ]


def foreign_lines(gpus: Sequence[Gpu]) -> list[str]:
    """What else is on the devices."""
    found = [(gpu.facts.name, entry) for gpu in gpus for entry in gpu.processes() or []]
    return [f"on {name}: process {entry.pid}, {_mebibytes(entry.used_bytes)}" for name, entry in found]


def _mebibytes(size: int | None) -> str:
    return "memory not told" if size is None else f"{size / 2**20:.0f} MiB"


def foreign_flags(gpus: Sequence[Gpu]) -> list[str]:
    """Compute processes that are there while none of ours is."""
    return [
        f"contended: process {entry.pid} computes on {gpu.facts.name}"
        for gpu in gpus
        for entry in gpu.processes() or []
        if entry.compute
    ]


def _beside_a_busy_loop() -> Beside | None:
    """None when the sampler died."""
    with TemporaryDirectory(prefix="doctor-") as folder:
        path = Path(folder) / "trace.csv"
        with SamplerProcess(path, 0.02) as sampler:
            start = time.perf_counter_ns()
            beats = busy_loop(BUSY_SECONDS)
            end = time.perf_counter_ns()
        return None if sampler.summary is None else summarize(read_trace(path), (start, end), sampler.summary, beats)


def busy_loop(seconds: float) -> list[float]:
    """Hold the interpreter in long calls into C, as superpixels do.

    The gaps of a thread that wanted to run every 20 ms.
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


def summarize(trace: Trace, span: tuple[int, int], summary: Summary, beats: Sequence[float]) -> Beside:
    gaps = sorted(trace.gaps(span))
    samples = len(trace.within([span]))
    return Beside(
        samples, quantile(gaps, 0.5), quantile(gaps, 0.99), gaps[-1], quantile(sorted(beats), 0.99), summary.duty
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which at least `share` of the values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def beside_lines(beside: Beside | None) -> list[str]:
    if beside is None:
        return ["the sampler died"]
    return [
        f"{beside.samples} samples; gap median {beside.median_gap * 1000:.0f} ms, 99th percentile "
        f"{beside.p99_gap * 1000:.0f} ms, longest {beside.longest_gap * 1000:.0f} ms",
        f"a thread of the same process instead: 99th percentile {beside.thread_p99_gap * 1000:.0f} ms",
        f"processor share of the sampler: {beside.duty or 0:.2%} of one core, on a machine with {os.cpu_count()}",
    ]


def verdict(checks: Sequence[Check], problem: str, beside: Beside | None) -> list[str]:
    """Why the machine is not fit to publish from; empty when it is."""
    reasons = [f"calibration failed ({check.what})" for check in checks if check.passed is False]
    reasons += [f"calibration {problem}"] if problem else []
    if checks and not any(check.passed for check in checks):
        reasons.append("no probe sees memory here")
    if beside is None:
        return [*reasons, "the sampler died"]
    if beside.p99_gap > P99_GAP_SECONDS:
        reasons.append(f"the sampler's 99th percentile gap is {beside.p99_gap * 1000:.0f} ms, more than 50 ms")
    if beside.duty is not None and beside.duty > CPU_SHARE:
        reasons.append(f"the sampler takes {beside.duty:.1%} of a core, more than 2 %")
    return reasons
