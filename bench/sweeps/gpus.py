"""One GPU per run: a run on a GPU holds it for as long as it lasts, unless runs may share."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.config import require
from bench.sweeps.claims import Claim, take
from bench.sweeps.temporary import find_common_folder

POLL = 1.0  # seconds between two looks at GPUs that are all in use


@contextmanager
def hold_gpu(device: str, share: bool, poll: float = POLL) -> Iterator[dict[str, str]]:
    """Hold the GPU that a run will use, and wait while all are in use.

    All harnesses of a machine and user see each other, whatever their results folders.

    Args:
        device: auto, cpu, cuda or cuda:N; nothing is held for the CPU, or on a machine without a GPU.
        share: Whether the run may share a GPU; then nothing is held.
        poll: Seconds between two looks at GPUs that are all in use.

    Yields:
        Variables of the environment that show the run this GPU alone.

    Raises:
        InputError: The folder of the claims belongs to somebody else.
    """
    gpus = [] if share or device == "cpu" else list_gpus()
    if device.startswith("cuda:"):
        number = int(device.removeprefix("cuda:"))
        wanted, variables = gpus[number : number + 1], False
    else:
        wanted, variables = gpus, True
    if not wanted:
        yield {}
        return
    gpu, claim = _wait_for(wanted, poll)
    try:
        yield {"CUDA_VISIBLE_DEVICES": gpu} if variables else {}
    finally:
        claim.release()


def list_gpus() -> list[str]:
    """Return the GPUs this process may use, as `CUDA_VISIBLE_DEVICES` writes them; none without a driver."""
    from bench.measure.machine import machine_facts

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
    if not machine_facts()["gpu"]:
        return []
    import pynvml

    pynvml.nvmlInit()
    try:
        return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _wait_for(gpus: Sequence[str], poll: float) -> tuple[str, Claim]:
    """Return the first GPU of the list that is free, or becomes so, and our claim on it."""
    folder = open_claims()
    while True:
        for gpu in gpus:
            claim = take(folder / f"{gpu.replace('/', '_')}.claim")
            if claim is not None:
                return gpu, claim
        time.sleep(poll)


def open_claims() -> Path:
    """Return the folder of this user's claims on GPUs, in the common folder for temporary files; make it if need be.

    Anybody can make a folder of that name first, or a link: one that others own or may write to is refused. Raises
    InputError.
    """
    folder = find_common_folder() / f"gnn-vs-cnn-gpus-{os.getuid() if os.name == 'posix' else 0}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix":
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        require(ours, f"{folder}, for claims on GPUs, is not a folder of this user alone: remove it, or set TMPDIR")
    return folder
