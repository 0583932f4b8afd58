"""One GPU per run: a run on a GPU holds it for as long as it lasts, unless it is asked to share."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.sweeps.claims import Claim, take

POLL = 1.0  # seconds between two looks at GPUs that are all held


@contextmanager
def held_gpu(device: str, share: bool) -> Iterator[dict[str, str]]:
    """Hold the GPU that a run on `device` will use, and yield the variables that show the run this GPU alone.

    Waits while all are held. Nothing is held, and nothing said, for a run on the CPU, on a machine without a GPU, or if
    the run may share. All harnesses of a machine (and user) see each other, whatever their results folders.
    """
    gpus = [] if share or device == "cpu" else visible_gpus()
    if device.startswith("cuda:"):
        number = int(device.removeprefix("cuda:"))
        wanted, variables = gpus[number : number + 1], False
    else:
        wanted, variables = gpus, True
    if not wanted:
        yield {}
        return
    gpu, claim = _wait_for(wanted)
    try:
        yield {"CUDA_VISIBLE_DEVICES": gpu} if variables else {}
    finally:
        claim.release()


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` writes them; empty without a driver."""
    from bench.measure.machine import machine_facts

    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [gpu.strip() for gpu in asked.split(",") if gpu.strip()]
    if not machine_facts()["gpu"]:
        return []
    import pynvml

    pynvml.nvmlInit()
    try:
        return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _wait_for(gpus: Sequence[str]) -> tuple[str, Claim]:
    """The first GPU of the list that is free, or becomes so, and our claim on it."""
    folder = Path(tempfile.gettempdir()) / f"gnn-vs-cnn-gpus-{os.getuid() if os.name == 'posix' else 0}"
    while True:
        for gpu in gpus:
            claim = take(folder / f"{gpu.replace('/', '_')}.claim")
            if claim is not None:
                return gpu, claim
        time.sleep(POLL)
