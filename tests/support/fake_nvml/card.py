"""A pretended card: what the driver's stand-in says of it and what torch's allocator would, moved together. Bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure.allocator import AllocatorReading
from bench.measure.device import Device, IdleState, describe
from bench.measure.nvml import open_gpu
from support.fake_nvml.driver import UUID, FakeDriver

MIB = 2**20
CONTEXT = 290 * MIB
IDLE = 450 * MIB  # held by the driver before anyone comes


class Card:
    """The allocator's side is this object itself; the driver's side is the file of answers that it rewrites."""

    def __init__(self, pid: int | None = None, hidden: bool = False, **answers: int) -> None:
        self.pid, self.hidden, self.answers = pid or os.getpid(), hidden, answers
        self.driver = FakeDriver(Path(os.environ["LD_LIBRARY_PATH"]), Path(os.environ["FAKE_NVML"]))
        self.reserved = self.peak = self.frees = self.retries = self.stray = self.unseen = 0
        self.seen = (0, 0)
        self.tell()

    def tell(self) -> None:
        """Write what the driver would say now."""
        own = CONTEXT + max(0, self.reserved - self.unseen)
        others = sum(value for name, value in self.answers.items() if name.startswith("compute_") and value > 0)
        process = {f"compute_{self.pid}": -1 if self.hidden else own}
        self.driver.say(used=IDLE + own + others + self.stray, **process, **self.answers)

    def open(self) -> Device:
        """As `open_device` does: the idle state first, then ourselves among the processes."""
        gpu = open_gpu(UUID)
        others = sum(value for name, value in self.answers.items() if name.startswith("compute_") and value > 0)
        before = IdleState(IDLE + others, gpu.vitals().utilization_percent)
        return describe(gpu, self, before, self.hold)

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        self.reserve(size)
        yield
        self.release(size)

    def reserve(self, size: int) -> None:
        self.reserved += size
        self.peak = max(self.peak, self.reserved)
        self.tell()

    def release(self, size: int) -> None:
        """Give memory back to the device, which the allocator counts."""
        self.reserved -= size
        self.frees += 1
        self.tell()

    def clear(self) -> None: ...

    def start(self) -> None:
        self.peak, self.seen = self.reserved, (self.retries, self.frees)

    def synchronize(self) -> None: ...

    def read(self) -> AllocatorReading:
        retries, frees = self.retries - self.seen[0], self.frees - self.seen[1]
        return AllocatorReading(self.peak - MIB, self.peak, self.reserved, retries, frees)
