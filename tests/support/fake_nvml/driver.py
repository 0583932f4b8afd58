"""The stand-in for the driver's library, compiled when a test asks for it, and the file of its answers."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SOURCE = Path(__file__).with_name("nvml.c")
UUID = "GPU-0000-fake"


@dataclass(frozen=True)
class FakeDriver:
    """A compiled stand-in and its file of answers."""

    library: Path
    answers: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which the real pynvml loads the stand-in."""
        return {"LD_LIBRARY_PATH": str(self.library), "FAKE_NVML": str(self.answers)}

    def say(self, **answers: int) -> "FakeDriver":
        """Replace all answers, atomically: other processes may be reading."""
        partial = self.answers.with_suffix(".partial")
        partial.write_text("".join(f"{name} {number}\n" for name, number in answers.items()))
        partial.replace(self.answers)
        return self


def compile_driver(folder: Path, *left_out: str) -> Path:
    """Build `libnvidia-ml.so.1` without some functions (NO_MEMORY_V2, NO_PROCESSES_V3) and return its folder."""
    target = folder / "-".join(("driver", *left_out))
    target.mkdir(exist_ok=True)
    defines = [f"-D{name}" for name in left_out]
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    command = [str(COMPILER), *flags, *defines, str(SOURCE), "-o", str(target / "libnvidia-ml.so.1")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target
