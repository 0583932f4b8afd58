"""Run directories and their tables: whole or absent, twice the same, nothing averaged that should not be."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.results import IMAGES, ceiling, copy_results, make_results, make_run, score, write_run

from bench import cli
from bench.config import InputError, TrainingConfig
from bench.files import write_atomically
from bench.tables.columns import TABLES, list_required
from bench.tables.write import protect, restore, write_row

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables.chosen import choose_configurations
    from bench.tables.collect import Tables, collect, frame_to_csv, load_tables, select_current
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.text import COLUMNS, format_table, make_arms_table


LATER = "2026-02-01T09:20:30+00:00"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("template"), seeds=2)


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copy_results(template, tmp_path / "results")


def row(tables: Tables, arm: str, size: float = math.nan) -> dict[Any, Any]:
    frame = compare_arms(tables)
    at_size = frame["superpixel_size"].isna() if math.isnan(size) else frame["superpixel_size"] == size
    found: list[dict[Any, Any]] = frame[(frame["arm"] == arm) & at_size].to_dict("records")
    assert len(found) == 1
    return found[0]


def table_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}


def test_collecting_twice_gives_the_same_bytes_in_any_order_of_writing(folder: Path, tmp_path: Path) -> None:
    collect(folder)
    first = table_bytes(folder)
    collect(folder)
    assert table_bytes(folder) == first
    other = tmp_path / "other"
    for directory in sorted((folder / "runs").iterdir(), reverse=True):
        (other / "runs" / directory.name).mkdir(parents=True)
        for path in directory.iterdir():
            (other / "runs" / directory.name / path.name).write_bytes(path.read_bytes())
    collect(other)
    assert table_bytes(other) == first


def test_loading_gives_back_what_was_written(tmp_path: Path) -> None:
    run = {
        "run_id": "r",
        "status": "ok",
        "seed": 3,
        "peak_memory_bytes": 2**40 + 1,
        "run_key": "00012",
        "odd": [1, "a"],
    }
    scores = [
        {"split": "test", "image": name, "metric": "dice", "class": "NA", "value": 0.1 + 0.2} for name in ("001", "NA")
    ]
    write_run(tmp_path / "runs" / "r", run, [], scores, [{"epoch": 1, "train_loss": math.nan, "val_score": None}])
    tables = collect(tmp_path)
    assert list(tables.scores["image"]) == ["001", "NA"]
    assert list(tables.scores["value"]) == [0.1 + 0.2] * 2
    loaded = tables.runs.iloc[0]
    assert (loaded["run_key"], loaded["peak_memory_bytes"], json.loads(loaded["odd"])) == ("00012", 2**40 + 1, [1, "a"])
    assert tables.history[["train_loss", "val_score"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(load_tables(tmp_path).runs, tables.runs)
    assert all(set(list_required(name)) <= set(getattr(tables, name)) for name in TABLES)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("run.json", None, "no run.json"),
        ("run.json", '{"run_id": "x", "stat', "cannot be read"),
        ("run.json", "[1]", "not a run's row"),
        ("run.json", '{"run_id": "x", "status": "splendid"}', "not a run's row"),
        ("scores.csv", None, "cannot be read"),
        ("scores.csv", "run_id,split\n", "lacks the column image"),
        ("scores.csv", "run_id,split,image,metric,class,value\nother,test,all,dice,macro,0.5\n", "torn or belongs"),
        ("scores.csv", "run_id,split,image,metric,class,value\n{run},test,all,dice,macro,0.", "torn or belongs"),
        ("scores.csv", "run_id,split,image,metric,class,value\n{run},test,all,dice\n", "torn or belongs"),
        ("history.csv", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_stay(
    folder: Path, name: str, content: str | bytes | None, why: str
) -> None:
    whole = collect(folder).runs
    directory = sorted((folder / "runs").iterdir())[0]
    if content is None:
        (directory / name).unlink()
    else:
        data = content.replace("{run}", directory.name).encode() if isinstance(content, str) else content
        (directory / name).write_bytes(data)
    tables = collect(folder)
    [unfinished] = tables.unfinished
    assert unfinished.directory == directory.name
    assert why in unfinished.why
    assert list(tables.runs["run_id"]) == list(whole["run_id"][1:])
    assert load_tables(folder).unfinished == tables.unfinished


def test_a_copied_run_directory_does_not_count_twice(folder: Path) -> None:
    source = sorted((folder / "runs").iterdir())[0]
    copy = folder / "runs" / "zz copy"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    tables = collect(folder)
    assert [item.directory for item in tables.unfinished] == ["zz copy"]
    assert tables.runs["run_id"].is_unique


def test_a_run_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"


def test_a_failed_run_keeps_its_row(folder: Path) -> None:
    make_run(folder, "superpixel_gnn", 0, 50, run_id="dead", run_key="dead", status="timeout", dataset="folder")
    dead = row(collect(folder), "superpixel_gnn", 50)
    assert dead["statuses"] == "2 ok, 1 timeout"  # and it found its data set, though it died before it knew the name
    assert dead["seeds"] == 2


def test_the_newest_ok_run_of_a_key_counts_whatever_came_after(tmp_path: Path) -> None:
    for minute, status in ((1, "ok"), (2, "ok"), (3, "failed")):
        make_run(tmp_path, "tiled_cnn", run_id=f"r{minute}", started=f"2026-01-01T00:0{minute}:00", status=status)
    make_run(tmp_path, "tiled_cnn", run_id="elsewhere", machine__id="another")
    assert sorted(select_current(collect(tmp_path).runs)["run_id"]) == ["elsewhere", "r2"]


def test_comparison_is_the_mean_over_seeds_with_its_range(folder: Path) -> None:
    tables = collect(folder)
    gnn = row(tables, "superpixel_gnn", 100)
    per_seed = [
        sum(score("superpixel_gnn", seed, 100, image) for image in range(len(IMAGES))) / len(IMAGES)
        for seed in range(2)
    ]
    assert gnn["dice"] == pytest.approx(sum(per_seed) / 2)
    assert (gnn["dice_low"], gnn["dice_high"]) == pytest.approx((min(per_seed), max(per_seed)))
    assert gnn["oracle_dice"] == pytest.approx(ceiling(100))
    assert gnn["num_nodes"] == 900
    prepare, fit = 1.1, [40.0 * 1.1 + 1.5, 42.0 * 1.1 + 1.5]
    assert gnn["prepare_s"] == pytest.approx(4 * prepare)
    assert gnn["fit_s"] == pytest.approx(sum(fit) / 2)
    assert gnn["train_s"] == pytest.approx(4 * prepare + sum(fit) / 2)
    assert gnn["predict_only_s_per_mpx"] == pytest.approx(0.2 / 0.36)
    assert gnn["predict_s_per_mpx"] == pytest.approx((0.2 + prepare) / 0.36)
    assert math.isnan(row(tables, "tiled_cnn")["oracle_dice"])


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(folder: Path) -> None:
    make_run(folder, "superpixel_gnn", 0, 100, run_id="more-a", run_key="a", model="gatv2")
    make_run(folder, "superpixel_gnn", 0, 100, run_id="more-b", run_key="b", graph__edges=["knn"])
    arms = [arm for arm in compare_arms(collect(folder))["arm"].unique() if arm.startswith("superpixel_gnn")]
    assert sorted(arms) == [f"superpixel_gnn {arm}" for arm in ("gatv2", "sage", "sage edges=[knn]")]


def test_a_budget_of_training_is_named_even_where_it_is_the_default(folder: Path) -> None:
    usual = TrainingConfig().steps
    make_run(folder, "tiled_cnn", 0, run_id="more-a", run_key="a", training__steps=usual)
    make_run(folder, "tiled_cnn", 0, run_id="more-b", run_key="b", training__steps=7)
    arms = {arm for arm in compare_arms(collect(folder))["arm"] if arm.startswith("tiled_cnn")}
    assert {f"tiled_cnn steps={usual}", "tiled_cnn steps=7"} <= arms


def test_pixel_arms_ignore_superpixel_settings(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 7, 400, graph__edges=["knn"])
    assert row(collect(folder), "tiled_cnn")["seeds"] == 3


def test_machines_and_data_sets_are_kept_apart(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 0, run_id="b", machine__id="another")
    make_run(folder, "tiled_cnn", 0, run_id="c", dataset="other", dataset__root="other")
    frame = compare_arms(collect(folder))
    assert len(frame[frame["arm"] == "tiled_cnn"]) == 3


def test_data_that_changed_is_another_data_set(folder: Path) -> None:
    for pipeline in ("tiled_cnn", "superpixel_gnn"):
        make_run(folder, pipeline, 0, 50, run_id=f"new-{pipeline}", dataset__content="changed", started=LATER)
    first = min(collect(folder).runs["started"])[:16]
    names = compare_arms(collect(folder))["dataset"].unique()
    assert sorted(names) == [f"made_up since={first} content=unchanged", f"made_up since={LATER[:16]} content=changed"]


def test_a_repeated_run_replaces_a_failed_one_of_the_same_settings(folder: Path) -> None:
    for run_id, status, content in (("x1", "failed", None), ("x2", "ok", "unchanged")):
        make_run(
            folder, "tiled_cnn", 9, run_id=run_id, status=status, dataset__content=content, run_key=None,
            settings_key="k",
        )  # fmt: skip
    assert row(collect(folder), "tiled_cnn")["statuses"] == "3 ok"


def test_invalid_runs_are_left_out_and_contended_ones_counted(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 8, run_id="i", run_key="i", flags="warn: hot; invalid: the sampler died")
    make_run(folder, "tiled_cnn", 9, run_id="c", run_key="c", flags="contended: others computed; warn: invalid guess")
    cnn = row(collect(folder), "tiled_cnn")
    assert cnn["statuses"] == "1 contended, 1 invalid, 2 ok"
    assert cnn["seeds"] == 3


def test_times_are_those_of_runs_that_did_not_share_the_machine_where_there_are_any(
    folder: Path, tmp_path: Path
) -> None:
    before = row(collect(folder), "tiled_cnn")
    make_run(folder, "tiled_cnn", 9, run_id="c", run_key="c", slow=5.0, flags="contended: others computed")
    after = row(collect(folder), "tiled_cnn")
    assert [after[name] for name in ("train_s", "predict_s_per_mpx")] == [
        before[name] for name in ("train_s", "predict_s_per_mpx")
    ]
    assert after["seeds"] == before["seeds"] + 1
    alone = tmp_path / "alone"
    make_run(alone, "tiled_cnn", slow=5.0, flags="contended: others computed")
    assert row(collect(alone), "tiled_cnn")["train_s"] > before["train_s"]


def test_peaks_of_different_kinds_are_not_averaged(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 5, peak_memory_kind="gpu_process")
    cnn = row(collect(folder), "tiled_cnn")
    assert math.isnan(cnn["peak_memory_bytes"])
    assert str(cnn["peak_memory_kind"]) == "cpu_rss+gpu_process"


def test_net_memory_is_what_was_added_to_the_start(tmp_path: Path) -> None:
    stages = [
        {"stage": "prepare", "split": "train", "peak_rss_bytes": 300, "rss_start_bytes": 200},
        {"stage": "train", "split": "train", "peak_rss_bytes": 900, "rss_start_bytes": 250},
        {"stage": "prepare", "split": "test", "peak_rss_bytes": 4000, "rss_start_bytes": 10},
        {"stage": "predict", "split": "test", "peak_rss_bytes": 5000, "rss_start_bytes": 260},
    ]
    run = {"run_id": "r", "status": "ok", "pipeline": "tiled_cnn", "dataset": "d"}
    write_run(tmp_path / "runs" / "r", run, stages, [], [])
    assert list_configurations(collect(tmp_path))["net_peak_bytes"].tolist() == [700]


def test_net_memory_counts_worker_processes_where_gross_memory_does(tmp_path: Path) -> None:
    kind = {"peak_memory_kind": "cpu_rss_tree", "peak_memory_bytes": 3000}
    stages = [
        {"stage": "prepare", "split": "train", "peak_rss_bytes": 500, "peak_rss_tree_bytes": 3000} | kind,
        {"stage": "train", "split": "train", "peak_rss_bytes": 900, "peak_rss_tree_bytes": 950} | kind,
    ]
    run = {"run_id": "r", "status": "ok", "pipeline": "superpixel_gnn", "dataset": "d"}
    write_run(tmp_path / "runs" / "r", run, [stage | {"rss_start_bytes": 400} for stage in stages], [], [])
    found = list_configurations(collect(tmp_path)).iloc[0]
    assert found["net_peak_bytes"] == 2600
    assert "worker processes" in found["net_peak_kind"]


def test_memory_in_prediction_is_that_of_the_test_images(tmp_path: Path) -> None:
    peaks = {("prepare", "train"): 9, ("train", "train"): 8, ("predict", "val"): 7, ("prepare", "test"): 5}
    peaks |= {("predict", "test"): 6}
    stages = [{"stage": one, "split": two, "peak_memory_bytes": peak} for (one, two), peak in peaks.items()]
    run = {"run_id": "r", "status": "ok", "pipeline": "tiled_cnn", "dataset": "d"}
    write_run(tmp_path / "runs" / "r", run, stages, [], [])
    assert list_configurations(collect(tmp_path))["predict_peak_bytes"].tolist() == [6]


def test_the_configuration_is_chosen_on_validation_images_and_controls_follow_the_gnn(folder: Path) -> None:
    runs = list_configurations(collect(folder))
    runs.loc[(runs["pipeline"] == "superpixel_gnn") & (runs["superpixel_size"] == 200), "val_score"] = 0.999
    assert set(choose_configurations(runs)["superpixel_gnn"]["superpixel_size"]) == {200}  # although it tests worst
    assert set(choose_configurations(runs)["oracle"]["superpixel_size"]) == {200}
    assert len(choose_configurations(runs)["tiled_cnn"]) == 2


def test_the_printed_table_fits_and_names_what_went_wrong(folder: Path) -> None:
    make_run(
        folder, "superpixel_gnn", 0, 50, run_id="d", run_key="d", status="host_oom", model="a_model_with_a_name_" * 4
    )
    make_run(folder, "superpixel_gnn", 1, 50, run_id="e", run_key="e", model="a_model_with_a_name_" * 4)
    text = format_table(compare_arms(collect(folder)))
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "host_oom" in text
    assert "cpu_rss" in text


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], "say which folder"),
        (["result_dir=x"], "is not a setting of collect"),
        (["results_dir=/nowhere/at/all"], "is not a folder"),
        (["results_dir={empty}"], "holds no runs"),
    ],
)
def test_what_cannot_be_collected_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], sentence: str
) -> None:
    assert cli.main(["collect", *[text.replace("{empty}", str(tmp_path)) for text in overrides]]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["collect", f"results_dir={folder}"]) == 0
    assert "superpixel_gnn" in capsys.readouterr().out


def test_an_unknown_status_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="status must be one of"):
        write_row(tmp_path, {"run_id": "r", "status": "fine"})
    assert not (tmp_path / "run.json").exists()


def test_a_folder_that_cannot_be_written_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tables").write_text("in the way")
    assert cli.main(["collect", f"results_dir={folder}"]) == 2
    assert f"cannot write {folder / 'tables'}" in capsys.readouterr().err


def test_a_folder_with_nothing_finished_yet_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "going").mkdir(parents=True)
    assert cli.main(["collect", f"results_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "No run has finished yet." in printed
    assert "left out: runs/going" in printed


# ------------------------------------------------------------------------------------- what comes from elsewhere


@pytest.mark.parametrize(
    "text", ["=1+1", "+a", "-a", "@b", "\tc", "'=1", "''=1", "'x", "", "-1", "-1.5e-3", "a=b", "+"]
)
def test_no_cell_is_a_formula_and_every_name_comes_back(text: str) -> None:
    cell = protect(text)
    assert restore(cell) == text
    assert cell[:1] not in tuple("=+-@\t") or cell in ("", "-1", "-1.5e-3")


def test_names_that_look_like_formulas_survive_the_tables(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "-2", "'=x", "plain"]
    scores = [{"split": "test", "image": name, "metric": "dice", "class": "+c", "value": -0.5} for name in names]
    run = {"run_id": "r", "status": "ok", "dataset": "@home", "pipeline": "tiled_cnn"}
    write_run(tmp_path / "runs" / "r", run, [], scores, [])
    tables = collect(tmp_path)
    assert list(tables.scores["image"]) == names
    assert set(tables.scores["class"]) == {"+c"}
    assert tables.runs["dataset"].tolist() == ["@home"]
    assert tables.scores["value"].tolist() == [-0.5] * 4
    lines = (tmp_path / "tables" / "scores.csv").read_text().splitlines()[1:]
    assert lines == (tmp_path / "runs" / "r" / "scores.csv").read_text().splitlines()[1:]
    assert not any(cell.strip('"')[:1] in tuple("=+@") for line in lines for cell in line.split(","))
    for name in ("runs", "scores"):
        path = tmp_path / "tables" / f"{name}.csv"
        before = path.read_text()
        path.write_text(frame_to_csv(getattr(tables, name)))
        pd.testing.assert_frame_equal(getattr(load_tables(tmp_path), name), getattr(tables, name))
        path.write_text(before)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seed": "three"}, "has 'three' where seed needs a number"),
        ({"peak_memory_bytes": [1]}, "where peak_memory_bytes needs a number"),
        ({"reason": "\udc80"}, "not Unicode"),
        ({"run_id": "../../outside"}, "not the name of a folder"),
        ({"run_id": ".."}, "not the name of a folder"),
    ],
)
def test_a_foreign_row_is_left_out_in_words(folder: Path, changes: dict[str, object], why: str) -> None:
    directory = sorted((folder / "runs").iterdir())[0]
    row = json.loads((directory / "run.json").read_text()) | changes
    (directory / "run.json").write_text(json.dumps(row))
    tables = collect(folder)
    assert [item.directory for item in tables.unfinished] == [directory.name]
    assert why in tables.unfinished[0].why


def test_text_where_a_table_needs_a_number_is_told(folder: Path) -> None:
    directory = sorted((folder / "runs").iterdir())[0]
    stages = directory / "stages.csv"
    stages.write_text(stages.read_text().replace("360000", "many"))
    [item] = collect(folder).unfinished
    assert "its stages.csv has 'many' where pixels needs a number" in item.why


def test_an_older_run_lacks_newer_columns_and_is_read(folder: Path) -> None:
    directory = next(path for path in (folder / "runs").iterdir() if "tiled_cnn" in path.name)
    history = pd.read_csv(directory / "history.csv")
    history.drop(columns=["step", "budget"]).to_csv(directory / "history.csv", index=False)
    tables = collect(folder)
    assert tables.unfinished == ()
    assert tables.history.loc[tables.history["run_id"] == directory.name, "step"].isna().all()
    published = sorted((Path(__file__).parents[1] / "results" / "reference").glob("*/tables/runs.csv"))
    assert len(published) > 5
    for path in published:
        assert len(list_configurations(load_tables(path.parents[1]))) == len(pd.read_csv(path))


def test_an_arm_without_superpixels_has_none_in_the_tables(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", voted=0.9)
    make_run(tmp_path, "threshold")
    make_run(tmp_path, "superpixel_gnn", size=50)
    runs = collect(tmp_path).runs.set_index("pipeline")
    assert runs["superpixels.superpixel_size"].dropna().to_dict() == {"superpixel_gnn": 50}
    assert runs["voted.superpixel_size"].dropna().to_dict() == {"tiled_cnn": 100}
    table = make_arms_table(compare_arms(collect(tmp_path))).set_index("arm")
    assert table["px"].dropna().to_dict() == {"superpixel_gnn": 50}
    assert list(table.columns) == ["dataset", "machine", *[h for h in COLUMNS if h != "arm"], "runs"]
    assert table.loc["superpixel_gnn", "MiB"] == pytest.approx(700 + 2e4 / 50)
