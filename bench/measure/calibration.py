"""Does the meter see what is known to be there? Memory of a known size is held, and every probe is asked for it."""

import mmap
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure.device import MIB, Device, Hold, open_device, process_bytes, within
from bench.measure.environment import pinned_environment
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
    """One comparison. `seen_bytes` is None where the probe offers nothing; `passed` is None then."""

    what: str
    true_bytes: int
    seen_bytes: int | None
    passed: bool | None

    def __str__(self) -> str:
        word = {None: "not measurable", True: "ok", False: "FAILED"}[self.passed]
        seen = "nothing" if self.seen_bytes is None else f"{self.seen_bytes / MIB:.1f} MiB"
        return f"{word:>14}  {self.what}: held {self.true_bytes / MIB:.0f} MiB, saw {seen}"


def check(what: str, true: int, seen: int | None, tolerance: float) -> Check:
    """`tolerance` in bytes."""
    return Check(what, true, seen, None if seen is None else abs(seen - true) <= tolerance)


@contextmanager
def touch(size: int) -> Iterator[None]:
    """Hold `size` bytes of host memory, every page written to, and give them back to the system."""
    with mmap.mmap(-1, size) as block:
        for offset in range(0, size, mmap.PAGESIZE):
            block[offset] = 1
        yield


def calibrate_cpu(size: int = CPU_BYTES) -> list[Check]:
    """Touch `size` bytes for a second: the kernel's mark and the sampler must see them to 1 %, and see them go.

    Run it in a fresh process: whatever else allocates meanwhile is seen too.
    """
    probe = MemoryProbe()
    with TemporaryDirectory(prefix="calibration-") as folder:
        trace = Path(folder) / "trace.csv"
        with SamplerProcess(trace, 0.02):
            probe.reset()
            before = probe.rss()
            with touch(size):
                time.sleep(PULSE_SECONDS)
            after, peak = probe.rss(), probe.peak()
        sampled = read_trace(trace).peak("rss_bytes")
    source = "kernel's mark" if peak is None else peak.source
    return [
        check(f"peak of the process ({source})", size, None if peak is None else peak.rss_bytes - before, 0.01 * size),
        check("the sampler's highest sample", size, None if sampled is None else sampled - before, 0.01 * size),
        check("given back afterwards", size, size - (after - before), 0.01 * size),
    ]


def calibrate_gpu(device: str) -> list[Check]:
    """Open `device` (cuda, cuda:N), then calibrate. Run it in a fresh process."""
    from bench.measure.allocator import device_index
    from bench.measure.device import hold

    index = device_index(device)
    return calibrate_device(open_device(device), lambda size: hold(index, size), GPU_SIZES)


def calibrate_device(device: Device, hold: Hold, sizes: Iterable[int]) -> list[Check]:
    """Hold each size in turn: torch's reserve must rise by exactly that, the driver's two readings to `within`."""
    checks = [result for size in sizes for result in _held(device, hold, size)]
    return [*checks, _pulse(device, hold, max(sizes))]


def _held(device: Device, hold: Hold, size: int) -> list[Check]:
    before = _readings(device)
    with hold(size):
        during = _readings(device)
    after = _readings(device)
    exact, near = 0.0, max(4 * MIB, 0.005 * size)
    names = ("torch's reserve", "the driver's process list", "the whole device")
    tolerances = (exact, near, near)
    rises = [
        check(name, size, None if a is None or b is None else b - a, tolerance)
        for name, a, b, tolerance in zip(names, before, during, tolerances, strict=True)
    ]
    falls = [
        check(f"{name}, given back", size, None if b is None or c is None else b - c, tolerance)
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
    """A block held for a second must be in the sampler's trace."""
    with TemporaryDirectory(prefix="calibration-") as folder:
        trace = Path(folder) / "trace.csv"
        with SamplerProcess(trace, 0.02, gpu=device.gpu.facts.uuid, gpu_pid=device.own_pid):
            before = device.gpu.used_bytes()
            with hold(size):
                time.sleep(PULSE_SECONDS)
        peak = read_trace(trace).peak("gpu_used_bytes")
    seen = None if peak is None or before is None else peak - before
    return Check("the sampler's highest sample", size, seen, None if seen is None else within(seen, size))


def calibrate(device: str) -> tuple[list[Check], str]:
    """Calibrate host and, if `device` is one, GPU, each in a fresh process.

    Returns the checks, and what kept a calibration from running (empty if nothing).
    """
    environment = pinned_environment(default_threads())
    outcomes = [run_isolated(_calibrate_cpu, None, 60.0, environment)]
    if device != "cpu":
        outcomes.append(run_isolated(calibrate_gpu, device, 300.0, environment))
    checks = [check for outcome in outcomes if outcome.ok for check in outcome.result]
    return checks, "; ".join(f"did not run: {outcome.reason}" for outcome in outcomes if not outcome.ok)


def _calibrate_cpu(_: None) -> list[Check]:
    return calibrate_cpu()


def calibration_flags(checks: Iterable[Check]) -> list[str]:
    """`invalid: ...` for each check that failed."""
    return [
        f"invalid: calibration failed: {failed.what}, held {failed.true_bytes / MIB:.0f} MiB, "
        f"saw {(failed.seen_bytes or 0) / MIB:.1f} MiB"
        for failed in checks
        if failed.passed is False
    ]
