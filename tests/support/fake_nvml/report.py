"""Everything that the meter asks of a device, asked in a process that loads the stand-in."""

from typing import Any

from bench.measure import nvml
from bench.measure.doctor import describe_gpus, describe_processes, flag_processes
from bench.measure.gpu import GpuLostError


def report(uuid: str) -> dict[str, Any]:
    """Runs in a process of its own, with the stand-in on its library path."""
    gpu = nvml.open_gpu(uuid)
    try:
        return {
            "present": gpu.present,
            "reason": gpu.reason,
            "lost": gpu.lost,
            "facts": gpu.facts,
            "used": gpu.used_bytes(),
            "processes": gpu.processes(),
            "mismatch": gpu.struct_mismatch,
            "vitals": gpu.vitals(),
            "energy": gpu.energy_joules(),
            "accounting": gpu.accounting_peak_bytes(1),
            "mps": gpu.is_shared_by_mps(),
        }
    except GpuLostError as error:
        return {"lost_later": str(error)}


def uuids(_: None) -> list[str | None]:
    gpus, _reason = nvml.open_gpus()
    return [gpu.facts.uuid for gpu in gpus]


def doctor_lines(_: None) -> tuple[list[str], list[str]]:
    """What doctor would say of the devices, and its flags."""
    gpus, reason = nvml.open_gpus()
    return [*describe_gpus(gpus, reason), *describe_processes(gpus)], flag_processes(gpus)
