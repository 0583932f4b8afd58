"""Several result folders at once: machines stay apart, a run counts once, nothing is averaged over two machines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results import make_results, make_run

from bench import cli
from bench.config import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots import all as drawing
    from bench.report.command import write_report
    from bench.report.content import gather
    from bench.tables.collect import collect, load_tables, read_runs
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.folders import FoldersConfig, choose_folders, find_run_file, read_folder_tables


GPU = {"machine__id": "cafef00d", "machine__gpu": "Imaginary GPU", "peak_memory_kind": "gpu_process"}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The same sweep on a machine without and on one with a GPU, where everything takes a tenth of the time."""
    make_results(tmp_path / "a", seeds=2, sizes=(50,), panels=True)
    for seed in range(2):
        for pipeline in ("tiled_cnn", "superpixel_gnn"):
            name = f"gpu-{pipeline}-{seed}"
            row = GPU | {"run_id": name, "dataset__root": "elsewhere", "device": "cuda"}
            make_run(tmp_path / "b", pipeline, seed, 50, slow=0.1, panels=True, **row)  # type: ignore[arg-type]
    return tmp_path / "a", tmp_path / "b"


def test_machines_stay_apart_and_each_says_what_it_says_alone(two: tuple[Path, Path], tmp_path: Path) -> None:
    merged = compare_arms(read_folder_tables(two, tmp_path))
    assert merged["machine"].nunique() == 2
    alone = [compare_arms(collect(folder)) for folder in two]
    assert len(merged) == sum(map(len, alone))
    for part in alone:
        machine = part["machine"].iloc[0]
        ours = merged[merged["machine"] == machine]
        assert ours[["train_s", "dice", "peak_memory_bytes", "seeds"]].to_numpy().tolist() == pytest.approx(
            part[["train_s", "dice", "peak_memory_bytes", "seeds"]].to_numpy(), nan_ok=True
        )


def test_data_of_one_content_is_one_data_set_wherever_it_lies(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert set(list_configurations(read_folder_tables(two, tmp_path))["dataset"]) == {"made_up"}


def test_the_report_has_a_section_per_machine_with_its_own_pictures(two: tuple[Path, Path], tmp_path: Path) -> None:
    tables = read_folder_tables(two, tmp_path)
    sections = gather("r", tables, []).sections
    assert len(sections) == 2
    assert len({section.verdict.lines for section in sections}) == 2
    assert all(len(set(section.runs["machine.id"])) == 1 for section in sections)
    page = write_report(tmp_path, tables, [], two)[1].read_text()
    assert page.count('class="slider"') == 2 * (4 + 2)  # two images; four arms of `a`, two of `b`, no oracle
    assert "Imaginary GPU" in page


def test_a_run_that_lies_in_two_folders_counts_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(two[0] / "runs", tmp_path / "copy" / "runs")
    shutil.copytree(two[1] / "runs" / "gpu-tiled_cnn-0", tmp_path / "copy" / "runs" / "gpu-tiled_cnn-0")
    once, twice = read_folder_tables(two, tmp_path), read_folder_tables((*two, tmp_path / "copy"), tmp_path)
    for name in ("runs", "stages", "scores", "history"):
        assert len(getattr(once, name)) == len(getattr(twice, name)) > 0


def test_two_runs_of_one_name_are_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    run_id = sorted(path.name for path in (two[0] / "runs").iterdir())[0]
    make_run(tmp_path / "c", "oracle", run_id=run_id, started="2027-01-01T00:00:00+00:00")
    with pytest.raises(InputError, match=f"two different runs have the run_id {run_id}"):
        read_folder_tables((two[0], tmp_path / "c"), tmp_path)


def test_a_failed_run_belongs_to_the_machine_of_its_folder(two: tuple[Path, Path], tmp_path: Path) -> None:
    unknown = {"machine__id": None, "machine__cpu": None, "machine__cores": None}
    make_run(two[1], "tiled_cnn", 7, run_id="dead", run_key="dead", status="host_oom", **unknown)  # type: ignore[arg-type]
    runs = list_configurations(read_folder_tables(two, tmp_path))
    [dead] = runs[runs["run_id"] == "dead"]["machine"]
    assert "cafef00d" in dead


def test_tables_alone_are_read_and_keep_the_pictures_drawn_from_runs(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = drawing.list_drawings
    monkeypatch.setattr(drawing, "list_drawings", lambda *given: {"panels": every(*given)["panels"]})
    cli.main(["report", f"results_dir={two[0]}"])
    before = compare_arms(load_tables(two[0]))
    shutil.rmtree(two[0] / "runs")
    assert cli.main(["report", f"results_dir={two[0]}"]) == 0
    assert compare_arms(load_tables(two[0])).equals(before)
    assert (two[0] / "figures" / "panels-made-up.png").exists()
    assert "panels-made-up.png" in (two[0] / "report.md").read_text()


def test_several_folders_are_put_together_in_results_or_where_one_says(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    monkeypatch.chdir(tmp_path)
    assert choose_folders(FoldersConfig(f"{a}")) == ((a,), a)
    assert choose_folders(FoldersConfig(f"{a},{b}")) == (two, Path("results/combined"))
    assert (tmp_path / "results" / "combined").is_dir()
    assert choose_folders(FoldersConfig(f"{a},{b}", str(tmp_path / "o")))[1] == tmp_path / "o"
    assert choose_folders(FoldersConfig(f"{a},{a}")) == ((a,), a)
    (tmp_path / "x,y").mkdir()
    assert choose_folders(FoldersConfig(f"{tmp_path / 'x,y'}"))[0] == (tmp_path / "x,y",)
    assert find_run_file(two, "gpu-tiled_cnn-0", "run.json") == b / "runs" / "gpu-tiled_cnn-0" / "run.json"
    assert find_run_file(two, "none", "run.json") == a / "runs" / "none" / "run.json"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["results_dir={a},/nowhere"], "is not a folder"),
        (["results_dir={a}", "results_dir={a}"], "given twice"),
        (["results_dir={a}", "out=x"], "is not a setting"),
        (["output=x"], "say which folder"),
    ],
)
def test_bad_folders_are_said_in_a_sentence(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], overrides: list[str], sentence: str
) -> None:
    assert cli.main(["collect", *[text.replace("{a}", str(two[0])) for text in overrides]]) == 2
    assert sentence in capsys.readouterr().err


def test_collect_takes_several_folders_and_keeps_their_tables(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["collect", f"results_dir={two[0]},{two[1]}"]) == 0
    assert "Imaginary GPU" in capsys.readouterr().out
    kept, parts = load_tables(tmp_path / "results" / "combined"), [read_runs(folder) for folder in two]
    assert len(kept.runs) == sum(len(part.runs) for part in parts)
    assert len(compare_arms(kept)) == sum(len(compare_arms(part)) for part in parts)
    assert not any((folder / "tables").exists() for folder in two)  # they may be others', or read-only


def test_a_folder_is_read_alike_whether_or_not_it_is_written(two: tuple[Path, Path], tmp_path: Path) -> None:
    read_only, written = read_runs(two[0]), collect(two[0])
    for name in ("runs", "stages", "scores", "history"):
        pd.testing.assert_frame_equal(getattr(read_only, name), getattr(written, name))
    elsewhere = read_folder_tables((two[0],), tmp_path / "o")
    pd.testing.assert_frame_equal(elsewhere.scores, written.scores)
