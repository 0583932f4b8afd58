"""The sampler as a context manager: started beside a run, summarised at its end."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Summary:
    """The sampler's report on itself.

    Attributes:
        samples: Number of samples.
        period_s: Last period between samples, in seconds.
        max_gap_s: Longest gap between samples, in seconds.
        duty: Processor time per second of wall time.
    """

    samples: int
    period_s: float
    max_gap_s: float
    duty: float


class SamplerProcess:
    """A running sampler as a context manager; afterwards `summary`, or None if it died too early.

    Args:
        trace: CSV file that it writes.
        period: Seconds between samples, which the sampler widens where they cost too much.
        pid: Process to measure, with all below it; this one by default.
        gpu: UUID of the device to measure; None measures none.
        gpu_pid: Number of the process in the driver's list, where it differs from `pid`.
    """

    def __init__(
        self, trace: Path, period: float, pid: int | None = None, gpu: str | None = None, gpu_pid: int | None = None
    ) -> None:
        self._command = [sys.executable, "-m", "bench.measure.sampler"]
        self._command += ["--pid", str(pid or os.getpid()), "--trace", str(trace), "--period", str(period)]
        self._command += ["--gpu", gpu] if gpu else []
        self._command += ["--gpu-pid", str(gpu_pid)] if gpu_pid is not None else []
        self._process: subprocess.Popen[str] | None = None
        self.summary: Summary | None = None

    def __enter__(self) -> "SamplerProcess":
        path = os.pathsep.join(part for part in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # "ready", or nothing when it could not start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        try:
            output, _ = self._process.communicate(timeout=10)  # closes its standard input, which is its end
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        lines = output.split("\n")
        self.summary = Summary(**json.loads(lines[0])) if lines[0].startswith("{") else None

    @property
    def pid(self) -> int:
        """Number of the sampler's process."""
        assert self._process is not None
        return self._process.pid
