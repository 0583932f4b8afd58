"""The planner: rates times pixels, ranges of the measured runs, and no number that was not measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results import make_results, make_run

from bench import cli
from bench.config import InputError

if TYPE_CHECKING:
    from bench.tables.collect import read_runs
    from bench.tables.plan import Plan, PlanConfig, Span, format_time, make_plans


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
    assert "cannot be said for other sizes" in many.memory
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
    assert one.memory == "cannot be said"
    assert str(Span(math.nan, math.nan, math.nan) * 3) == "cannot be said"


def test_the_verb_prints_a_plan_and_refuses_what_it_cannot_plan_from(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("plan", [f"run={results}", "pixels=4e8", "images=20", "pipeline=tiled_cnn"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("20 images of 400 megapixels, 8000 in all")
    assert "predicting all images: 25.3 h" in printed  # 4.1 s for 0.36 megapixels
    for words, sentence in (
        ([f"run={results}"], "pixels must be at least 1"),
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
