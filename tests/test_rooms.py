"""Who may import what: the rule of each room, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.source import ROOT, imported_modules, modules_of, room_of, source_of

ALLOWED = {  # rooms of ours that a room may import, beside itself
    "config": "",
    "files": "config",
    "settings": "config",
    "console": "",
    "versions": "",
    "arms": "config",
    "models": "",
    "arrays": "config",
    "superpixels": "config arrays",
    "graphs": "config arrays superpixels",
    "downloads": "config files console",
    "datasets": "config files console downloads arrays",
    "scores": "config arms arrays datasets superpixels",
    "learning": "config scores",
    "measure": "",
    "pipelines": "config arms files versions arrays datasets learning scores superpixels measure",
    "pipelines/cnn": "config arrays datasets learning scores models pipelines",
    "pipelines/gnn": "config files versions arrays datasets learning scores superpixels graphs models pipelines "
    "measure",
    "pipelines/both": "config arrays datasets learning scores graphs pipelines pipelines/cnn pipelines/gnn",
    "pipelines/trees": "config arrays datasets learning scores superpixels graphs pipelines",
    "run": "config console datasets learning measure pipelines scores tables",
    "tables": "config arms arrays files",
    "plots": "config arms files tables",
    "report": "config arms files tables plots",
    "predict": "config arms arrays files console datasets measure pipelines scores tables",
    "scan": "config files console datasets scores superpixels plots",
    "export": "config files console arrays datasets superpixels graphs pipelines/cnn pipelines/gnn predict",
    "api": "config entry datasets superpixels graphs predict tables",
    "sweeps": "config arms files console settings versions datasets superpixels graphs measure pipelines run tables",
    "perf": "config arms files arrays datasets learning measure models pipelines pipelines/cnn scan scores superpixels "
    "graphs sweeps tables",
    "cli": "config predict settings versions sweeps",
    "entry": "cli",
    "__main__": "entry",
}
LIBRARIES = {  # that a room may not import
    "config": "torch numpy pandas hydra omegaconf matplotlib",
    "arms": "torch numpy pandas hydra omegaconf matplotlib",
    "versions": "torch numpy pandas hydra omegaconf matplotlib",
    "files": "torch numpy pandas hydra omegaconf matplotlib",
    "settings": "torch numpy pandas hydra omegaconf matplotlib",
    "console": "torch numpy pandas hydra omegaconf matplotlib",
    "models": "hydra omegaconf pandas skimage matplotlib",
    "arrays": "torch pandas skimage hydra omegaconf matplotlib",
    "superpixels": "torch pandas hydra omegaconf matplotlib",
    "graphs": "pandas skimage hydra omegaconf matplotlib",
    "downloads": "torch pandas skimage hydra omegaconf matplotlib",
    "datasets": "torch pandas hydra omegaconf matplotlib pooch requests urllib",
    "scores": "torch pandas hydra omegaconf matplotlib",
    "learning": "pandas skimage hydra omegaconf matplotlib",
    "measure": "pandas skimage numpy hydra omegaconf matplotlib",
    "pipelines": "pandas hydra omegaconf matplotlib",
    "pipelines/cnn": "pandas skimage torch_geometric hydra omegaconf matplotlib",
    "pipelines/gnn": "pandas skimage segmentation_models_pytorch hydra omegaconf matplotlib",
    "pipelines/both": "pandas skimage hydra omegaconf matplotlib",
    "pipelines/trees": "torch torch_geometric sklearn pandas skimage hydra omegaconf matplotlib",
    "run": "torch pandas hydra omegaconf matplotlib",
    "tables": "torch matplotlib hydra omegaconf",
    "plots": "torch hydra omegaconf",
    "report": "torch hydra omegaconf",
    "predict": "torch pandas hydra omegaconf matplotlib",
    "scan": "torch hydra omegaconf matplotlib",
    "export": "pandas hydra omegaconf matplotlib",
    "api": "torch pandas hydra omegaconf matplotlib",
    "sweeps": "torch matplotlib",
    "perf": "",
    "cli": "torch pandas matplotlib numpy",
    "entry": "torch pandas matplotlib numpy hydra omegaconf",
    "__main__": "torch pandas matplotlib numpy",
}
ROOMS = sorted({room_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in ROOT.glob("bench/**/*.py")})
DOOR = 8  # modules at the door of bench/, at most


def ours(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    return {name for name in imported_modules(path) if name.split(".")[0] in ("bench", "models")}


def test_every_room_has_a_rule() -> None:
    assert {room for room in ROOMS if room not in ("__init__", "bench")} | {"models"} == set(ALLOWED) == set(LIBRARIES)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_upstream(room: str) -> None:
    paths = modules_of("models" if room == "models" else f"bench/{room}")
    allowed, refused = {room, *ALLOWED[room].split()}, set(LIBRARIES[room].split())
    assert paths, f"{room} has no modules: the rule guards nothing"
    for path in paths:
        for name in imported_modules(path):
            assert name.split(".")[0] not in refused, f"{path.relative_to(ROOT)} imports {name}"
        for name in ours(path):
            assert source_of(name) is not None, f"{path.relative_to(ROOT)} imports {name}, which is not there"
            assert room_of(name) in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_no_rooms_and_no_modules_import_one_another_in_a_circle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ours(path)
        for path in [*ROOT.glob("bench/**/*.py"), *ROOT.glob("models/*.py")]
    }
    rooms: dict[str, set[str]] = {}
    for module, names in modules.items():
        rooms.setdefault(room_of(module), set()).update(room_of(name) for name in names if name in modules)
    for graph in (modules, {room: names - {room} for room, names in rooms.items()}):
        left = dict(graph)
        while left:  # take away whoever imports nobody that is left
            free = [name for name, names in left.items() if not names & set(left) - {name}]
            assert free, f"these import one another: {sorted(left)}"
            left = {name: names for name, names in left.items() if name not in free}


def test_no_public_name_is_defined_in_two_modules() -> None:
    places: dict[str, list[str]] = {}
    for path in [*ROOT.glob("bench/**/*.py"), *ROOT.glob("models/*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_" and node.name != "main":
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_few_modules_stand_at_the_door() -> None:
    assert len([path for path in (ROOT / "bench").glob("*.py") if path.stem not in ("__init__", "__main__")]) <= DOOR


def test_only_kept_graphs_and_workers_know_of_the_meter() -> None:
    """A kept graph reports what making it took; workers get their share of the threads that a run was given."""
    users = {p.name for p in ROOT.glob("bench/pipelines/**/*.py") if any("bench.measure" in n for n in ours(p))}
    assert users == {"parallel.py", "cache.py"}


def test_only_one_module_downloads() -> None:
    """Nothing is fetched but a public data set that was chosen by name."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("bench/**/*.py"), *ROOT.glob("models/*.py")]
        if any(name.split(".")[0] in ("pooch", "requests", "urllib", "http") for name in imported_modules(path))
    }
    assert users - {"bench/sweeps/checks.py"} == {"bench/downloads/download.py"}  # that one takes an address apart


def test_packages_import_nothing_on_their_own() -> None:
    """But `bench.config`, which is one module to its readers: it names what its own modules define."""
    config = ROOT / "bench" / "config" / "__init__.py"
    for path in {*ROOT.glob("bench/**/__init__.py")} - {config}:
        assert not imported_modules(path), path
    assert imported_modules(config) == {f"bench.config.{path.stem}" for path in config.parent.glob("[!_]*.py")}


def test_hydra_stays_in_three_modules() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bench").rglob("*.py")
        if any(name.split(".")[0] in ("hydra", "omegaconf") for name in imported_modules(path))
    }
    assert users == {f"bench/sweeps/{name}.py" for name in ("compose", "launch", "refusals")}


@pytest.mark.parametrize("module", ["bench.cli", "bench.config", "bench.sweeps.jobs", "bench.report.command"])
def test_the_command_line_starts_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_list_of_words_and_no_list_of_error_numbers_stands_in_two_modules() -> None:
    """Of settings or stages that are left out, or of what a full disk is called: one would be changed alone."""
    lists: dict[tuple[str, ...], set[str]] = {}
    for path in (ROOT / "bench").rglob("*.py"):
        name, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
                if len(words) == len(node.elts) >= 4:
                    lists.setdefault(tuple(words), set()).add(name)
            if isinstance(node, ast.Attribute) and node.attr in ("ENOSPC", "EDQUOT", "EFBIG"):
                lists.setdefault(("errno",), set()).add(name)
    assert {words: sorted(where) for words, where in lists.items() if len(where) > 1} == {}
