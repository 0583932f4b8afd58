"""What the meter reads of a GPU: values, the protocol of a device, and the null device without any reading.

Units are bytes, watts, joules, degrees Celsius and MHz. A reading that the driver or the device does not offer is None.
"""

from dataclasses import dataclass
from typing import Protocol


class GpuLostError(RuntimeError):
    """The driver no longer reaches the device: nothing that is measured from now on is valid."""


@dataclass(frozen=True)
class Process:
    """An entry of the driver's process lists.

    Attributes:
        pid: Number of the process, in the driver's namespace.
        used_bytes: Its memory; None where the driver does not report it.
        compute: False for a process that only draws, such as a desktop.
    """

    pid: int
    used_bytes: int | None
    compute: bool = True


@dataclass(frozen=True)
class Vitals:
    """Readings of the device at one moment. `throttle_reasons` is NVML's bit mask."""

    power_watts: float | None = None
    temperature_celsius: int | None = None
    clock_mhz: int | None = None
    throttle_reasons: int | None = None
    utilization_percent: int | None = None


@dataclass(frozen=True)
class GpuFacts:
    """What does not change about a device.

    Attributes:
        name: Its product name.
        uuid: Its UUID, or that of a MIG slice.
        total_bytes: Its memory.
        driver: Version of the driver.
        cuda: Version of CUDA that the driver supports.
        memory_api: Version of NVML's memory call that answers: v2, v1 or none.
        mig: Whether it is a MIG slice.
        wddm: Whether it runs under the Windows display driver model.
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
    """A device as the driver reports it. Its methods raise `GpuLostError` when the driver has lost it."""

    present: bool
    reason: str  # why there is none
    lost: bool  # there is one, but the driver cannot reach it or has no device of that name
    facts: GpuFacts
    struct_mismatch: bool  # the driver's process list turned out to have another layout than pynvml's

    def used_bytes(self) -> int | None:
        """Memory of the device in use, total minus free."""

    def processes(self) -> list[Process] | None:
        """Processes on the device."""

    def vitals(self) -> Vitals:
        """Power, temperature, clock, throttling and utilisation now."""

    def energy_joules(self) -> float | None:
        """The energy counter of the device."""

    def accounting_peak_bytes(self, pid: int) -> int | None:
        """The driver's own maximum of a process's memory, where accounting mode is on."""

    def is_shared_by_mps(self) -> bool:
        """Whether an MPS server shares the device among processes."""


class NoGpu:
    """The null device: of a run on the CPU, or of a driver that does not answer.

    `reason` says in words why there is no device; `lost` says that there is one, which cannot be reached.
    """

    present = False
    struct_mismatch = False

    def __init__(self, reason: str, lost: bool = False) -> None:
        self.reason, self.lost = reason, lost
        self.facts = GpuFacts()

    def used_bytes(self) -> int | None:
        """Return None."""
        return None

    def processes(self) -> list[Process] | None:
        """Return None."""
        return None

    def vitals(self) -> Vitals:
        """Return readings that are all None."""
        return Vitals()

    def energy_joules(self) -> float | None:
        """Return None."""
        return None

    def accounting_peak_bytes(self, pid: int) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def is_shared_by_mps(self) -> bool:
        """Return False."""
        return False
