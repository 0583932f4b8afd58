"""What is installed: every package of the tree, and the files that lie beside the code; and what others read of it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.source import ROOT

from bench.entry.start import MARKS, describe_stranger

DATA = (".yaml", ".toml", ".json", ".png", ".tif", ".md", ".txt")  # suffixes of files that code reads beside itself


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
    assert set(listed) == list_packages() | {"bench.conf", "gnn_vs_cnn"}


def test_every_file_beside_the_code_is_package_data() -> None:
    packages, found = read_setuptools()["packages"], set[str]()
    for package, folder in ((name, find_folder(name)) for name in packages):
        patterns = read_setuptools()["package-data"].get(package, [])
        inner = [find_folder(name) for name in packages if name.startswith(f"{package}.")]
        for path in (path for path in folder.rglob("*") if path.suffix in DATA):
            if not any(path.is_relative_to(other) for other in inner):
                place = path.relative_to(folder).as_posix()
                assert any(fnmatch(place, pattern.replace("**/", "*")) for pattern in patterns), path
                found.add(package)
    assert {"bench.conf", "bench.tables", "bench.downloads"} <= found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by setuptools from a copy of what it is made of, and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("bench", "models", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    [path] = (folder / "dist").glob("gnn_vs_cnn-*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def list_files(folder: Path) -> set[str]:
    """The files of a folder of code, without what Python caches."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_wheel_holds_every_file_of_the_packages_and_every_setting(wheel: Path) -> None:
    assert list_files(wheel / "bench") - {f"conf/{name}" for name in list_files(ROOT / "conf")} == list_files(
        ROOT / "bench"
    )
    assert list_files(wheel / "bench" / "conf") == list_files(ROOT / "conf")
    assert list_files(wheel / "models") == list_files(ROOT / "models")
    [about] = wheel.glob("*.dist-info")
    assert list_files(wheel / "gnn_vs_cnn") == list_files(ROOT / "bench" / "entry")
    assert "gnn-vs-cnn = gnn_vs_cnn.start:main" in (about / "entry_points.txt").read_text()
    assert (about / "licenses" / "LICENSE").is_file()


def test_the_program_starts_from_the_wheel_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(wheel), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench", "--cfg", "job", "dataset=nist_phase_colony"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "subset: nist_phase_colony" in done.stdout
    where = [sys.executable, "-P", "-c", "import bench.cli; print(bench.cli.__file__)"]
    printed = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(printed.strip()).is_relative_to(wheel)


def test_our_packages_have_the_files_that_tell_them_from_others() -> None:
    assert set(MARKS) == {"bench", "models"}
    assert all((ROOT / name / mark).is_file() for name, mark in MARKS.items())
    assert describe_stranger() == ""


@pytest.mark.parametrize("name", ["bench", "models"])
def test_a_package_that_hides_ours_is_named_in_one_sentence(wheel: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('code of a stranger')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, wheel)))}
    code = "from gnn_vs_cnn.start import main; raise SystemExit(main())"
    command = [sys.executable, "-P", "-c", code, "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {tmp_path / name} is another package called {name!r} and hides the one of gnn-vs-cnn: start in "
        "another folder, take it off PYTHONPATH, or give gnn-vs-cnn an environment of its own (docs/install.md)"
    ]
    (tmp_path / name / "__init__.py").unlink()  # a folder that is no package hides nothing
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gnn-vs-cnn ")


def test_the_citation_names_this_version_and_the_article() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(cited["version"]) == project["version"]
    assert cited["license"] == project["license"]
    assert [one["doi"] for one in cited["references"]] == ["10.1093/jmicro/dfad049"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_the_container_and_the_workflow_run_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    container = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    commands = [*container.replace('"make", "', "RUN make ").splitlines(), *workflow.splitlines()]
    named = {found[1] for line in commands if (found := re.search(r"(?:RUN|run:).* ?make ([a-z-]+)", line))}
    assert {"install", "bench", "test", "wheel-check"} <= named <= targets
    for line in container.splitlines():
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
    assert yaml.safe_load(workflow)["jobs"]["test"]["steps"]
