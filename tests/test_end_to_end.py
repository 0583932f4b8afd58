"""The real command on small generated images, and its tables read back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needed import HEAVY, NEEDED

from bench import cli
from bench.arms import ARMS, external_arms

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables.collect import collect


ROOT = Path(__file__).parents[1]
CHEAP = (  # every flat arm once
    "{ pipeline: [threshold, oracle, superpixel_mlp, superpixel_gnn] }",
    "{ pipeline: superpixel_trees, pipeline.iterations: [20] }",
    "{ pipeline: pixel_forest, pipeline.trees: [5] }",
    "{ pipeline: tiled_cnn, pipeline.scale: [1, 4], pipeline.crop_size: [32], pipeline.batch_size: [2] }",
    "{ pipeline: coarse_gnn, pipeline.coarse.crop_size: [32], pipeline.coarse.batch_size: [2], "
    "pipeline.coarse_steps: [2] }",
)
SMALL = (
    *("experiment=quick", "seed=0", "superpixels.superpixel_size=40", "training.epochs=2", "dataset=synthetic"),
    *("dataset.image_size=[64,64]", "dataset.train_images=1", "dataset.val_images=1", "dataset.test_images=2"),
    *("device=cpu", "measure.threads=1"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with every arm run once."""
    folder = tmp_path_factory.mktemp("end_to_end") / "results"
    sweeps = f"experiment.sweeps=[{', '.join(CHEAP)}]"
    command = [sys.executable, "-m", "bench", *SMALL, sweeps, f"results_dir={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tiled_cnn" in done.stdout
    return folder


def table(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / "tables" / f"{name}.csv")


def test_every_arm_leaves_a_finished_row(results: Path) -> None:
    runs = table(results, "runs")
    every = {name for name, arm in ARMS.items() if not arm.needs_volume}
    assert set(runs["pipeline"]) == every - set(external_arms())
    assert len(runs) == len(set(runs["pipeline"])) + 1  # the U-Net at two scales
    assert set(runs["status"]) == {"ok"}
    assert runs["run_id"].is_unique
    assert runs["peak_memory_bytes"].gt(0).all()
    assert set(runs["peak_memory_kind"]) == {"cpu_rss"}


def test_the_measured_process_loads_what_its_arm_needs_and_no_more(results: Path) -> None:
    libraries = table(results, "runs").set_index("pipeline")["libraries"].str.split()
    assert set(libraries.index) == {name for name in NEEDED if not ARMS[name].needs_volume}
    for arm, names in libraries.items():
        assert set(names) & HEAVY == NEEDED[str(arm)], arm


def test_structures_are_scored_for_every_class_but_the_background(results: Path) -> None:
    scores = table(results, "scores")
    for metric in ("cl_dice", "component_ratio"):
        rows = scores[(scores["metric"] == metric) & (scores["image"] == "all") & (scores["split"] == "test")]
        assert set(rows["run_id"]) == set(table(results, "runs")["run_id"])
        assert "background" not in set(rows["class"])
    assert scores[scores["metric"] == "oracle_cl_dice"]["value"].gt(0).any()


def test_scores_are_complete_and_the_oracle_is_the_ceiling(results: Path) -> None:
    scores = table(results, "scores").merge(table(results, "runs")[["run_id", "pipeline"]], on="run_id")
    assert set(scores["split"]) == {"val", "test"}
    pooled = scores[(scores["image"] == "all") & (scores["split"] == "test") & (scores["class"] == "macro")]
    assert pooled[pooled["metric"] == "accuracy"]["value"].between(0, 1).all()
    accuracy = pooled[pooled["metric"] == "accuracy"].set_index("pipeline")["value"]
    assert accuracy["oracle"] >= accuracy[["superpixel_gnn", "superpixel_mlp"]].max()
    ceiling = pooled[pooled["metric"] == "oracle_accuracy"].set_index("pipeline")["value"]
    assert ceiling["superpixel_gnn"] == pytest.approx(accuracy["oracle"]), "the ceiling is the oracle's score"


def test_stages_add_up_to_less_than_the_run(results: Path) -> None:
    stages = table(results, "stages")
    assert {"prepare", "init", "warmup", "train", "validate", "inspect", "predict"} == set(stages["stage"])
    assert not stages.duplicated(["run_id", "stage", "split"]).any()
    assert stages["seconds"].ge(0).all()
    spent = stages.groupby("run_id")["seconds"].sum()
    runs = table(results, "runs").set_index("run_id")
    assert set(runs.index) <= set(spent.index)
    assert (spent[runs.index] <= runs["run_seconds"]).all()


def test_what_was_not_measured_is_empty(results: Path) -> None:
    stages = table(results, "stages")
    gpu = [column for column in map(str, stages) if column.startswith("gpu_")]
    assert gpu
    assert stages[gpu].isna().all().all()


def test_history_has_a_row_per_epoch_of_the_learning_arms(results: Path) -> None:
    runs = table(results, "runs").set_index("run_id")
    epochs = table(results, "history").groupby("run_id")["epoch"].max()
    pipelines = runs.loc[epochs.index, "pipeline"]
    networks = {name for name, arm in ARMS.items() if arm.uses_training}
    flat = {name for name in networks if not ARMS[name].needs_volume}
    assert set(pipelines) == {*flat, "superpixel_trees"}
    assert (epochs[pipelines.isin(networks)] == 2).all()


def test_figures_and_report_are_there(results: Path) -> None:
    assert sorted((results / "figures").glob("*.png"))
    assert {p.stem for p in (results / "figures").glob("*.png")} == {
        p.stem for p in (results / "figures").glob("*.svg")
    }
    assert (results / "report.md").read_text(encoding="utf-8").strip()


def test_collecting_again_changes_nothing(results: Path) -> None:
    before = {path.name: path.read_bytes() for path in (results / "tables").glob("*.csv")}
    assert cli.main(["collect", f"results_dir={results}"]) == 0
    assert {path.name: path.read_bytes() for path in (results / "tables").glob("*.csv")} == before


def test_a_run_that_fails_leaves_its_row_and_the_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_report", lambda _: 0)
    monkeypatch.setattr("bench.sweeps.checks._build_in_child", lambda _: None)  # the check before would pass
    folder = tmp_path / "results"
    (tmp_path / "notes.pt").write_text("no weights")
    failing = f"{{ pipeline: superpixel_gnn, pipeline/model: jain2024, pipeline.weights: {tmp_path}/notes.pt }}"
    sweeps = f"experiment.sweeps=[{failing}, {{ pipeline: oracle }}]"
    assert cli.main([*SMALL, sweeps, "dataset.test_images=1", "superpixels=grid", f"results_dir={folder}"]) == 1
    runs = collect(folder).runs.sort_values("started").set_index("pipeline")
    assert runs["status"].to_dict() == {"superpixel_gnn": "failed", "oracle": "ok"}
    assert list(runs.index) == ["superpixel_gnn", "oracle"]
    assert "notes.pt" in str(runs.loc["superpixel_gnn", "reason"])


def test_a_run_directory_keeps_its_settings(results: Path) -> None:
    directories = list((results / "runs").iterdir())
    assert {directory.name for directory in directories} == set(table(results, "runs")["run_id"])
    for directory in directories:
        kept = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        assert kept["superpixels"]["superpixel_size"] == 40
