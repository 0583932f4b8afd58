"""What torch's own allocator knows about GPU memory, exactly, in bytes; and the null allocator of a CPU run.

Torch returns 0 from `max_memory_allocated()` without CUDA. That 0 never leaves this module: a CPU run has
`NoAllocator`.
"""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class AllocatorReading:
    """The end of a stage. Peaks and counters since its start.

    `grew_only` is the proof that the end's reserve is the peak.
    """

    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    reserved_end_bytes: int | None = None
    alloc_retries: int | None = None
    device_frees: int | None = None

    @property
    def grew_only(self) -> bool:
        """Nothing was given back to the device within the stage: what is held at the end is the most that was."""
        return self.alloc_retries == 0 and self.device_frees == 0


class Allocator(Protocol):
    """A device's allocator, read at the edges of stages."""

    def clear(self) -> None: ...
    def start(self) -> None: ...
    def synchronize(self) -> None: ...
    def read(self) -> AllocatorReading: ...


class NoAllocator:
    """A run on the CPU."""

    def clear(self) -> None:
        """Nothing to give back."""

    def start(self) -> None:
        """Nothing to reset."""

    def synchronize(self) -> None:
        """Nothing runs behind our back."""

    def read(self) -> AllocatorReading:
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
        """Reset the peaks to what is held now and note the counters."""
        self._cuda.synchronize(self._device)
        self._cuda.reset_peak_memory_stats(self._device)
        statistics = self._cuda.memory_stats(self._device)
        self._retries, self._frees = _counters(statistics)

    def synchronize(self) -> None:
        self._cuda.synchronize(self._device)

    def read(self) -> AllocatorReading:
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
    """The allocator behind `device` (cpu, cuda, cuda:N)."""
    return NoAllocator() if device == "cpu" else CudaAllocator(device_index(device))


def device_index(device: str) -> int:
    """N of cuda:N, 0 for plain cuda. Raises ValueError for a device that is neither."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {device!r}")
    return int(number or 0)


def device_uuid(device: str) -> str | None:
    """The UUID under which the driver knows a CUDA device: NVML's order of devices is not CUDA's."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device_index(device)), "uuid", None)
    return None if uuid is None else str(uuid)


def touch(index: int) -> None:
    """Create the CUDA context of a device and run one tiny operation on it."""
    import torch

    torch.ones(1, device=f"cuda:{index}").add_(1)
    torch.cuda.synchronize(index)
