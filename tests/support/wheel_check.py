"""`make wheel-check`: builds the wheel, installs it into an empty environment, and runs it outside the checkout.

An installation takes about 6 GB and some minutes, from the index that pip is configured with, so that this is no part
of the tests. `--borrow FOLDER` takes the dependencies from another environment's site-packages instead. Everything
lies in a temporary folder, which is removed. Standard library only.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
RUNS = (
    "pipeline=superpixel_gnn,tiled_cnn,threshold",
    "dataset=nuclei",
    "training.steps=20",
    "training.validate_every=5",
)
LEAST = ("index.html", "report.html", "tables/comparison.csv")  # what the runs leave, below the results folder


def main() -> int:
    """Build, install, run, and print how long each took. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrow", type=Path, help="site-packages of an environment that has the dependencies")
    parser.add_argument("--work", type=Path, help="folder, not there yet, to run in, which is kept")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="wheel-check-") as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        programs = install(wheel, folder / "environment", given.borrow)
        work = (given.work or folder / "work").resolve()
        work.mkdir()
        check_program(programs / "gnn-vs-cnn", work)
    print("the wheel is fine")
    return 0


def build(folder: Path) -> Path:
    """Build the wheel of the checkout. Returns its path."""
    call(
        "build",
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        ROOT,
    )
    [wheel] = folder.glob("gnn_vs_cnn-*.whl")
    return wheel


def install(wheel: Path, environment: Path, borrow: Path | None) -> Path:
    """Make an environment with the wheel.

    Args:
        wheel: The wheel.
        environment: Folder to be made.
        borrow: A site-packages folder that has the dependencies; None: they are installed.

    Returns:
        The folder of its programs.
    """
    call("environment", [sys.executable, "-m", "venv", str(environment)], ROOT)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    options = ["--constraint", str(ROOT / "constraints.txt")]
    if borrow is not None:
        [packages] = environment.glob("lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(f"{borrow.resolve()}\n")
        options = ["--no-deps", "--no-index", "--ignore-installed"]
    call("install", [str(programs / "python"), "-m", "pip", "install", "--quiet", *options, str(wheel)], ROOT)
    return programs


def check_program(program: Path, work: Path) -> None:
    """Ask the program for its help and version, let it run every kind of arm for a few steps, and read what it left."""
    call("--version", [str(program), "--version"], work)
    assert "experiment=NAME" in call("--help", [str(program), "--help"], work)
    results = work / "results" / "check"
    call("runs", [str(program), "--multirun", *RUNS, f"results_dir={results}"], work)
    call("index", [str(program), "index", f"results_dir={results}"], work)
    call("network", [str(program), "network", f"run={results}", "out=unet.zip"], work)
    for name in LEAST:
        assert (results / name).is_file(), f"{name} is missing"
    with (results / "tables" / "runs.csv").open(encoding="utf-8", newline="") as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["ok"] * 3, statuses


def call(title: str, command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder without this checkout on its path; print its seconds. Returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(f"{title}: {time.monotonic() - started:.0f} s", flush=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
