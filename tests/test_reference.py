"""The list behind results/reference names every folder; what is published holds no paths of the machine."""

import sys
from pathlib import Path

import pytest
from support import make_reference
from support.make_reference import Entry, describe_entries, make_entry, publish, read_entries


def test_every_published_folder_is_in_the_list() -> None:
    listed = {entry.name for entry in read_entries()}
    assert {path.name for path in make_reference.REFERENCE.iterdir() if path.is_dir()} <= listed


def test_data_sets_are_filled_in_below_their_folder() -> None:
    entry = Entry("both", ("experiment=quick", "experiment=rivals dataset.root={one} a={two}", "b={one}"), 1)
    assert entry.sets == ["one", "two"]
    words = entry.fill_commands(Path("data"))
    assert words == [["experiment=quick"], ["experiment=rivals", "dataset.root=data/one", "a=data/two"], ["b=data/one"]]


def test_an_entry_that_needs_a_gpu_is_left_out_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_reference, "open_gpus", lambda: ([], "no driver"))
    (tmp_path / "one").mkdir()
    entry = Entry("gpu", ("experiment=gpu_reference dataset.root={one}",), 5, gpu=True)
    assert make_reference.find_missing(entry, tmp_path) == ["GPU"]
    assert make_reference.find_missing(entry, None) == ["GPU", "one below DATA"]
    monkeypatch.setattr(make_reference, "open_gpus", lambda: (["a card"], ""))
    assert make_reference.find_missing(entry, tmp_path) == []


def test_what_is_made_is_not_made_again_and_counts_no_time(tmp_path: Path) -> None:
    entries = [Entry("first", ("experiment=quick",), 60), Entry("second", ("perf",), 30, rough=True)]
    assert "about 1.5 h" in describe_entries(entries, tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "first").touch()
    text = describe_entries(entries, tmp_path)
    assert "first: made" in text
    assert "second: about 30 min" in text
    assert "about 0.5 h" in text
    assert make_entry(entries[0], None, tmp_path) == 0


def test_tables_report_and_png_are_published_in_place_of_the_old_ones(tmp_path: Path) -> None:
    results, target = tmp_path / "results", tmp_path / "reference" / "rivals"
    for name in ("tables/runs.csv", "report.md", "report.html", "figures/front.png", "figures/front.svg", "runs/1/x"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text(f"dataset.root={tmp_path}/sets/nuclei\r\n", encoding="utf-8", newline="")
    target.mkdir(parents=True)
    (target / "old.csv").touch()
    publish(Entry("rivals", (), 1), results, target, {f"{tmp_path}/sets": "path/to/sets"})
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert found == ["figures/front.png", "report.md", "tables/runs.csv"]
    assert (target / "tables" / "runs.csv").read_bytes() == b"dataset.root=path/to/sets/nuclei\r\n"


@pytest.mark.parametrize("code", [1, 2])
def test_a_list_that_was_stopped_publishes_nothing_and_says_how_to_go_on(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_reference, "check_out", lambda work: work)
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path, code)))
    monkeypatch.setattr(make_reference, "REFERENCE", tmp_path / "reference")
    assert make_entry(Entry("quick", ("experiment=quick",), 1), None, tmp_path) == code
    assert "goes on" in capsys.readouterr().err
    assert not (tmp_path / "reference").exists()


def write_program(folder: Path, code: int) -> Path:
    """Write a program that does nothing but end with an exit code."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    return program
