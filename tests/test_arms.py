"""An arm is said once: every module that lists arms has this list, and adding one costs what the README says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.arms import ARMS, RIVALS, pixel_arms
from bench.config import Config, PipelineConfig, SyntheticConfig, ThresholdConfig
from bench.pipelines.registry import build_pipeline
from bench.pipelines.threshold import Threshold

if TYPE_CHECKING:
    from bench.plots.style import find_style
    from bench.sweeps.compose import CONF, SCHEMAS
    from bench.tables.comparison import rank_arm


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ARMS)
def test_an_entry_names_its_settings_its_class_and_its_yaml(name: str) -> None:
    arm = ARMS[name]
    module, cls = arm.implementation.split(":")
    assert arm.name == name == arm.settings().name
    assert {"prepare", "fit", "predict", "save", "load", "predict_into"} <= set(
        dir(getattr(import_module(module), cls))
    )
    assert (CONF / "pipeline" / f"{name}.yaml").is_file()
    assert SCHEMAS["schema/pipeline", name] is arm.settings
    assert find_style(name) == (arm.colour, arm.marker)


def test_arms_are_told_apart_in_words_and_in_figures() -> None:
    for field in ("label", "colour", "marker"):
        assert len({getattr(arm, field) for arm in ARMS.values()}) == len(ARMS), field
    assert sorted(ARMS, key=rank_arm) == list(ARMS)


def test_the_two_sides_both_learn_and_one_of_them_sees_superpixels() -> None:
    assert all(ARMS[name].uses_training for name in RIVALS)
    assert [name in pixel_arms() for name in RIVALS] == [False, True]


@dataclass
class NewConfig(ThresholdConfig):
    """Settings of an arm that a researcher adds."""

    name: str = "new"


def test_an_arm_is_added_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.arms import Arm
    from bench.datasets.sample import Task

    monkeypatch.setitem(
        ARMS, "new", Arm("new", "new", NewConfig, "bench.pipelines.threshold:Threshold", "#000000", "x")
    )
    settings: PipelineConfig = NewConfig()
    built = build_pipeline(Config(SyntheticConfig(), settings), Task(("a", "b"), 1, 2))
    assert isinstance(built, Threshold)
    assert (rank_arm("new"), find_style("new")) == (len(ARMS) - 1, ("#000000", "x"))
