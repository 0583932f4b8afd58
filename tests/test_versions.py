"""A run is another run only where code changed that can change its numbers: the allow-list is what a run reaches."""

from pathlib import Path

import pytest
from support.source import imported_modules, reachable_modules

from bench import versions
from bench.arms import ARMS
from bench.superpixels.registry import SUPERPIXELS

ROOT = Path(__file__).parents[1]
READERS = ("cli", "sweeps", "plots", "report", "predict", "perf")


def run_modules() -> set[str]:
    """Every module of ours that a run may load: what `bench.run` imports, and what registries load by name."""
    chosen = [arm.implementation for arm in ARMS.values()] + [method.function for method in SUPERPIXELS.values()]
    return reachable_modules(["bench.run", *(name.split(":")[0] for name in chosen)])


def test_every_module_that_a_run_reaches_is_in_the_allow_list() -> None:
    listed = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in versions.modules()}
    missing = {name for name in run_modules() if name.removesuffix(".__init__") not in listed | {"bench"}}
    assert not {name for name in missing if f"{name}.__init__" not in listed and name not in ("bench.versions",)}


@pytest.mark.parametrize("room", READERS)
def test_what_only_starts_or_reads_runs_is_not_in_the_allow_list(room: str) -> None:
    paths = {path.relative_to(ROOT / "bench").parts[0] for path in versions.modules() if "bench" in path.parts[-3:]}
    assert room not in paths
    assert f"{room}.py" not in paths
    assert not [name for name in run_modules() if name.startswith(f"bench.{room}")]


def test_a_run_reads_no_tables() -> None:
    assert {name for name in run_modules() if name.startswith("bench.tables.")} == {
        "bench.tables.write",
        "bench.tables.columns",
    }


def test_a_graph_is_made_by_the_modules_of_its_version() -> None:
    listed = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in versions.modules(versions.GRAPHS)}
    makers = reachable_modules(["bench.graphs.build", *(m.function.split(":")[0] for m in SUPERPIXELS.values())])
    assert {name for name in makers if not name.startswith("bench.config")} <= listed | {"bench", "bench.graphs"}


def test_the_version_follows_content_and_place_of_listed_files_alone(tmp_path: Path) -> None:
    for name in ("bench/run.py", "bench/report/text.py", "models/net.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("pass\n")
    places = ("bench/run.py", "models")

    def version() -> str:
        return versions.code_version(places, tmp_path)

    first = version()
    (tmp_path / "bench/report/text.py").write_text("word = 1\n")
    assert version() == first
    (tmp_path / "models/net.py").write_text("word = 1\n")
    second = version()
    assert second != first
    (tmp_path / "models/net.py").rename(tmp_path / "models/other.py")
    assert version() not in (first, second)


def test_nothing_listed_is_missing() -> None:
    for place in (*versions.MEASURED, *versions.GRAPHS):
        assert (ROOT / place).exists(), place
    assert "bench.run" in imported_modules(ROOT / "bench" / "sweeps" / "jobs.py")
