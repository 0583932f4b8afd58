"""Collecting the tests imports nothing that is slow: such imports wait under `if TYPE_CHECKING:`."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from support.deferred import complete_imports
from support.source import ROOT, source_of

TESTS = sorted(path for folder in ("tests", "tests/support") for path in (ROOT / folder).glob("*.py"))
SLOW = {
    *("torch", "torch_geometric", "torchvision", "segmentation_models_pytorch", "timm", "monai", "numba", "scipy"),
    *("skimage", "sklearn", "pandas", "matplotlib", "hydra", "dask", "distributed", "zarr", "mlflow", "tensorboard"),
}


def imports_at_once(path: Path) -> Iterator[str]:
    """Modules that importing a file imports: those of its top level, unless only type checkers follow them."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [node.module, *(name for name in inner if find(name) is not None)]


def find(module: str) -> Path | None:
    """The file of a module of ours or of the tests' support."""
    support = ROOT.joinpath("tests", *module.split(".")).with_suffix(".py")
    return support if module.startswith("support.") and support.is_file() else source_of(module)


@cache
def slow_imports(path: Path) -> frozenset[str]:
    """What is slow among the imports of a file, direct or not."""
    found: set[str] = set()
    for module in imports_at_once(path):
        source = find(module)
        found |= {module.split(".")[0]} & SLOW if source is None else slow_imports(source)
    return frozenset(found)


@pytest.mark.parametrize("path", [path for path in TESTS if path.parent.name == "tests"], ids=lambda path: path.stem)
def test_a_test_file_is_imported_without_what_is_slow(path: Path) -> None:
    assert not slow_imports(path), "move the import under `if TYPE_CHECKING:`"


def test_waiting_imports_are_made_once_in_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waiting.py").write_text(
        "from typing import TYPE_CHECKING\n\n"
        "if TYPE_CHECKING:\n    import colorsys\n    from fractions import Fraction\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    waiting: ModuleType = __import__("waiting")
    assert not {"colorsys", "Fraction"} & set(vars(waiting))
    complete_imports(waiting)
    assert waiting.colorsys.__name__ == "colorsys"
    del waiting.Fraction
    complete_imports(waiting)
    assert "Fraction" not in vars(waiting)
