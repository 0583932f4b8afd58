"""An NVIDIA device as its driver sees it, through pynvml; and the null device where there is none. Bytes, watts, joules, MHz."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol


class GpuLost(RuntimeError):
    """The driver no longer reaches the device: nothing measured from now on can be believed."""


@dataclass(frozen=True)
class Process:
    """An entry of the driver's process list. `used_bytes` is None where the driver does not tell."""

    pid: int
    used_bytes: int | None


class Gpu(Protocol):
    """What the meter asks of a device. Every reading is None where driver or device does not offer it."""

    present: bool
    reason: str  # why there is none, or which readings are missing
    name: str | None
    uuid: str | None
    total_bytes: int | None

    def used_bytes(self) -> int | None: ...
    def processes(self) -> list[Process] | None: ...
    def power_watts(self) -> float | None: ...
    def energy_joules(self) -> float | None: ...
    def temperature_celsius(self) -> int | None: ...
    def clock_mhz(self) -> int | None: ...
    def throttle_reasons(self) -> int | None: ...
    def utilization_percent(self) -> int | None: ...
    def accounting_peak_bytes(self, pid: int) -> int | None: ...
    def shared_by_mps(self) -> bool: ...


class NoGpu:
    """The null device: a run on the CPU, or a driver that cannot be asked. Every reading is None."""

    present = False
    name: str | None = None
    uuid: str | None = None
    total_bytes: int | None = None
    is_mig = False
    is_wddm = False
    struct_mismatch = False

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def used_bytes(self) -> int | None:
        return None

    def processes(self) -> list[Process] | None:
        return None

    def power_watts(self) -> float | None:
        return None

    def energy_joules(self) -> float | None:
        return None

    def temperature_celsius(self) -> int | None:
        return None

    def clock_mhz(self) -> int | None:
        return None

    def throttle_reasons(self) -> int | None:
        return None

    def utilization_percent(self) -> int | None:
        return None

    def accounting_peak_bytes(self, pid: int) -> int | None:  # noqa: ARG002
        return None

    def shared_by_mps(self) -> bool:
        return False


def first_gpu_facts() -> dict[str, Any]:
    """Placeholder shape of the facts; filled below."""
    return {"gpu": None, "gpu_memory_bytes": None, "gpu_driver": None, "gpu_cuda": None}
