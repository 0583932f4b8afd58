"""A GPU as the meter asks it: the values, the questions, and the null device that answers none of them.

Bytes, watts, joules, degrees Celsius and MHz. A reading that driver or device does not offer is None.
"""

from dataclasses import dataclass
from typing import Protocol


class GpuLostError(RuntimeError):
    """The driver no longer reaches the device: nothing measured from now on can be believed."""


@dataclass(frozen=True)
class Process:
    """An entry of the driver's process lists.

    `used_bytes` is None where the driver does not tell; `compute` is False for what only draws, as a desktop does.
    """

    pid: int
    used_bytes: int | None
    compute: bool = True


@dataclass(frozen=True)
class Vitals:
    """How the device is doing at a moment. `throttle_reasons` is NVML's bit mask."""

    power_watts: float | None = None
    temperature_celsius: int | None = None
    clock_mhz: int | None = None
    throttle_reasons: int | None = None
    utilization_percent: int | None = None


@dataclass(frozen=True)
class GpuFacts:
    """What stays the same about a device. `memory_api` is v2, v1 or none.

    `wddm` is the Windows display driver model.
    """

    name: str | None = None
    uuid: str | None = None
    total_bytes: int | None = None
    driver: str | None = None
    cuda: str | None = None
    memory_api: str = "none"
    mig: bool = False
    wddm: bool = False


class Gpu(Protocol):
    """What the meter asks of a device. Raises `GpuLostError` when the driver has lost it."""

    present: bool
    reason: str  # why there is none
    lost: bool  # there is one, but the driver does not reach it or does not know it by its name
    facts: GpuFacts
    struct_mismatch: bool  # the driver's process list was seen to have another layout than pynvml's

    def used_bytes(self) -> int | None: ...
    def processes(self) -> list[Process] | None: ...
    def vitals(self) -> Vitals: ...
    def energy_joules(self) -> float | None: ...
    def accounting_peak_bytes(self, pid: int) -> int | None: ...
    def shared_by_mps(self) -> bool: ...


class NoGpu:
    """The null device: a run on the CPU, or a driver that cannot be asked.

    `lost` says that there is a device and that it cannot be reached.
    """

    present = False
    struct_mismatch = False

    def __init__(self, reason: str, lost: bool = False) -> None:
        self.reason, self.lost = reason, lost
        self.facts = GpuFacts()

    def used_bytes(self) -> int | None:
        return None

    def processes(self) -> list[Process] | None:
        return None

    def vitals(self) -> Vitals:
        return Vitals()

    def energy_joules(self) -> float | None:
        return None

    def accounting_peak_bytes(self, pid: int) -> int | None:  # noqa: ARG002
        return None

    def shared_by_mps(self) -> bool:
        return False
