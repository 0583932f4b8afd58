"""The device of a run, opened.

Which of the driver's devices it is, what it held before us, and which of its processes we are.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from bench.measure.allocator import Allocator, NoAllocator, open_allocator
from bench.measure.gpu import Gpu, NoGpu, Process
from bench.measure.nvml import open_gpu, open_gpus

MIB = 2**20
Hold = Callable[[int], AbstractContextManager[object]]  # holds that many bytes of the device's memory meanwhile


@dataclass(frozen=True)
class Device:
    """Null object and opened GPU in one: on a CPU run every GPU fact is None and the allocator is the null one.

    `own_pid` is our number in the driver's process list (it may count in another namespace), None where we are not
    to be found there: then only differences of the whole device are used. `baseline_bytes` is what the device held
    before us. `context_bytes` is the floor: the process with a context and one tiny operation, without torch's
    reserve.
    """

    gpu: Gpu
    allocator: Allocator
    own_pid: int | None = None
    baseline_bytes: int | None = None
    context_bytes: int | None = None
    flags: tuple[str, ...] = field(default_factory=tuple)

    @property
    def sees_device(self) -> bool:
        """Whether differences of the whole device's memory mean anything: not under Windows' display driver model."""
        return self.gpu.present and not self.gpu.facts.wddm and self.baseline_bytes is not None


@dataclass(frozen=True)
class Before:
    """The driver's view before this process touched a device."""

    used_bytes: int | None
    pids: frozenset[int]
    utilization_percent: int | None


def cpu_device() -> Device:
    return Device(NoGpu("the run is on the CPU"), NoAllocator())


def open_device(device: str) -> Device:
    """Open `device` (cpu, cuda, cuda:N).

    Note every device's idle state first, then create the CUDA context, then find it.
    """
    if device == "cpu":
        return cpu_device()
    from bench.measure.allocator import device_index, device_uuid, touch

    gpus, reason = open_gpus()
    before = {gpu.facts.uuid: look(gpu) for gpu in gpus}
    allocator = open_allocator(device)
    touch(device_index(device))
    uuid = device_uuid(device)
    gpu = open_gpu(uuid) if uuid is not None and gpus else NoGpu(reason or "torch does not tell the device's UUID")
    if not gpu.present:
        kind = "invalid: the device is not mapped" if gpu.lost else "warn: no driver to ask, allocator only"
        return Device(gpu, allocator, flags=(f"{kind}: {gpu.reason}",))
    return describe(gpu, allocator, before.get(gpu.facts.uuid), lambda size: hold(device_index(device), size))


@contextmanager
def hold(index: int, size: int) -> Iterator[None]:
    """Hold `size` bytes of a CUDA device's memory, and give them back to the device."""
    import torch

    block = torch.empty(size, dtype=torch.uint8, device=f"cuda:{index}")
    torch.cuda.synchronize(index)
    yield
    del block
    torch.cuda.synchronize(index)
    torch.cuda.empty_cache()


def look(gpu: Gpu) -> Before:
    """The state of a device now."""
    return Before(
        gpu.used_bytes(),
        frozenset(process.pid for process in gpu.processes() or []),
        gpu.vitals().utilization_percent,
    )


def describe(gpu: Gpu, allocator: Allocator, before: Before | None, hold: Hold) -> Device:
    """Find ourselves on a device on which our context has just been created; flag what spoils a measurement there."""
    allocator.clear()
    own = find_own_pid(gpu, hold)
    reserved = allocator.read().reserved_end_bytes or 0
    used, listed = gpu.used_bytes(), process_bytes(gpu, own)
    baseline = None if before is None else before.used_bytes
    delta = None if used is None or baseline is None else used - baseline
    gross = listed if listed is not None else delta
    context = None if gross is None or gpu.facts.wddm else max(0, gross - reserved)
    return Device(gpu, allocator, own, baseline, context, tuple(start_flags(gpu, before)))


def start_flags(gpu: Gpu, before: Before | None) -> list[str]:
    """What was wrong before the run began."""
    flags = []
    if before is None:
        flags.append("invalid: the device's idle state was not seen before the run")
    elif before.utilization_percent is not None and before.utilization_percent > 5:
        flags.append(f"contended: the GPU was {before.utilization_percent} % busy before the run")
    if gpu.shared_by_mps():
        flags.append("invalid: the GPU is shared through MPS, whose processes cannot be told apart")
    return flags


def find_own_pid(gpu: Gpu, hold: Hold, size: int = 64 * MIB) -> int | None:
    """Our number in the driver's list: that of the one entry that rises by `size` while we hold as much, else None."""
    before = gpu.processes()
    with hold(size):
        during = gpu.processes()
    if before is None or during is None:
        return None
    return the_one_that_rose(before, during, size)


def the_one_that_rose(before: list[Process], during: list[Process], size: int) -> int | None:
    """The process whose memory rose by `size` within the tolerance; None if none did, or more than one."""
    held = {process.pid: process.used_bytes for process in before}
    risen = []
    for process in during:
        was = held.get(process.pid)
        if process.used_bytes is not None and was is not None and within(process.used_bytes - was, size):
            risen.append(process.pid)
    return risen[0] if len(risen) == 1 else None


def within(seen: int, true: int) -> bool:
    """Whether a difference seen by the driver matches the true one: to 4 MiB or 0.5 %, whichever is more."""
    return abs(seen - true) <= max(4 * MIB, 0.005 * true)


def process_bytes(gpu: Gpu, pid: int | None) -> int | None:
    """Memory of one process in the driver's list; None where the list does not tell."""
    return own_and_foreign(gpu, pid)[0]


def own_and_foreign(gpu: Gpu, pid: int | None) -> tuple[int | None, int | None]:
    """Memory of one process and of all other compute processes in the driver's list; None where it does not tell."""
    processes = gpu.processes()
    if processes is None or pid is None:
        return None, None
    own = [entry.used_bytes for entry in processes if entry.pid == pid]
    foreign = [entry.used_bytes or 0 for entry in processes if entry.pid != pid and entry.compute]
    return own[0] if own else None, sum(foreign)
