"""Every measured column is explained in results/README.md, and the explanation names no column that is not there."""

import re
from pathlib import Path

import pytest

from bench.measure.machine import machine_facts
from bench.measure.meter import Meter

TEXT = (Path(__file__).parents[1] / "results" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Meter:
    with Meter(tmp_path_factory.mktemp("run"), "cpu") as meter, meter.stage("train", "train"):
        pass
    return meter


def explained(section: str) -> set[str]:
    """Names in the first cells of the tables below a heading, up to the next heading of the same level."""
    part = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (chapter,) = (chapter for chapter in part if chapter.startswith(section))
    cells = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_stages(meter: Meter) -> None:
    assert explained("`stages`") == set(meter.rows()[0])


def test_runs(meter: Meter) -> None:
    names = explained("Measured columns of `runs`")
    assert set(meter.facts()) <= names
    machine = {f"machine.{name}" for name in machine_facts()}
    unexplained = {name for name in machine - names if not name.endswith("_version")}
    assert unexplained == set()
    assert {name for name in names if name.startswith("machine.") and "*" not in name} <= machine
