"""The planner: rates times pixels, ranges of the measured runs, and no number that was not measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.results import copy_results, make_results, make_run

from bench import cli
from bench.config import InputError
from bench.tables.write import write_part

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables.collect import Tables, read_runs
    from bench.tables.comparison import list_configurations
    from bench.tables.plan import Plan, PlanConfig, TimeRange, format_time, make_plans, share_cautions


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("results"), seeds=3, sizes=(50, 100))


def plan(folder: Path, pixels: float = 90_000.0, images: int = 4, **more: str) -> list[Plan]:
    return list(make_plans(read_runs(folder), PlanConfig(str(folder), pixels, images, **more)))


def test_planning_for_the_measured_images_gives_the_measured_times(results: Path) -> None:
    """The made-up test images are four of 90,000 pixels, and so are those of each other split."""
    found = {plan.name.split(" (")[0]: plan for plan in plan(results)}
    unet = found["tiled_cnn"]
    assert unet.prediction.value == pytest.approx(4.1)  # 4 s of predicting and 0.1 s of preparing
    assert unet.preparing.value == pytest.approx((3 * 0.1 + 0.1) / 2)  # 0.72 megapixels were prepared, 0.36 are planned
    assert (unet.training.low, unet.training.high) == pytest.approx((1.5 + 660, 1.5 + 726))
    assert unet.training.low < unet.training.value < unet.training.high
    assert not any("oracle" in name for name in found)


def test_times_of_pixels_are_proportional_and_those_of_the_fit_are_not(results: Path) -> None:
    [one], [many] = (plan(results, pixels, 7, pipeline="tiled_cnn") for pixels in (1e6, 1e8))
    assert many.prediction.value == pytest.approx(100 * one.prediction.value)
    assert many.preparing.value == pytest.approx(100 * one.preparing.value)
    assert many.training == one.training
    assert "cannot be said for other sizes" in many.memory[0]
    assert "larger ones cost" in many.cautions[0]


def test_superpixel_sizes_are_planned_apart(results: Path) -> None:
    names = [one.name for one in plan(results, pipeline="superpixel_gnn")]
    assert [name.split(" (")[0] for name in names] == [
        f"superpixel_gnn, superpixels of {size} pixels" for size in (50, 100)
    ]


def test_one_run_has_no_range_and_what_was_not_measured_cannot_be_said(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0, peak_memory_bytes=None)
    [one] = plan(tmp_path)
    assert one.cautions[-1] == "one run: no range"
    assert one.prediction.low == one.prediction.high
    assert one.memory == ("memory in training: cannot be said",)
    assert str(TimeRange(math.nan, math.nan, math.nan) * 3) == "cannot be said"


CONTENDED = "contended: 1 other run of the sweep beside it"


def test_runs_beside_other_work_change_no_time_where_a_quiet_one_is_there(tmp_path: Path) -> None:
    """However slow they were; the score, which no other work changes, is the mean of all."""
    for seed, folder in ((0, "quiet"), (1, "quiet"), (0, "both"), (1, "both")):
        make_run(tmp_path / folder, "tiled_cnn", seed)
    for seed in (2, 3, 4):
        make_run(tmp_path / "both", "tiled_cnn", seed, slow=10.0, gain=-0.1, flags=CONTENDED)
    [quiet], [both] = plan(tmp_path / "quiet"), plan(tmp_path / "both")
    assert (both.prediction, both.preparing, both.training) == (quiet.prediction, quiet.preparing, quiet.training)
    assert both.memory == quiet.memory
    assert both.dice < quiet.dice
    assert "3 of the 5 runs shared the machine with other work, and give no times" in both.cautions
    assert not any("other work" in sentence for sentence in quiet.cautions)


def test_times_beside_other_work_say_so_where_there_are_no_others(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "tiled_cnn", seed, flags=CONTENDED)
    [one] = plan(tmp_path)
    assert "every run shared the machine with other work: times are too long" in one.cautions


def test_of_runs_of_one_size_the_quiet_one_gives_the_rates(tmp_path: Path) -> None:
    for side in (500, 1000, 2000):
        add_scale_run(tmp_path, "tiled_cnn", side, flags=CONTENDED if side > 500 else "")
    sentence = "the run shared the machine with other work: times are too long"
    for pixels, told in ((250_000.0, False), (1e6, True), (4e6, True)):
        [one] = plan(tmp_path, pixels)
        assert (sentence in one.cautions) == told
    add_scale_run(tmp_path, "tiled_cnn", 1000, seed=1, slow=3)
    [one] = plan(tmp_path, 1e6, 1)
    assert sentence not in one.cautions
    assert one.prediction.value == pytest.approx(9)


def test_the_verb_prints_a_plan_and_refuses_what_it_cannot_plan_from(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("plan", [f"run={results}", "pixels=4e8", "images=20", "pipeline=tiled_cnn"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("20 images of 400 megapixels, 8000 in all")
    assert cli.run_verb("plan", [f"run={results}", "pixels=4e8"]) == 0
    assert capsys.readouterr().out.startswith("1 image of 400 megapixels")
    assert "predicting all images: 25.3 h" in printed  # 4.1 s for 0.36 megapixels
    for words, sentence in (
        ([f"run={results}"], "plan needs pixels="),
        ([f"run={results}", "pixels=0.5"], "pixels must be at least 1"),
        (["pixels=4e8"], "plan needs run="),
        ([f"run={tmp_path / 'none'}", "pixels=1e6"], "is not a folder"),
        ([f"run={results}", "pixels=1e6", "dataset=other"], "holds no finished run of that kind"),
    ):
        with pytest.raises(InputError, match=sentence):
            cli.run_verb("plan", words)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.123, "0.12 s"), (42, "42 s"), (300, "5.0 min"), (9000, "2.5 h"), (4e5, "4.6 d")]
)
def test_times_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


def add_scale_run(
    folder: Path, pipeline: str, side: int, size: int = 60, seed: int = 0, slow: float = 1, flags: str = ""
) -> None:
    """A made-up run of experiment=scale whose memory is 1 GiB, 1000 bytes a pixel and, of a graph, 3000 a node."""
    pixels, graph = side**2, pipeline == "superpixel_gnn"
    peak = 2**30 + 1000 * pixels + (3000 * pixels / size if graph else 0)
    facts: dict[str, Any] = {
        "experiment": "scale", "dataset": "scenes", "run_id": f"20260101T000000-{pipeline}-{side}-{size}-{seed}",
        "run_key": f"{pipeline}-{side}-{size}-{seed}", "flags": flags, "dataset__image_size": [side, side],
        "dataset__images_test": 1,
        "dataset__pixels_test": pixels, "dataset__content": f"{side}", "num_nodes": pixels / size if graph else None,
        "pipeline__tile_size": 256, "dataset__magnification": 1,
    }  # fmt: skip
    directory = make_run(folder, pipeline, seed, size, **facts)
    memory = {
        "rss_start_bytes": 2**28,
        "peak_rss_bytes": peak,
        "peak_memory_bytes": peak,
        "peak_memory_kind": "cpu_rss",
    }
    size_of = {"images": 1, "pixels": pixels}
    rows = [
        {"stage": stage, "split": split, "seconds": slow * seconds * pixels / 1e6, **size_of, **memory}
        for stage, split, seconds in (("prepare", "train", 2), ("train", "train", 5), ("prepare", "test", 2),
                                      ("predict", "test", 1))
    ]  # fmt: skip
    write_part(directory, "stages", facts["run_id"], rows)


def test_runs_of_cost_against_size_give_the_nearest_rate_and_a_law_of_memory(tmp_path: Path) -> None:
    for side in (500, 1000, 2000):
        add_scale_run(tmp_path, "tiled_cnn", side)
        for size in (60, 240):
            add_scale_run(tmp_path, "superpixel_gnn", side, size)
    found = plan(tmp_path, 9e6, 10)
    assert len(found) == 3
    for one, size in zip([one for one in found if "GNN" in one.name], (240, 60), strict=True):
        assert f"at {size} pixels per superpixel" in one.name
        assert one.prediction.value == pytest.approx(3 * 90)
        expected = (2**30 + 1000 * 9e6 + 3000 * 9e6 / size) / 2**20
        for line, phase in zip(one.memory, ("training", "prediction"), strict=True):
            assert line.startswith(f"memory in {phase}: {expected:.0f} MiB for one image at a time (")
            assert "extrapolated from at most 4 megapixels" in line
        assert "one image of 4 megapixels, the nearest" in one.cautions[0]


def test_beside_runs_of_cost_against_size_each_run_is_listed_once(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of plans are those of a folder without the other kind."""
    mixed, alone = tmp_path / "mixed", tmp_path / "alone"
    copy_results(results, mixed)
    for side in (500, 1000):
        for folder in (mixed, alone):
            add_scale_run(folder, "tiled_cnn", side)
    listed: list[str] = []

    def record(tables: Tables) -> pd.DataFrame:
        listed.extend(tables.runs["run_id"])
        return list_configurations(tables)

    monkeypatch.setattr("bench.tables.plan.list_configurations", record)
    found = plan(mixed)
    assert sorted(listed) == sorted(read_runs(mixed).runs["run_id"])
    assert found == plan(alone) + plan(results)


def test_too_few_sizes_have_no_law_and_say_so(tmp_path: Path) -> None:
    for side in (500, 1000):
        add_scale_run(tmp_path, "tiled_cnn", side)
    [one] = plan(tmp_path, 250_000.0)
    assert "cannot be said: a law of memory by size needs images of at least 3 sizes" in one.memory[0]
    assert "0.25 megapixels" in one.cautions[0]


def test_what_limits_all_plans_is_said_once() -> None:
    """Two methods whose images were small, one of which ran once."""
    none = TimeRange(1.0, 1.0, 1.0)
    plans = [
        Plan(name, 0.9, none, none, none, (), cautions)
        for name, cautions in (("a", ("small",)), ("b", ("small", "once")))
    ]
    shared, rest = share_cautions(plans)
    assert shared == ["small"]
    assert [plan.cautions for plan in rest] == [(), ("once",)]
    assert share_cautions(plans[:1]) == ([], plans[:1])
