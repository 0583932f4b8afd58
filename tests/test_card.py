"""The model card: what a run's tables hold, and nothing that they do not."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
from support.results import IMAGES, make_run

from bench import cli
from bench.tables.read import read_run_rows

if TYPE_CHECKING:
    from bench.report.card import format_mean, make_card, write_cards
    from bench.tables.statistics import mean_interval

FACTS: dict[str, Any] = {
    "dataset__licence": "CC0 1.0",
    "dataset__citation": "Somebody, Journal 1:2 (2020)",
    "dataset__images_train": 12,
    "dataset__images_val": 4,
    "dataset__images_test": 3,
    "dataset__split_rule": "by hand",
}


def leave(folder: Path, pipeline: str = "superpixel_gnn", weights: bool = True, **changes: Any) -> Path:
    """A finished run that left weights."""
    directory = make_run(folder, pipeline, 0, 50, **changes)
    if weights:
        (directory / "checkpoint.pt").write_bytes(b"weights")
    return directory


def test_a_card_says_what_the_tables_say(tmp_path: Path) -> None:
    directory = leave(tmp_path, **FACTS)
    rows = read_run_rows(directory)
    card = make_card(directory, rows)
    assert card.startswith("# GNN on made_up, seed 0\n")
    for text in (
        *("- hash of names, bytes and split: `unchanged`", "- images: 12 train, 4 val, 3 test", "- split: by hand"),
        *("- licence of the images: CC0 1.0", "- please cite: Somebody, Journal 1:2 (2020)"),
        *("- superpixels: of 50.0 pixels", f"run={directory}", "Imaginary CPU"),
    ):
        assert text in card, text
    single = [float(r["value"]) for r in rows["scores"] if r["split"] == "test" and r["image"] != "all"
              and (r["metric"], r["class"]) == ("dice", "macro")]  # fmt: skip
    assert len(single) == len(IMAGES)
    expected = mean_interval(single)
    assert f"{expected.value:.3f} [{expected.low:.3f}, {expected.high:.3f}] (6 images)" in card
    assert "fewer than" not in card


def test_the_planes_of_a_stack_are_one_image(tmp_path: Path) -> None:
    rows = read_run_rows(leave(tmp_path, **FACTS))
    rows["runs"][0]["dataset.planes"] = "True"
    for row in rows["scores"]:
        if row["image"] != "all":
            number = IMAGES.index(row["image"])
            row["image"] = f"stack{number // 3}_z{number % 3:03d}"
    wanted = [r for r in rows["scores"] if (r["split"], r["metric"], r["class"]) == ("test", "dice", "macro")]
    means = [fmean(float(r["value"]) for r in wanted if r["image"].startswith(f"stack{n}")) for n in range(2)]
    card = make_card(tmp_path, rows)
    assert f"{fmean(means):.3f}" in card
    assert "(2 images)" in card
    assert "fewer than 5 test images" in card


def test_costs_are_sums_of_the_stages(tmp_path: Path) -> None:
    rows = read_run_rows(leave(tmp_path))
    seconds = {(row["stage"], row["split"]): float(row["seconds"]) for row in rows["stages"]}
    fit = sum(
        seconds[name] for name in (("init", "train"), ("warmup", "train"), ("train", "train"), ("validate", "val"))
    )
    made = seconds["prepare", "train"] + seconds["prepare", "val"]
    rate = (seconds["prepare", "test"] + seconds["predict", "test"]) / 0.36
    card = make_card(tmp_path, rows)
    assert f"- training: {fit:.1f} s, and {made:.1f} s of preparing" in card
    assert f"- prediction: {rate:.2f} s per megapixel" in card


def test_what_is_not_known_is_said_or_left_out(tmp_path: Path) -> None:
    directory = leave(tmp_path, "tiled_cnn", peak_memory_bytes=None)
    card = make_card(directory, read_run_rows(directory))
    assert "licence of the images: not known to the program" in card
    for text in ("None", "nan", "please cite", "peak memory", "superpixels:"):
        assert text not in card, text


def test_means_of_few_numbers_have_no_interval() -> None:
    assert format_mean([]) == ""
    assert format_mean([0.5]) == "0.500 (1 image)"


def test_only_finished_runs_with_weights_get_one(tmp_path: Path) -> None:
    good = leave(tmp_path)
    leave(tmp_path, "threshold", weights=False)
    leave(tmp_path, "tiled_cnn", status="failed", reason="x")
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "checkpoint.pt").write_bytes(b"")
    assert write_cards(tmp_path) == [good / "model_card.md"]
    assert sorted(path.parent.name for path in tmp_path.rglob("model_card.md")) == [good.name]


def test_the_report_writes_cards_into_its_own_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = leave(tmp_path / "one")
    assert cli.run_verb("report", [f"results_dir={tmp_path / 'one'}", f"output={tmp_path / 'two'}"]) == 0
    assert not (directory / "model_card.md").exists()
    assert cli.run_verb("report", [f"results_dir={tmp_path / 'one'}"]) == 0
    assert (directory / "model_card.md").is_file()
    capsys.readouterr()
