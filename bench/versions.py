"""What identifies the code and the libraries behind a number. Standard library only.

A run is another run only if something changed that can change its numbers. `MEASURED` names the modules that can: the
folders and files that `bench/run.py` reaches. Everything else (command line, sweeps, readers of tables, figures,
reports) may be reworded without making finished runs unfinished; `tests/test_versions.py` holds the list to that.
"""

import hashlib
import subprocess
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = (
    *(
        "bench/run.py",
        "bench/config",
        "bench/arms.py",
        "bench/files.py",
        "bench/console",
        "bench/downloads",
        "bench/tables/write.py",
    ),
    "bench/tables/columns.py",
    *("bench/arrays", "bench/datasets", "bench/superpixels", "bench/graphs", "bench/learning", "bench/pipelines"),
    *("bench/scores", "bench/measure", "models"),
)
GRAPHS = (
    "bench/arrays",
    "bench/superpixels",
    "bench/graphs",
    "bench/pipelines/gnn/graph.py",
)  # what a graph is made by
GRAPH_PACKAGES = ("numpy", "numba", "scipy", "scikit-image")


def code_version(places: Sequence[str] = MEASURED, root: Path = ROOT) -> str:
    """Hash the Python files at `places`, whether committed or not.

    Args:
        places: Files and folders relative to `root`.
        root: Folder that holds `bench` and `models`.

    Returns:
        The first 12 hexadecimal digits of the SHA-256 of names and contents.
    """
    digest = hashlib.sha256()
    for path in modules(places, root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def modules(places: Sequence[str] = MEASURED, root: Path = ROOT) -> list[Path]:
    """Return the Python files at `places`, files and folders relative to `root`, sorted by path."""
    found = [sorted((root / place).rglob("*.py")) if (root / place).is_dir() else [root / place] for place in places]
    return sorted(path for paths in found for path in paths)


@lru_cache
def graph_version() -> str:
    """Hash the code and the packages that make a graph of an image; read once per process."""
    packages = repr([(name, metadata.version(name)) for name in GRAPH_PACKAGES])
    return hashlib.sha256((code_version(GRAPHS) + packages).encode()).hexdigest()


def project_version() -> str:
    """Return the version of this project: of the installed package, or what a checkout's pyproject.toml says."""
    try:
        return metadata.version("gnn-vs-cnn")
    except metadata.PackageNotFoundError:
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def git_commit() -> str | None:
    """Return the checkout's commit, followed by `+` where tracked files were changed; None outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
