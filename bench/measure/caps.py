"""Calls under a limit of memory: of the process on the host, of torch's allocator, or of what is free on a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST, SOFT, HARD = "host_data_limit", "cap_soft", "cap_hard"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class LimitedCall:
    """A call under a limit of memory.

    Attributes:
        function: Importable by module and name.
        argument: Its one argument, which must pickle.
        limit_bytes: The limit.
        kind: `HOST`, `SOFT`, or `HARD`, where another process occupies the rest of the GPU.
        device: cpu, cuda or cuda:N.
    """

    function: Callable[[Any], Any]
    argument: Any
    limit_bytes: int
    kind: str
    device: str


def run_limited(call: LimitedCall) -> Any:
    """Set the limit in this process, for the rest of its life, and make the call; for `run_isolated`."""
    if call.kind == HOST:
        limit_host(call.limit_bytes)
    elif call.kind == SOFT:
        limit_gpu(call.device, call.limit_bytes)
    return call.function(call.argument)


def limit_host(size: int) -> None:
    """Limit the writable private memory of this process (RLIMIT_DATA), libraries' data and stacks included, to `size`.

    Unlike RLIMIT_AS it does not count address space that is only reserved. Raises OSError where the system has no such
    limit.
    """
    if sys.platform != "linux":
        raise OSError("only Linux limits a process's writable memory; the smallest host memory cannot be searched here")
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def limit_gpu(device: str, size: int) -> None:
    """Limit torch's allocator on `device` to `size` bytes.

    The context does not count, and cuDNN still reads the real free memory.
    """
    import torch

    from bench.measure.allocator import device_index

    index = device_index(device)
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), index)


@contextmanager
def occupy_gpu(device: str, leave: int, environment: Mapping[str, str] | None = None) -> Iterator[int | None]:
    """Occupy all but `leave` bytes of the device's free memory by a process of its own.

    Args:
        device: cuda or cuda:N.
        leave: Bytes that stay free.
        environment: Variables of the process, such as the devices that it sees, beside those of this one.

    Yields:
        The bytes that are left, or None where the process could not occupy the rest.
    """
    command = [sys.executable, "-m", "bench.measure.occupy", device, str(leave)]
    variables = {**os.environ, **(environment or {})}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=variables
    )
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
