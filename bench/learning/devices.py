"""Seeds, devices and number types: where and in what precision a network computes."""

import os
import random

import numpy as np
import torch

from bench.config import InputError


def seed_everything(seed: int, device: torch.device | None = None) -> np.random.Generator:
    """Seed Python and torch, ask a GPU for deterministic kernels, and return a numpy generator of the same seed."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if device is not None and device.type == "cuda":
        _prefer_deterministic()
    return np.random.default_rng(seed)


def _prefer_deterministic() -> None:
    """Have torch use deterministic algorithms where it has them; operations without one keep running, and warn.

    The variable is what cuBLAS needs for it, and is read at its first use. Memory that is only reserved is not filled.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # of its class


def resolve_device(name: str) -> torch.device:
    """Return the device called auto, cpu, cuda or cuda:N; auto is the first GPU where there is one.

    Raises `InputError` where that GPU is not there.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if available else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise InputError(f"device={name} is a GPU that torch does not see ({available} found): use device=cpu or auto")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def amp_dtype(device: torch.device, amp: bool) -> torch.dtype:
    """Return the type of matrix products: bfloat16 or float16 with `amp` on a GPU, else float32."""
    if not amp or device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def choose_dtype(precision: str, device: torch.device, amp: bool) -> torch.dtype:
    """Choose the type that convolutions and matrix products run in.

    Args:
        precision: auto | float32 | bfloat16.
        device: Where they run.
        amp: Whether mixed precision may be used.

    Returns:
        float32, float16 or bfloat16. `auto` takes bfloat16 on CPUs that have instructions for it, where a U-Net's step
        takes about half the time and its activations half the memory, and a product of a graph network a quarter.
    """
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type != "cpu":
        return amp_dtype(device, amp)
    capable = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16"))
    return torch.bfloat16 if amp and capable else torch.float32


def autocast(device: torch.device, amp: bool) -> torch.autocast:
    """Return the mixed-precision context of training, for validation and prediction to use as well."""
    return autocast_to(device, amp_dtype(device, amp))


def autocast_to(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return a context in which convolutions and matrix products run in `dtype`; with float32 nothing is cast."""
    mixed = dtype is not torch.float32
    return torch.autocast(device.type, dtype=dtype if mixed else torch.bfloat16, enabled=mixed)
