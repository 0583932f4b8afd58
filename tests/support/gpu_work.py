"""Works on a GPU for processes of their own. Free of pytest, so that they start fast."""

import sys
import time
from pathlib import Path
from typing import Any

from bench.measure.device import MIB, hold

DEVICE = "cuda"


def measure_blocks(arguments: tuple[str, int]) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """Measure three stages: `size` bytes held to the end, nothing, and `size` bytes given back before the end."""
    folder, size = arguments
    import torch

    from bench.measure.allocator import create_context
    from bench.measure.meter import Meter

    with Meter(Path(folder), DEVICE) as meter:
        with meter.stage("prepare", "train"):
            block = torch.empty(size, dtype=torch.uint8, device=DEVICE)
            del block  # stays in the allocator's reserve
        with meter.stage("validate", "val"):
            create_context(0)
        with meter.stage("train", "train"), hold(0, size):
            time.sleep(0.3)
    return meter.rows(), meter.flags(), meter.facts()


def allocate(size: int) -> int:
    """Hold `size` bytes of the device for a moment, whole and touched."""
    import torch

    block = torch.ones(size, dtype=torch.uint8, device=DEVICE)
    return int(block[-1])


def allocate_too_much(_: None) -> None:
    """Ask for twice the device's memory."""
    import torch

    allocate(2 * torch.cuda.get_device_properties(0).total_memory)


def allocate_under_a_cap(arguments: tuple[int, int]) -> int:
    """Limit torch's allocator to so many bytes, and ask for so many."""
    from bench.measure.caps import limit_gpu

    cap, size = arguments
    limit_gpu(DEVICE, cap)
    return allocate(size)


def count_left_free(leave: int) -> tuple[int | None, int]:
    """Return what a process that occupies the device says that it leaves free, and what this process sees free."""
    import torch

    from bench.measure.caps import occupy_gpu

    torch.ones(1, device=DEVICE)
    with occupy_gpu(DEVICE, leave) as left:
        return left, torch.cuda.mem_get_info(0)[0]


def compute_until_told() -> None:
    """Hold 256 MiB of the device until standard input closes; a line says that it has begun."""
    with hold(0, 256 * MIB):
        print("computing", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    compute_until_told()
