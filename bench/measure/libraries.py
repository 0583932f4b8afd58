"""Which libraries a process has loaded, and how much resident memory their files take."""

import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

_SMAPS = Path("/proc/self/smaps")
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")  # the line that begins a mapping


def list_libraries() -> list[str]:
    """Names of the installed packages that are imported by now, without the standard library, sorted."""
    places = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    found = {
        name.partition(".")[0]
        for name, module in list(sys.modules.items())
        if (getattr(module, "__file__", None) or "").startswith(places)
    }
    return sorted(name for name in found if not name.startswith("_"))


def measure_mapped_bytes() -> dict[str, int]:
    """Resident bytes of the files that this process maps, by installed package, largest first.

    Files of no package go by their own names; memory without a file is under `no file`. Empty where the system does
    not say (only Linux does).
    """
    try:
        lines = _SMAPS.read_text().splitlines()
    except OSError:
        return {}
    sizes, owner = Counter[str](), ""
    for line in lines:
        if _MAPPING.match(line):
            owner = _owner(line.split(maxsplit=5)[5:])
        elif line.startswith("Rss:"):
            sizes[owner] += int(line.split()[1]) * 1024
    return dict(sizes.most_common())


def _owner(path: list[str]) -> str:
    """The package whose folder of `site-packages` holds the file, else the file's name."""
    if not path or path[0].startswith("["):
        return "no file"
    parts = Path(path[0]).parts
    if "site-packages" not in parts:
        return parts[-1]
    return parts[parts.index("site-packages") + 1].removesuffix(".libs")  # what auditwheel puts beside a package
