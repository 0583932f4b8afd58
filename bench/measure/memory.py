"""Host memory of a process: its peak since a reset, its resident size now, its proportional share. Bytes throughout."""

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc/self")


@dataclass(frozen=True)
class Peak:
    """Highest resident size since the reset.

    Attributes:
        rss_bytes: The size.
        source: `vmhwm` (the kernel's mark, reset before), `vmhwm_lifetime` (the mark could not be reset: it covers the
            whole life of the process), `ru_maxrss` (macOS, whole life) or `peak_wset` (Windows, whole life).
    """

    rss_bytes: int
    source: str


class MemoryProbe:
    """Memory of this process."""

    def __init__(self) -> None:
        self.hwm_reset = False

    def reset(self) -> bool:
        """Reset the kernel's high-water mark and return whether that worked."""
        try:
            (_PROC / "clear_refs").write_text("5")
        except OSError:
            self.hwm_reset = False
        else:
            self.hwm_reset = True
        return self.hwm_reset

    def peak(self) -> Peak | None:
        """Return the peak since the last successful reset, else of the whole life; None where neither is known."""
        if platform.system() == "Linux":
            mark = _status_bytes("VmHWM")
            return None if mark is None else Peak(mark, "vmhwm" if self.hwm_reset else "vmhwm_lifetime")
        if platform.system() == "Darwin":
            import resource

            return Peak(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "ru_maxrss")  # bytes here, unlike on Linux
        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
        return None if peak is None else Peak(int(peak), "peak_wset")

    def rss(self) -> int:
        """Return the resident size now, in bytes."""
        return int(psutil.Process().memory_info().rss)

    def pss(self) -> int | None:
        """Return the proportional set size in bytes, in which a shared page counts in parts; None outside Linux.

        It takes the kernel milliseconds.
        """
        try:
            lines = (_PROC / "smaps_rollup").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _status_bytes(field: str) -> int | None:
    for line in (_PROC / "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
