"""NVIDIA's driver through pynvml: its devices and their readings."""

import os
import sys
from typing import Any

from bench.measure.gpu import Gpu, GpuFacts, GpuLostError, NoGpu, Process, Vitals

# Return codes of NVML's C interface, which never change.
_INSUFFICIENT_SIZE, _GPU_IS_LOST, _UNKNOWN = 7, 15, 999
_LOST = (_GPU_IS_LOST, _UNKNOWN)
_IMPOSSIBLE_PIDS = (0, 2**32 - 1)


class UnavailableError(RuntimeError):
    """There is no driver. The message says why in one sentence."""


class NvmlGpu:
    """A device of the driver.

    `nvml` is the loaded and initialised module pynvml, `handle` its handle of the device or MIG slice.
    """

    present = True
    lost = False
    reason = ""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self.struct_mismatch = False
        api = self._memory_api()
        self._memory_version = nvml.nvmlMemory_v2 if api == "v2" else None
        uuid = self._ask("nvmlDeviceGetUUID")
        memory = None if api == "none" else self._memory()
        self.facts = GpuFacts(
            name=self._ask("nvmlDeviceGetName"),
            uuid=uuid,
            total_bytes=None if memory is None else int(memory.total),
            driver=_call(nvml, "nvmlSystemGetDriverVersion"),
            cuda=_cuda_version(_call(nvml, "nvmlSystemGetCudaDriverVersion_v2")),
            memory_api=api,
            mig=str(uuid).startswith("MIG-"),
            wddm=self._wddm(),
        )

    def used_bytes(self) -> int | None:
        """Return total minus free, which unlike NVML's `used` means the same in both versions of the call."""
        memory = self._memory()
        return None if memory is None else int(memory.total) - int(memory.free)

    def processes(self) -> list[Process] | None:
        """Return compute and graphics processes, one entry each; None where the list is missing or impossible."""
        compute = self._list("nvmlDeviceGetComputeRunningProcesses")
        if compute is None:
            return None
        graphics = self._list("nvmlDeviceGetGraphicsRunningProcesses")
        used: dict[int, int | None] = {}
        for entry in [*compute, *(graphics or [])]:
            used[entry.pid] = max(used.get(entry.pid) or 0, entry.usedGpuMemory or 0) or None
        if any(self._is_impossible(pid, value) for pid, value in used.items()):
            self.struct_mismatch = True
            return None
        computing = {entry.pid for entry in compute}
        return [Process(pid, value, pid in computing) for pid, value in used.items()]

    def vitals(self) -> Vitals:
        """Read power, temperature, clock, throttling and utilisation."""
        power = self._ask("nvmlDeviceGetPowerUsage")
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return Vitals(
            power_watts=None if power is None else power / 1000,
            temperature_celsius=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            throttle_reasons=self._ask("nvmlDeviceGetCurrentClocksThrottleReasons"),
            utilization_percent=None if rates is None else int(rates.gpu),
        )

    def energy_joules(self) -> float | None:
        """Return the counter since the driver was loaded; None on a MIG slice, as the counter is the whole card's."""
        if self.facts.mig:
            return None
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def accounting_peak_bytes(self, pid: int) -> int | None:
        """Return the driver's own maximum for a process where accounting mode is on; nothing here switches it on."""
        if self._ask("nvmlDeviceGetAccountingMode") != self._nvml.NVML_FEATURE_ENABLED:
            return None
        stats = self._ask("nvmlDeviceGetAccountingStats", pid)
        return None if stats is None or not stats.maxMemoryUsage else int(stats.maxMemoryUsage)

    def is_shared_by_mps(self) -> bool:
        """Whether an MPS server runs kernels of several processes in one context, whose memory cannot be separated."""
        return bool(self._ask("nvmlDeviceGetMPSComputeRunningProcesses_v2"))

    def _ask(self, question: str, *arguments: Any) -> Any:
        return _call(self._nvml, question, self._handle, *arguments)

    def _memory(self) -> Any:
        return self._ask("nvmlDeviceGetMemoryInfo", self._memory_version)

    def _memory_api(self) -> str:
        if self._ask("nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2) is not None:
            return "v2"
        return "v1" if self._ask("nvmlDeviceGetMemoryInfo") is not None else "none"

    def _list(self, newest: str) -> Any:
        """Return a process list. With an older driver pynvml raises an error that is no NVMLError, and needs `_v2`."""
        try:
            return self._ask(newest)
        except self._nvml.NVMLLibraryMismatchError:
            return self._ask(f"{newest}_v2")

    def _is_impossible(self, pid: int, used: int | None) -> bool:
        total = self.facts.total_bytes
        return pid in _IMPOSSIBLE_PIDS or (used is not None and total is not None and used > total)

    def _wddm(self) -> bool:
        model = self._ask("nvmlDeviceGetDriverModel")
        current = model[0] if isinstance(model, (list, tuple)) else model
        return current is not None and int(current) == self._nvml.NVML_DRIVER_WDDM


def _call(nvml: Any, question: str, *arguments: Any) -> Any:
    """Call a function of NVML; None where the driver, or this pynvml, does not have it.

    A list that grew between two calls is read once more.
    """
    function = vars(nvml).get(question)
    for _ in range(2):
        try:
            return None if function is None else function(*arguments)
        except nvml.NVMLError as error:
            if error.value in _LOST:
                raise GpuLostError(f"the driver lost the GPU: {error}") from error
            if error.value != _INSUFFICIENT_SIZE:
                return None
    return None


def _cuda_version(number: int | None) -> str | None:
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"


def load_nvml() -> Any:
    """Return the module pynvml, initialised. Raises `UnavailableError` with the reason where there is no driver."""
    try:
        import pynvml
    except ImportError:
        raise UnavailableError("the package nvidia-ml-py is not installed") from None
    if "_nvmlGetFunctionPointer" not in vars(pynvml):
        sentence = "the module pynvml comes from another package; uninstall that one and install nvidia-ml-py"
        raise UnavailableError(sentence)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    return pynvml


def open_gpu(uuid: str) -> Gpu:
    """Open the device or MIG slice with this UUID (with or without GPU- or MIG- before it), else a `NoGpu`.

    On a card that is cut into slices a process sees one slice only: the one that CUDA_VISIBLE_DEVICES names, or the
    only one.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [visible] if visible.startswith("MIG-") else [uuid, f"GPU-{uuid}", f"MIG-{uuid}"]
    try:
        nvml = load_nvml()
        handles = [found for name in names if (found := _call(nvml, "nvmlDeviceGetHandleByUUID", name)) is not None]
        if not handles:
            return NoGpu(f"the driver knows no device with the UUID {names[0]}", lost=True)
        parts = _slices(nvml, handles[0]) or handles[:1]
        if len(parts) > 1:
            return NoGpu("the card is cut into MIG slices; name one in CUDA_VISIBLE_DEVICES", lost=True)
        return NvmlGpu(nvml, parts[0])
    except UnavailableError as error:
        return NoGpu(str(error))
    except GpuLostError as error:
        return NoGpu(str(error), lost=True)


def _slices(nvml: Any, handle: Any) -> list[Any]:
    """Return handles of the MIG slices of a card; none where it is not cut, or is itself a slice."""
    mode = _call(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return []
    count = _call(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    slices = [_call(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index) for index in range(count)]
    return [part for part in slices if part is not None]


def open_gpus() -> tuple[list[NvmlGpu], str]:
    """Open every device of the driver (of a card cut by MIG its slices); the text says why there is none."""
    try:
        nvml = load_nvml()
        count = _call(nvml, "nvmlDeviceGetCount") or 0
        cards = [_call(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(count)]
        parts = [part for card in cards if card is not None for part in _slices(nvml, card) or [card]]
        gpus = [NvmlGpu(nvml, part) for part in parts]
    except (UnavailableError, GpuLostError) as error:
        return [], str(error)
    return gpus, "" if gpus else f"the driver shows no device to this process on {sys.platform}"


def first_gpu_facts() -> dict[str, Any]:
    """Return name, memory, driver and CUDA version of the first device; all None without one."""
    gpus, _ = open_gpus()
    facts = gpus[0].facts if gpus else GpuFacts()
    return {
        "gpu": facts.name,
        "gpu_memory_bytes": facts.total_bytes,
        "gpu_driver": facts.driver,
        "gpu_cuda": facts.cuda,
    }
