"""GPU memory as torch's own allocator counts it, exactly, in bytes; and the null allocator of a CPU run.

Torch returns 0 from `max_memory_allocated()` without CUDA. That 0 never leaves this module: a CPU run has
`NoAllocator`.
"""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class AllocatorReading:
    """The allocator at the end of a stage; None where there is no allocator.

    Attributes:
        allocated_peak_bytes: Most bytes in tensors since the stage's start.
        reserved_peak_bytes: Most bytes held of the device since the stage's start.
        reserved_end_bytes: Bytes held at the end.
        alloc_retries: Allocations since the start that succeeded only after cached blocks were given back.
        device_frees: Blocks given back to the device since the start.
    """

    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    reserved_end_bytes: int | None = None
    alloc_retries: int | None = None
    device_frees: int | None = None

    @property
    def grew_only(self) -> bool:
        """Whether nothing was given back within the stage, which proves that the reserve at its end is the peak."""
        return self.alloc_retries == 0 and self.device_frees == 0


class Allocator(Protocol):
    """A device's allocator, read at the edges of stages."""

    def clear(self) -> None:
        """Give cached blocks back to the device."""

    def start(self) -> None:
        """Begin a stage: peaks and counters start from here."""

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""

    def read(self) -> AllocatorReading:
        """Return peaks and counters since `start`."""


class NoAllocator:
    """The allocator of a run on the CPU: it does nothing, and its readings are empty."""

    def clear(self) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing: a CPU works synchronously."""

    def read(self) -> AllocatorReading:
        """Return an empty reading."""
        return AllocatorReading()


class CudaAllocator:
    """The caching allocator of one CUDA device. `device` is an index."""

    def __init__(self, device: int) -> None:
        import torch

        self._cuda, self._device = torch.cuda, device
        self._retries = self._frees = 0

    def clear(self) -> None:
        """Give cached blocks back to the device."""
        self._cuda.synchronize(self._device)
        self._cuda.empty_cache()

    def start(self) -> None:
        """Reset the peaks to the bytes that are held now, and note the counters."""
        self._cuda.synchronize(self._device)
        self._cuda.reset_peak_memory_stats(self._device)
        statistics = self._cuda.memory_stats(self._device)
        self._retries, self._frees = _counters(statistics)

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        self._cuda.synchronize(self._device)

    def read(self) -> AllocatorReading:
        """Return peaks and counters since `start`."""
        statistics = self._cuda.memory_stats(self._device)
        retries, frees = _counters(statistics)
        return AllocatorReading(
            allocated_peak_bytes=int(self._cuda.max_memory_allocated(self._device)),
            reserved_peak_bytes=int(self._cuda.max_memory_reserved(self._device)),
            reserved_end_bytes=int(self._cuda.memory_reserved(self._device)),
            alloc_retries=retries - self._retries,
            device_frees=frees - self._frees,
        )


def _counters(statistics: dict[str, Any]) -> tuple[int, int]:
    return int(statistics.get("num_alloc_retries", 0)), int(statistics.get("num_device_free", 0))


def open_allocator(device: str) -> Allocator:
    """Return the allocator of `device` (cpu, cuda, cuda:N)."""
    return NoAllocator() if device == "cpu" else CudaAllocator(device_index(device))


def device_index(device: str) -> int:
    """Return N of cuda:N, 0 for plain cuda. Raises ValueError for a device that is neither."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {device!r}")
    return int(number or 0)


def device_uuid(device: str) -> str | None:
    """Return the UUID of a CUDA device, as NVML's order of devices is not CUDA's; None where torch has none."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device_index(device)), "uuid", None)
    return None if uuid is None else str(uuid)


def create_context(index: int) -> None:
    """Create the CUDA context of a device and run one tiny operation on it."""
    import torch

    torch.ones(1, device=f"cuda:{index}").add_(1)
    torch.cuda.synchronize(index)
