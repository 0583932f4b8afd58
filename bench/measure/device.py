"""The device of a run: which of the driver's devices it is, its idle memory, and which of its processes is the run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from bench.measure.allocator import Allocator, NoAllocator, open_allocator
from bench.measure.gpu import Gpu, GpuLostError, NoGpu, Process
from bench.measure.nvml import open_gpu, open_gpus

MIB = 2**20
Hold = Callable[[int], AbstractContextManager[object]]  # holds that many bytes of the device's memory meanwhile


@dataclass(frozen=True)
class Device:
    """An opened GPU, or the null device of a CPU run, whose facts are None and whose allocator is the null one.

    Attributes:
        gpu: The driver's side.
        allocator: Torch's side.
        own_pid: This process's number in the driver's list, which may count in another namespace; None where it is
            not found there, and only differences of the whole device can be used.
        baseline_bytes: Memory of the device in use before this process came.
        context_bytes: Memory of this process with a context and one tiny operation, without torch's reserve.
        flags: Circumstances at the start that spoil a measurement.
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
class IdleState:
    """A device before this process used it, as the driver reports it."""

    used_bytes: int | None
    utilization_percent: int | None


def open_cpu() -> Device:
    """Return the null device of a run on the CPU."""
    return Device(NoGpu("the run is on the CPU"), NoAllocator())


def open_device(device: str, idle: Mapping[str | None, IdleState] | None = None) -> Device:
    """Open `device` (cpu, cuda, cuda:N): its CUDA context is created, and it is found among the driver's devices.

    Args:
        device: Name of the device.
        idle: What `read_idle_states` returned before this process had a context; None where it has none yet.
    """
    if device == "cpu":
        return open_cpu()
    from bench.measure.allocator import create_context, device_index, device_uuid

    gpus, reason = open_gpus()
    before = read_idle_states(gpus) if idle is None else idle
    allocator = open_allocator(device)
    create_context(device_index(device))
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


def read_idle_states(gpus: Iterable[Gpu] | None = None) -> dict[str | None, IdleState]:
    """Read the state of `gpus`, by default of every device, by their UUIDs, before this process uses any.

    Without a driver there are none, and a device that the driver has lost is not among them.
    """
    states: dict[str | None, IdleState] = {}
    for gpu in open_gpus()[0] if gpus is None else gpus:
        with suppress(GpuLostError):
            states[gpu.facts.uuid] = read_idle_state(gpu)
    return states


def read_idle_state(gpu: Gpu) -> IdleState:
    """Read the state of a device now."""
    return IdleState(gpu.used_bytes(), gpu.vitals().utilization_percent)


def describe(gpu: Gpu, allocator: Allocator, before: IdleState | None, hold: Hold) -> Device:
    """Find this process on a device on which its context has just been created.

    Args:
        gpu: The driver's side of the device.
        allocator: Torch's side.
        before: The device before the context was created; None where it was not read.
        hold: Returns a context manager that holds so many bytes of the device.

    Returns:
        The device, with flags for circumstances that spoil a measurement.
    """
    allocator.clear()
    own = find_own_pid(gpu, hold)
    reserved = allocator.read().reserved_end_bytes or 0
    used, listed = gpu.used_bytes(), process_bytes(gpu, own)
    baseline = None if before is None else before.used_bytes
    delta = None if used is None or baseline is None else used - baseline
    gross = listed if listed is not None else delta
    context = None if gross is None or gpu.facts.wddm else max(0, gross - reserved)
    return Device(gpu, allocator, own, baseline, context, tuple(flag_start(gpu, before)))


def flag_start(gpu: Gpu, before: IdleState | None) -> list[str]:
    """Return flags for what was wrong before the run began."""
    flags = []
    if before is None:
        flags.append("invalid: the device's idle state was not seen before the run")
    elif before.utilization_percent is not None and before.utilization_percent > 5:
        flags.append(f"contended: the GPU was {before.utilization_percent} % busy before the run")
    if gpu.is_shared_by_mps():
        flags.append("invalid: the GPU is shared through MPS, whose processes cannot be told apart")
    return flags


def find_own_pid(gpu: Gpu, hold: Hold, size: int = 64 * MIB) -> int | None:
    """Find this process in the driver's list: the one entry that rises by `size` bytes while `hold` holds as many.

    Args:
        gpu: The driver's side of the device.
        hold: Returns a context manager that holds so many bytes of the device.
        size: Bytes to hold.

    Returns:
        Its number in the list; None where no entry rises by that, or more than one.
    """
    before = gpu.processes()
    with hold(size):
        during = gpu.processes()
    if before is None or during is None:
        return None
    return find_risen_process(before, during, size)


def find_risen_process(before: list[Process], during: list[Process], size: int) -> int | None:
    """Return the number of the process whose memory rose by `size`; None if none did, or more than one.

    Args:
        before: Entries of the driver's list before.
        during: Entries while the memory is held.
        size: Bytes that are held.
    """
    held = {process.pid: process.used_bytes for process in before}
    risen = []
    for process in during:
        was = held.get(process.pid)
        if process.used_bytes is not None and was is not None and within(process.used_bytes - was, size):
            risen.append(process.pid)
    return risen[0] if len(risen) == 1 else None


def within(seen: int, true: int) -> bool:
    """Whether a difference by the driver agrees with the true one to 4 MiB or 0.5 %, whichever is more."""
    return abs(seen - true) <= max(4 * MIB, 0.005 * true)


def process_bytes(gpu: Gpu, pid: int | None) -> int | None:
    """Return the memory of one process in the driver's list; None where the list does not have it."""
    return split_process_bytes(gpu, pid)[0]


def split_process_bytes(gpu: Gpu, pid: int | None) -> tuple[int | None, int | None]:
    """Return the memory of one process and of all other compute processes by the driver's list; None if unknown."""
    processes = gpu.processes()
    if processes is None or pid is None:
        return None, None
    own = [entry.used_bytes for entry in processes if entry.pid == pid]
    foreign = [entry.used_bytes or 0 for entry in processes if entry.pid != pid and entry.compute]
    return own[0] if own else None, sum(foreign)
