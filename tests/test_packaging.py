"""What is installed: every package of the tree, and the files that lie beside the code."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from support.source import ROOT

DATA = (".yaml", ".toml", ".json", ".png", ".tif", ".md")  # suffixes of files that code reads beside itself


def read_setuptools() -> dict[str, Any]:
    """The part of pyproject.toml that says what a wheel holds."""
    tables: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    settings: dict[str, Any] = tables["setuptools"]
    return settings


def list_packages() -> set[str]:
    """The packages of the tree by name: folders with an `__init__.py`."""
    found = [path.parent for top in ("bench", "models") for path in ROOT.glob(f"{top}/**/__init__.py")]
    return {".".join(place.relative_to(ROOT).parts) for place in found}


def find_folder(package: str) -> Path:
    """The folder of a package, as setuptools finds it."""
    moved: dict[str, str] = read_setuptools()["package-dir"]
    return ROOT / moved.get(package, package.replace(".", "/"))


def test_the_wheel_lists_every_package_of_the_tree_once() -> None:
    listed = read_setuptools()["packages"]
    assert len(set(listed)) == len(listed)
    assert set(listed) == list_packages() | {"bench.conf"}


def test_every_file_beside_the_code_is_package_data() -> None:
    packages = read_setuptools()["packages"]
    for package, folder in ((name, find_folder(name)) for name in packages):
        patterns = read_setuptools()["package-data"].get(package, [])
        inner = [find_folder(name) for name in packages if name.startswith(f"{package}.")]
        for path in (path for path in folder.rglob("*") if path.suffix in DATA):
            if not any(path.is_relative_to(other) for other in inner):
                place = path.relative_to(folder).as_posix()
                assert any(fnmatch(place, pattern.replace("**/", "*")) for pattern in patterns), path
