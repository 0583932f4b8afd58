"""Imports as the source states them: who imports whom, also within functions."""

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@lru_cache
def imported_modules(path: Path) -> frozenset[str]:
    """Every module named in an import of the file `path`; of `from package import module` the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if source_of(name) is not None}
            found |= modules or {node.module}
    return frozenset(found)


def registry_keys(path: str, name: str) -> list[str]:
    """The keys of the dict literal that `name` is at the top level of the file `path`, without importing it."""
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            assert isinstance(node.value, ast.Dict)
            return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    raise LookupError(f"{path} has no registry {name}")


def source_of(module: str) -> Path | None:
    """The file of one of our modules or packages; None for any other name."""
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def modules_of(room: str) -> list[Path]:
    """The files of a room: a folder such as `bench/tables` without the rooms below it, or one module."""
    place = ROOT / room
    return sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def room_of(module: str) -> str:
    """The room of one of our modules, as `tables` or `pipelines/cnn`; of one at the door of `bench/`, its own name."""
    if module.split(".")[0] == "models":
        return "models"
    parts = module.split(".")[1:]
    folders = [part for n, part in enumerate(parts) if ROOT.joinpath("bench", *parts[: n + 1]).is_dir()]
    return "/".join(folders) or ".".join(parts)


def reachable_modules(start: Iterable[str]) -> set[str]:
    """Our modules that those of `start` import, directly or not, themselves included."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        source = source_of(module)
        if source is None or module in found:
            continue
        found.add(module)
        waiting += [name for name in imported_modules(source) if name.split(".")[0] in ("bench", "models")]
    return found
