"""Facts about the machine that make its numbers comparable, and a short id that identifies no person."""

import hashlib
import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("torch", "torch-geometric", "segmentation-models-pytorch", "numpy", "scikit-image", "numba")
BESIDE_GPU = 4  # threads of torch on the host: 200 steps of the GNN took 6.3 to 7.0 s with them, 7.9 to 8.3 s with 16


def machine_facts() -> dict[str, Any]:
    """Return the facts of this machine, without host name, user or path; unknown ones are None.

    `cores` are the logical cores that this process may use (affinity), `cpu_quota` the cores' worth of time that a
    cgroup allows (None: no limit), `memory_bytes` the smaller of the machine's memory and the cgroup's limit. GPU facts
    are those of the first device of the driver; a run's own device is in its rows. `id` hashes what does not change
    between boots.
    """
    facts: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "memory_bytes": memory_bytes(),
        "platform": _platform(),
        "python": platform.python_version(),
        **{f"{name.replace('-', '_')}_version": _version(name) for name in _PACKAGES},
        **gpu_facts(),
    }
    return {"id": machine_id(facts), **facts}


def machine_id(facts: dict[str, Any]) -> str:
    """Hash the hardware (CPU, cores, memory to the GiB, GPU; no host name, no serial number) to eight digits."""
    gibibytes = math.ceil(facts["memory_bytes"] / 2**30)
    hardware = (facts["cpu"], facts["cores"], gibibytes, facts["gpu"], platform.system(), platform.machine())
    return hashlib.sha256(repr(hardware).encode()).hexdigest()[:8]


def cpu_model() -> str:
    """Return the processor's name as the system reports it."""
    if platform.system() == "Linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of logical cores on which this process may run."""
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Return the cores' worth of time that the cgroup allows; None without a limit."""
    text = read_cgroup("cpu.max", "cpu/cpu.cfs_quota_us")
    if text is None or text.startswith(("max", "-1")):
        return None
    quota = float(text.split()[0])
    period = float(text.split()[1]) if " " in text else float(read_cgroup("cpu.max", "cpu/cpu.cfs_period_us") or 100000)
    return quota / period


def default_threads(device: str = "cpu") -> int:
    """Return the number of usable cores, or the cgroup's quota where that is less; at least 1.

    Where a network computes on another `device` than the cpu, `BESIDE_GPU` at most: what is left to the host is small.
    """
    quota = cpu_quota()
    threads = max(1, min(usable_cores(), math.floor(quota) if quota is not None else usable_cores()))
    return threads if device == "cpu" else min(threads, BESIDE_GPU)


def memory_bytes() -> int:
    """Return the bytes that this process could use: the machine's, or the cgroup's limit where that is less."""
    total = psutil.virtual_memory().total
    text = read_cgroup("memory.max", "memory/memory.limit_in_bytes")
    return min(total, int(text)) if text is not None and text.isdigit() else int(total)


def read_cgroup(unified: str, legacy: str) -> str | None:
    """Read a control file of this process's cgroup; None where it cannot be read.

    `unified` is its name in version 2 of cgroups, `legacy` its `controller/file` in version 1.
    """
    for path in _cgroup_paths(unified, legacy):
        try:
            return path.read_text().strip()
        except OSError:
            continue
    return None


def _cgroup_paths(unified: str, legacy: str) -> list[Path]:
    """List where the file may lie: below the group of /proc/self/cgroup, or in a container at the mount's root."""
    root, controller, name = Path("/sys/fs/cgroup"), *legacy.split("/")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = {controllers: group.lstrip("/") for _, controllers, group in (line.split(":", 2) for line in lines)}
    paths = [root / groups.get("", "") / unified, root / unified]
    for controllers, group in groups.items():
        if controller in controllers.split(","):
            paths += [root / controllers / group / name, root / controller / group / name, root / controller / name]
    return paths


def gpu_facts() -> dict[str, Any]:
    """Return name, memory, driver and CUDA version of the first device of the driver; all None without one."""
    from bench.measure.nvml import first_gpu_facts

    return first_gpu_facts()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _platform() -> str:
    """Return system, kernel to its second number and architecture, without names of builds."""
    return f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} {platform.machine()}"
