"""The sampler: a small process of its own that measures a run from outside, so that no lock of the run delays it.

`python -m bench.measure.sampler --pid N --trace FILE --period S [--gpu UUID]` writes one line per sample and ends
when its standard input closes, at the latest when the process that started it dies. It imports the standard library,
psutil and pynvml only. Its clock is CLOCK_MONOTONIC, which `time.perf_counter_ns` reads in the run as well.
"""

import argparse
import gc
import json
import os
import select
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TextIO

import psutil

from bench.measure.gpu import Gpu, GpuLostError, NoGpu
from bench.measure.nvml import open_gpu

COLUMNS = (
    "t_ns",
    "rss_bytes",
    "rss_tree_bytes",
    "gpu_used_bytes",
    "gpu_process_bytes",
    "gpu_foreign_bytes",
    "gpu_foreign_count",
    "power_watts",
    "temperature_celsius",
    "clock_mhz",
    "throttle_reasons",
    "utilization_percent",
)
SHARE = 0.0047  # of one core: what the sampler may cost, a little below the promised 0.5 %
LONGEST_PERIOD = 0.25  # half of the gap that makes an unproven peak invalid
TREE_PERIOD = 0.2
DETAIL_PERIOD = 1.0
Sample = dict[str, float | int | None]


class Pace:
    """Adapts the period of sampling, so that samples cost at most a share of the processor.

    `shortest` and `period` are in seconds, `share` in seconds of work per second. The cost is averaged over about five
    windows, so that one busy second does not leave a gap in the trace.
    """

    def __init__(self, shortest: float, share: float = SHARE) -> None:
        self.shortest, self.share, self.period = shortest, share, shortest
        self._cost: float | None = None

    def adapt(self, cost: float) -> float:
        """Return the new period after a window in which a sample cost so many seconds.

        It lies between `shortest` and a quarter of a second.
        """
        self._cost = cost if self._cost is None else self._cost + 0.2 * (cost - self._cost)
        self.period = max(self.shortest, min(LONGEST_PERIOD, self._cost / self.share))
        return self.period


class HostReader:
    """Resident size in bytes of a process, and of the tree below it without the sampler itself."""

    def __init__(self, pid: int) -> None:
        self._pid, self._page = pid, os.sysconf("SC_PAGE_SIZE") if os.name == "posix" else 4096
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY) if sys.platform == "linux" else None

    def rss(self) -> int:
        """Return the resident size of the process. Raises OSError when it is gone."""
        return self._resident(self._statm) if self._statm is not None else _rss(self._pid)

    def tree(self) -> int:
        """Return the resident size of the process and of all below it."""
        return sum(self._member_bytes(pid) for pid in self._members())

    def _resident(self, statm: int) -> int:
        return int(os.pread(statm, 128, 0).split()[1]) * self._page

    def _member_bytes(self, pid: int) -> int:
        """Return the resident size of a member of the tree; 0 for one that has just ended."""
        try:
            if self._statm is None:
                return _rss(pid)
            statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
        except (OSError, psutil.AccessDenied):
            return 0
        try:
            return self._resident(statm)
        except OSError:
            return 0
        finally:
            os.close(statm)

    def _members(self) -> list[int]:
        if sys.platform != "linux":
            children = psutil.Process(self._pid).children(recursive=True)
            return [self._pid, *(child.pid for child in children if child.pid != os.getpid())]
        members = [self._pid]
        for pid in members:  # grows while we walk
            members += [child for child in _children(pid) if child != os.getpid()]
        return members


def _children(pid: int) -> list[int]:
    """Return the direct children by the kernel's own list, far cheaper than a search of all processes."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return found
    return found


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(pid) from None


def gpu_details(gpu: Gpu, own_pid: int | None) -> Sample:
    """Read what is slow: the process list, which takes the driver milliseconds, and the vitals."""
    processes, vitals = gpu.processes(), gpu.vitals()
    own = [entry.used_bytes for entry in processes or [] if entry.pid == own_pid]
    foreign = [entry.used_bytes or 0 for entry in processes or [] if entry.pid != own_pid and entry.compute]
    known = processes is not None and own_pid is not None
    return {
        "gpu_process_bytes": own[0] if own else None,
        "gpu_foreign_bytes": sum(foreign) if known else None,
        "gpu_foreign_count": len(foreign) if known else None,
        "power_watts": vitals.power_watts,
        "temperature_celsius": vitals.temperature_celsius,
        "clock_mhz": vitals.clock_mhz,
        "throttle_reasons": vitals.throttle_reasons,
        "utilization_percent": vitals.utilization_percent,
    }


class EndOfInput:
    """A clock that stops when the process that started the sampler closes its standard input, or is gone."""

    def __init__(self) -> None:
        self._parent, self._ended = os.getppid(), threading.Event()
        if os.name != "posix":  # select takes no pipes there
            threading.Thread(target=self._read_to_the_end, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`; return True at once when the end has come."""
        if os.name != "posix":
            return self._ended.wait(seconds)
        ready, _, _ = select.select([0], [], [], seconds)
        return bool(ready and not os.read(0, 64)) or os.getppid() != self._parent

    def _read_to_the_end(self) -> None:
        while os.read(0, 64):
            pass
        self._ended.set()


class Sampler:
    """Reads host and device at their two rates and writes the samples."""

    def __init__(self, host: HostReader, gpu: Gpu, gpu_pid: int | None, period: float, trace: TextIO) -> None:
        self._host, self._gpu, self._gpu_pid, self._trace = host, gpu, gpu_pid, trace
        self._pace, self._samples, self._max_gap_ns = Pace(period), 0, 0
        self._pending: list[Sample] = []
        self._next_tree = self._next_detail = 0.0
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def run(self, stop: EndOfInput) -> dict[str, float | int]:
        """Sample until the end of the input, of the process or of the device, and return the summary."""
        last, window, cpu, costs = 0, time.perf_counter(), time.process_time(), list[float]()
        while not stop.wait(self._pace.period):
            begin = time.perf_counter_ns()
            try:
                self._pending.append(self._read(begin))
            except (OSError, GpuLostError):
                break
            self._max_gap_ns, last = max(self._max_gap_ns, begin - last if last else 0), begin
            costs.append((time.perf_counter_ns() - begin) / 1e9)
            if time.perf_counter() - window >= 1:
                self._write()
                used = time.process_time() - cpu
                self._pace.adapt(max(used / len(costs), median(costs)))
                window, cpu, costs = time.perf_counter(), time.process_time(), []
        self._write()
        return self.summary()

    def summary(self) -> dict[str, float | int]:
        """Return the number of samples, the last period, the longest gap and the processor time per second."""
        elapsed = time.perf_counter() - self._started
        return {
            "samples": self._samples,
            "period_s": self._pace.period,
            "max_gap_s": self._max_gap_ns / 1e9,
            "duty": (time.process_time() - self._cpu_started) / elapsed,
        }

    def _read(self, now_ns: int) -> Sample:
        sample: Sample = {"t_ns": now_ns, "rss_bytes": self._host.rss(), "gpu_used_bytes": self._gpu.used_bytes()}
        now = now_ns / 1e9
        if now >= self._next_tree:
            sample["rss_tree_bytes"], self._next_tree = self._host.tree(), now + TREE_PERIOD
        if now >= self._next_detail and self._gpu.present:
            sample |= gpu_details(self._gpu, self._gpu_pid)
            self._next_detail = now + DETAIL_PERIOD
        return sample

    def _write(self) -> None:
        """Write the pending samples, once a second: text in bulk costs a fraction of text sample by sample."""
        self._samples += len(self._pending)
        for sample in self._pending:
            cells = [sample.get(column) for column in COLUMNS]
            self._trace.write(",".join(["" if cell is None else str(cell) for cell in cells]) + "\n")
        self._pending.clear()
        self._trace.flush()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Sample a process's memory and its GPU's, until standard input closes."
    )
    parser.add_argument("--pid", type=int, required=True, help="process to watch, with all below it")
    parser.add_argument("--trace", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--period", type=float, default=0.02, help="seconds between samples; widened when too costly")
    parser.add_argument("--gpu", help="UUID of the device to watch")
    parser.add_argument("--gpu-pid", type=int, help="the process's number in the driver's list, where it differs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print `ready`, sample until the end, then print the summary as one line of JSON.

    Prints a sentence instead where the trace cannot be written, as on a full disk.
    """
    arguments = _arguments(argv)
    gpu = open_gpu(arguments.gpu) if arguments.gpu else NoGpu("no device was named")
    try:
        with arguments.trace.open("w", encoding="utf-8") as trace:
            trace.write(",".join(COLUMNS) + "\n")
            sampler = Sampler(HostReader(arguments.pid), gpu, arguments.gpu_pid, arguments.period, trace)
            gc.freeze()
            gc.disable()
            print("ready", flush=True)
            print(json.dumps(sampler.run(EndOfInput())), flush=True)
    except BrokenPipeError:  # the run is gone, and says so itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
    except OSError as error:
        sys.exit(f"the memory trace {arguments.trace} cannot be written: {error.strerror}")


if __name__ == "__main__":
    main()
