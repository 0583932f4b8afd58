"""Who may import what: the layout's rules, read off the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "models": {"bench", "hydra", "omegaconf", "pandas", "skimage", "matplotlib"},
    "bench/config.py": {"torch", "hydra", "omegaconf", "numpy", "pandas"},
    "bench/learning/fitlog.py": {"torch", "numpy", "bench"},
    "bench/arrays/tiles.py": {"torch", "bench", "skimage", "pandas"},
    "bench/superpixels": {"torch", "models", "bench.graphs", "bench.pipelines", "bench.datasets", "bench.learning"},
    "bench/graphs": {"models", "bench.learning", "bench.pipelines", "bench.datasets", "bench.measure"},
    "bench/scores/metrics.py": {"torch", "bench"},
    "bench/tables/statistics.py": {"torch", "bench.pipelines", "bench.run"},
    "bench/datasets": {"torch", "bench.pipelines", "bench.learning", "bench.measure", "requests", "urllib"},
    "bench/learning": {"models", *(f"bench.{room}" for room in ("graphs", "datasets", "measure", "pipelines"))},
    "bench/learning/losses.py": {"models", "bench"},
    "bench/pipelines": {"bench.measure", "bench.scores", "bench.tables", "hydra", "bench.run"},
    "bench/measure": {
        "bench.config", "bench.datasets", "bench.pipelines", "bench.learning", "bench.superpixels", "bench.graphs",
        "bench.tables", "bench.scores", "bench.run", "models", "pandas", "skimage", "numpy",
    },
    "bench/tables": {"torch", "matplotlib", "bench.run", "bench.pipelines"},
    "bench/plots": {"torch", "bench.run", "bench.pipelines", "hydra"},
    "bench/report": {"torch", "bench.run", "bench.pipelines", "hydra"},
    "bench/run.py": {"hydra", "omegaconf", "matplotlib"},
}  # fmt: skip
ARMS = ("tiled_cnn", "superpixel_gnn", "controls")
HYDRA_ONLY_IN = {Path("bench/cli.py"), Path("bench/sweeps/launch.py")}


def files(room: str) -> list[Path]:
    """The modules of a room: a folder, a file, or a name that may be either."""
    path = ROOT / room
    found = sorted(path.rglob("*.py")) if path.is_dir() else [path if path.suffix else path.with_suffix(".py")]
    return [file for file in found if file.is_file()]


def imported(path: Path) -> Iterator[str]:
    """Every module named in an import of `path`, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_lies_upstream(room: str) -> None:
    assert files(room), f"{room} has no modules: the rule guards nothing"
    for path in files(room):
        for name in imported(path):
            broken = [other for other in FORBIDDEN[room] if name == other or name.startswith(other + ".")]
            assert not broken, f"{path.relative_to(ROOT)} imports {name}"


def test_the_arms_do_not_know_each_other() -> None:
    for arm in ARMS:
        others = {f"bench.pipelines.{other}" for other in ARMS if other != arm}
        for path in files(f"bench/pipelines/{arm}"):
            assert not others & set(imported(path)), path


def test_hydra_stays_in_one_module() -> None:
    users = {
        path.relative_to(ROOT)
        for path in (ROOT / "bench").rglob("*.py")
        if any(name.split(".")[0] in ("hydra", "omegaconf") for name in imported(path))
    }
    assert users == HYDRA_ONLY_IN


@pytest.mark.parametrize("module", ["bench.cli", "bench.config", "bench.sweeps.jobs", "bench.tables", "bench.report"])
def test_the_command_line_starts_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
