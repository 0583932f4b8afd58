"""Calibration of the meter: memory of a known size is held, and every probe must measure that size."""

import mmap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure.device import MIB, Device, Hold, open_device, process_bytes, within
from bench.measure.environment import pin_environment
from bench.measure.isolation import run_isolated
from bench.measure.machine import default_threads
from bench.measure.memory import MemoryProbe
from bench.measure.sampling import SamplerProcess
from bench.measure.trace import read_trace

CPU_BYTES = 512 * MIB
GPU_SIZES = (64 * MIB, 256 * MIB, 1024 * MIB)
PULSE_SECONDS = 1.0


@dataclass(frozen=True)
class Check:
    """One comparison of a probe with memory of known size.

    Attributes:
        what: Name of the probe.
        true_bytes: Size of the memory.
        seen_bytes: Size by the probe; None where it offers nothing.
        passed: Whether they agree within the tolerance; None where the probe offers nothing.
    """

    what: str
    true_bytes: int
    seen_bytes: int | None
    passed: bool | None

    def __str__(self) -> str:
        word = {None: "not measurable", True: "ok", False: "FAILED"}[self.passed]
        seen = "nothing" if self.seen_bytes is None else f"{self.seen_bytes / MIB:.1f} MiB"
        return f"{word:>14}  {self.what}: held {self.true_bytes / MIB:.0f} MiB, saw {seen}"


def check_probe(what: str, true: int, seen: int | None, tolerance: float) -> Check:
    """Compare a probe's reading with the truth.

    Args:
        what: Name of the probe.
        true: Bytes that were held.
        seen: Bytes by the probe; None where it offers nothing.
        tolerance: Largest difference in bytes that passes.

    Returns:
        The comparison.
    """
    return Check(what, true, seen, None if seen is None else abs(seen - true) <= tolerance)


@contextmanager
def hold_host_memory(size: int) -> Iterator[None]:
    """Hold `size` bytes of host memory, every page written to, and give them back to the system."""
    with mmap.mmap(-1, size) as block:
        for offset in range(0, size, mmap.PAGESIZE):
            block[offset] = 1
        yield


def calibrate_cpu(size: int = CPU_BYTES) -> list[Check]:
    """Hold `size` bytes for a second: the kernel's mark and the sampler must measure them, and their end, to 1 %.

    Call it in a fresh process, as the probes also measure whatever else allocates meanwhile.
    """
    probe = MemoryProbe()
    with TemporaryDirectory(prefix="calibration-") as folder:
        trace = Path(folder) / "trace.csv"
        with SamplerProcess(trace, 0.02):
            probe.reset()
            before = probe.rss()
            with hold_host_memory(size):
                time.sleep(PULSE_SECONDS)
            after, peak = probe.rss(), probe.peak()
        sampled = read_trace(trace).peak("rss_bytes")
    source = "kernel's mark" if peak is None else peak.source
    return [
        check_probe(
            f"peak of the process ({source})", size, None if peak is None else peak.rss_bytes - before, 0.01 * size
        ),
        check_probe("the sampler's highest sample", size, None if sampled is None else sampled - before, 0.01 * size),
        check_probe("given back afterwards", size, size - (after - before), 0.01 * size),
    ]


def calibrate_gpu(device: str) -> list[Check]:
    """Open `device` (cuda, cuda:N) and calibrate it. Call it in a fresh process."""
    from bench.measure.allocator import device_index
    from bench.measure.device import hold

    index = device_index(device)
    return calibrate_device(open_device(device), lambda size: hold(index, size), GPU_SIZES)


def calibrate_device(device: Device, hold: Hold, sizes: Iterable[int]) -> list[Check]:
    """Hold each size in turn and compare the readings before, during and after.

    Args:
        device: An opened device.
        hold: Returns a context manager that holds so many bytes of the device.
        sizes: Bytes to hold.

    Returns:
        The comparisons: torch's reserve must agree exactly, the driver's readings to 4 MiB or 0.5 %.
    """
    checks = [result for size in sizes for result in _calibrate_size(device, hold, size)]
    return [*checks, _pulse(device, hold, max(sizes))]


def _calibrate_size(device: Device, hold: Hold, size: int) -> list[Check]:
    before = _readings(device)
    with hold(size):
        during = _readings(device)
    after = _readings(device)
    exact, near = 0.0, max(4 * MIB, 0.005 * size)
    names = ("torch's reserve", "the driver's process list", "the whole device")
    tolerances = (exact, near, near)
    rises = [
        check_probe(name, size, None if a is None or b is None else b - a, tolerance)
        for name, a, b, tolerance in zip(names, before, during, tolerances, strict=True)
    ]
    falls = [
        check_probe(f"{name}, given back", size, None if b is None or c is None else b - c, tolerance)
        for name, b, c, tolerance in zip(names, during, after, tolerances, strict=True)
    ]
    return rises + falls


def _readings(device: Device) -> tuple[int | None, int | None, int | None]:
    return (
        device.allocator.read().reserved_end_bytes,
        process_bytes(device.gpu, device.own_pid) if device.own_pid is not None else None,
        device.gpu.used_bytes() if device.sees_device else None,
    )


def _pulse(device: Device, hold: Hold, size: int) -> Check:
    """A block that is held for a second must show in the sampler's trace."""
    with TemporaryDirectory(prefix="calibration-") as folder:
        trace = Path(folder) / "trace.csv"
        with SamplerProcess(trace, 0.02, gpu=device.gpu.facts.uuid, gpu_pid=device.own_pid):
            before = device.gpu.used_bytes()
            with hold(size):
                time.sleep(PULSE_SECONDS)
        peak = read_trace(trace).peak("gpu_used_bytes")
    seen = None if peak is None or before is None else peak - before
    return Check("the sampler's highest sample", size, seen, None if seen is None else within(seen, size))


def calibrate(device: str, variables: Mapping[str, str] | None = None) -> tuple[list[Check], str]:
    """Calibrate the host and, unless `device` is cpu, the GPU, each in a fresh process.

    Args:
        device: cpu, cuda or cuda:N.
        variables: Of the environment that shows the GPU that is meant; None: the first one.

    Returns:
        The comparisons, and why a calibration did not run (empty if all did).
    """
    environment = pin_environment(default_threads()) | dict(variables or {})
    outcomes = [run_isolated(_calibrate_cpu, None, 60.0, environment)]
    if device != "cpu":
        outcomes.append(run_isolated(calibrate_gpu, device, 300.0, environment))
    checks = [check for outcome in outcomes if outcome.ok for check in outcome.result]
    return checks, "; ".join(f"did not run: {outcome.reason}" for outcome in outcomes if not outcome.ok)


def _calibrate_cpu(_: None) -> list[Check]:
    return calibrate_cpu()


def flag_calibration(checks: Iterable[Check]) -> list[str]:
    """Return a flag `invalid: ...` for each comparison that failed."""
    return [
        f"invalid: calibration failed: {failed.what}, held {failed.true_bytes / MIB:.0f} MiB, "
        f"saw {(failed.seen_bytes or 0) / MIB:.1f} MiB"
        for failed in checks
        if failed.passed is False
    ]
