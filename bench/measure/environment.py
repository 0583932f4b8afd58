"""The pinned environment of a run: variables set before its interpreter starts, and settings of torch afterwards."""

import os
from importlib import metadata
from typing import Any

from bench.measure.machine import cpu_model, default_threads

LOOKS = {"AMD": 1000}  # of a thread that waits, by the first word of the processor's name: its pauses are shorter
OTHER_LOOKS = 500
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def pin_environment(threads: int) -> dict[str, str]:
    """Return the variables of a run's process: device order, lazy modules, the plain allocator, thread counts.

    Kernels are loaded lazily (a context costs less than half as much), the allocator is torch's own without expandable
    segments (whose frees would spoil the proof that a peak is exact), and every library may use `threads` threads.
    How these wait for one another is `choose_waiting`.
    """
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MODULE_LOADING": "LAZY",
        allocator_variable(): "backend:native,expandable_segments:False",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        **choose_waiting(cpu_model()),
        **{name: str(threads) for name in THREAD_VARIABLES},
    }


def choose_waiting(processor: str) -> dict[str, str]:
    """Return the variables that say how threads of torch wait for one another: they look some times, then they sleep.

    Threads that spin keep a busy machine's cores from the one that they wait for, which made a fit beside other work
    take many times as long; threads that sleep at once are woken late. 200 steps of a graph network on two cores took,
    quiet and beside the same fit: on an Intel Xeon 7.7 s and 12.2 s with 500 looks, 9.7 s and 10.0 s with none, 87 s
    beside another with 20,000; on an AMD EPYC 4.0 s and 6.4 s with 500, 3.2 s and 7.9 s with 1000, 3.2 s and 10.8 s
    with 2000.
    """
    looks = LOOKS.get(processor.partition(" ")[0], OTHER_LOOKS)
    return {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(looks)}


def let_threads_sleep() -> None:
    """Have threads of torch sleep while they wait for one another, in a process that has not loaded it yet.

    What is set already stays.
    """
    for name, value in choose_waiting(cpu_model()).items():
        os.environ.setdefault(name, value)


def allocator_variable() -> str:
    """Return the variable from which torch reads its allocator's settings; the older name warns since torch 2.9."""
    try:
        major, minor = (int(part) for part in metadata.version("torch").split(".")[:2])
    except metadata.PackageNotFoundError:
        return "PYTORCH_ALLOC_CONF"
    return "PYTORCH_ALLOC_CONF" if (major, minor) >= (2, 9) else "PYTORCH_CUDA_ALLOC_CONF"


def pin_torch(threads: int | None, device: str = "cpu") -> dict[str, Any]:
    """Set what can only be set inside torch, the same for every arm, and return the settings as columns of the row.

    Autotuning of convolutions is off (it tries algorithms whose workspaces would count as the arm's memory),
    TF32 is off, and cuDNN picks deterministic algorithms. Operations without a deterministic version keep running.
    Without `threads` they are as many as the machine gives; where a network computes on a GPU, which `device` (auto,
    cpu, cuda, cuda:N) allows and torch sees, few.
    """
    import torch

    on_gpu = device != "cpu" and torch.cuda.is_available()
    torch.set_num_threads(threads or default_threads("cuda" if on_gpu else "cpu"))
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return {
        "torch_threads": torch.get_num_threads(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
