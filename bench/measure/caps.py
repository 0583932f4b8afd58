"""Running a function with less memory than the machine has.

A limit on the host's, a fraction or a ballast on a GPU's.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST, SOFT, HARD = "host_data_limit", "cap_soft", "cap_hard"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Capped:
    """A call under a limit of memory in bytes.

    Under `cap_hard` the limit is outside the process, so nothing is set in it.
    """

    function: Callable[[Any], Any]
    argument: Any
    limit_bytes: int
    kind: str
    device: str


def run_capped(call: Capped) -> Any:
    """Set the limit in this process, for good, and make the call. For `run_isolated`."""
    if call.kind == HOST:
        limit_host(call.limit_bytes)
    elif call.kind == SOFT:
        limit_gpu(call.device, call.limit_bytes)
    return call.function(call.argument)


def limit_host(size: int) -> None:
    """Writable private memory (RLIMIT_DATA), imported libraries' data and threads' stacks included.

    Unlike RLIMIT_AS it does not count address space that is only reserved. Raises OSError where the system does not
    limit.
    """
    if sys.platform != "linux":
        raise OSError("only Linux limits a process's writable memory; the smallest host memory cannot be searched here")
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def limit_gpu(device: str, size: int) -> None:
    """Torch's allocator refuses to go beyond `size`.

    The context is not counted, and cuDNN still sees the real free memory.
    """
    import torch

    from bench.measure.allocator import device_index

    index = device_index(device)
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), index)


@contextmanager
def ballast(device: str, leave: int) -> Iterator[int | None]:
    """A process that holds all but `leave` bytes of the device's free memory.

    Yields what is left, None if it could not.
    """
    command = [sys.executable, "-m", "bench.measure.ballast", device, str(leave)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
    try:
        assert process.stdout is not None
        answer = process.stdout.readline().strip()
        yield int(answer) if answer.isdigit() else None
    finally:
        try:
            process.communicate(timeout=30)  # closes its standard input, on which it waits
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
