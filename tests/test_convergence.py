"""Which fits may stand for their arm: each reason by itself, unknown facts, planned budgets, and the way to go on."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import make_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables.chosen import choose_configurations, choose_shown
    from bench.tables.collect import collect
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.convergence import make_finishing_command, select_converged, select_timed, select_trained
    from bench.tables.frontier import select_contenders
    from bench.tables.rivals import find_rival
    from bench.tables.text import format_table


CUT = {"stopped": "steps", "late_gain": 0.02, "steps": 300, "training__steps": 300}


def assessed(folder: Path) -> pd.DataFrame:
    return list_configurations(collect(folder))


def reason(folder: Path, **changes: object) -> str:
    make_run(folder, "superpixel_gnn", **changes)  # type: ignore[arg-type]
    [text] = assessed(folder)["undertrained"]
    return str(text)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"stopped": "seconds"}, "the clock ended it"),
        (CUT, "cut after 300 steps while its validation score rose by 2.0 points in the last quarter"),
        (CUT | {"late_gain": 0.005}, ""),
        (CUT | {"stopped": "patience"}, ""),
        (CUT | {"stopped": "epochs", "steps": None}, "cut while its validation score rose by 2.0 points"),
        ({"validations": 4}, "it had 4 validations, fewer than 5"),
        ({"validations": 1}, "it had 1 validation, fewer than 5"),
        ({"stopped": "steps", "late_gain": None, "validations": None}, ""),
        ({"status": "failed", "stopped": "seconds"}, ""),
    ],
)
def test_every_reason_by_itself(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    found = reason(tmp_path, **changes)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_rows_of_older_code_are_neither_for_nor_against(tmp_path: Path) -> None:
    unknown = dict.fromkeys(("stopped", "late_gain", "validations", "steps"))
    assert reason(tmp_path, **unknown) == ""


def test_a_score_below_the_threshold_on_the_same_data_is_no_fit(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", gain=-0.5)
    assert set(assessed(tmp_path)["undertrained"]) == {""}  # nothing to beat yet
    make_run(tmp_path, "threshold", dataset="other", dataset__root="there", dataset__content="other")
    assert set(assessed(tmp_path)["undertrained"]) == {""}
    make_run(tmp_path, "threshold")
    runs = assessed(tmp_path)
    [text] = runs.loc[runs["pipeline"] == "superpixel_gnn", "undertrained"]
    assert "lies below the 0.79" in text
    assert text.endswith("of threshold")
    assert set(runs.loc[runs["pipeline"] != "superpixel_gnn", "undertrained"]) == {""}


def test_a_smaller_budget_of_a_method_that_converged_was_planned(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0, run_id="short", run_key="short", **CUT)  # type: ignore[arg-type]
    make_run(tmp_path, "tiled_cnn", 0, run_id="long", run_key="long")
    make_run(tmp_path, "tiled_cnn", 1, run_id="same", run_key="same", **(CUT | {"training__steps": 4000}))  # type: ignore[arg-type]
    runs = assessed(tmp_path).set_index("run_id")
    assert len(set(runs["method"])) == 1
    assert len(set(runs["arm"])) == 2
    assert runs.loc["short", "shorter"]
    assert runs.loc["short", "undertrained"] == ""
    assert str(runs.loc["same", "undertrained"]).startswith("cut after 300 steps")  # its budget is that of the long one
    assert set(select_converged(runs).index) == {"long"}
    assert set(select_trained(runs).index) == {"short", "long"}


def test_another_method_excuses_nothing(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", 0, 50, **CUT)  # type: ignore[arg-type]
    make_run(tmp_path, "superpixel_gnn", 0, 100)
    runs = assessed(tmp_path).set_index("superpixel_size")
    assert runs.loc[50, "undertrained"] != ""
    assert not runs["shorter"].any()


def test_undertrained_runs_stand_for_no_arm_but_are_shown(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0, stopped="seconds")
    make_run(tmp_path, "superpixel_gnn", 0)
    runs = assessed(tmp_path)
    assert set(choose_configurations(runs)) == {"superpixel_gnn"}
    assert set(choose_shown(runs)) == {"superpixel_gnn", "tiled_cnn"}
    assert set(select_contenders(runs)["pipeline"]) == {"superpixel_gnn"}
    table = compare_arms(collect(tmp_path)).set_index("arm")
    assert table.loc["tiled_cnn", "statuses"] == "1 undertrained"
    assert table.loc["tiled_cnn", "seeds"] == 1  # alone in its row, and marked
    assert "! 1 undertrained: tiled_cnn" in format_table(compare_arms(collect(tmp_path)))


def test_a_row_with_trained_runs_leaves_the_others_out(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0)
    make_run(tmp_path, "tiled_cnn", 1, gain=-0.5, stopped="seconds")
    row = compare_arms(collect(tmp_path)).iloc[0]
    assert (row["seeds"], row["statuses"]) == (1, "1 ok, 1 undertrained")
    assert row["dice"] > 0.9


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ({"stopped": "steps", "steps": 300, "training.steps": 300}, "training.steps=600"),
        ({"stopped": "epochs", "training.epochs": 4}, "training.epochs=8"),
        ({"stopped": "seconds", "steps": 70}, "training.seconds=null training.steps=140"),
        ({"stopped": "seconds", "epochs": 7}, "training.seconds=null training.epochs=14"),
        ({"stopped": "patience", "training.patience": 5}, "training.patience=10"),
        ({"stopped": "seconds"}, ""),
        (
            {"stopped": "steps", "steps": 9, "pipeline": "superpixel_trees", "pipeline.iterations": 10.0},
            "pipeline.iterations=20",
        ),
        ({"stopped": "", "pipeline": "pixel_forest", "training.steps": 10000}, ""),
        ({"stopped": "patience", "pipeline": "superpixel_trees", "pipeline.patience": 8}, "pipeline.patience=16"),
        (
            {"stopped": "steps", "pipeline": "coarse_gnn", "pipeline.refine": False, "pipeline.coarse_steps": 4},
            "pipeline.coarse_steps=8",
        ),
        (
            {"stopped": "steps", "pipeline": "coarse_gnn", "pipeline.refine": True, "training.steps": 30},
            "training.steps=60",
        ),
        ({"stopped": "steps", "training.steps": 20, "validations": 1}, "training.steps=200"),
        ({"stopped": "steps", "training.steps": 60, "validations": 4}, "training.steps=180"),
        ({"stopped": "steps", "training.steps": 300, "validations": 9}, "training.steps=600"),
        ({"stopped": "patience", "training.patience": 2, "validations": 3}, "training.patience=4"),
    ],
)
def test_the_command_goes_on_with_a_larger_ceiling(row: dict[Hashable, object], settings: str) -> None:
    command = "python -m bench experiment=headline seed=0"
    assert make_finishing_command(row | {"command": command}) == (f"{command} {settings}" if settings else "")
    assert make_finishing_command(row) == ""


def test_the_command_does_not_shrink_the_ceiling_again() -> None:
    """`experiment.effort` multiplies `training.steps`, of which the row has what it came to."""
    row: dict[Hashable, object] = {"stopped": "steps", "training.steps": 200}
    for word in ("experiment.effort=0.1", "'experiment.effort=0.1'"):
        command = make_finishing_command(row | {"command": f"python -m bench {word} seed=0"})
        assert command == "python -m bench seed=0 training.steps=400"


def test_a_setting_is_replaced_where_it_stands() -> None:
    command = "python -m bench 'training.steps=300' a.training.steps=1"
    row: dict[Hashable, object] = {"stopped": "steps", "training.steps": 300, "command": command}
    assert make_finishing_command(row) == "python -m bench 'training.steps=600' a.training.steps=1"


def test_of_a_configuration_contended_runs_have_times_only_where_it_has_no_others() -> None:
    alike = {"dataset": "d", "machine": "m", "pipeline": "p"}
    runs = pd.DataFrame(
        [
            {**alike, "arm": arm, "superpixel_size": size, "contended": contended}
            for arm, size, contended in (
                ("a", np.nan, True), ("a", np.nan, False), ("b", 50.0, True), ("b", 50.0, True), ("b", 60.0, False),
            )
        ]
    )  # fmt: skip
    assert select_timed(runs).index.tolist() == [1, 2, 3, 4]


def test_a_slow_contended_seed_does_not_cost_the_best_rival_its_place(tmp_path: Path) -> None:
    shared = {"flags": "contended: others computed", "slow": 500.0}
    for seed in range(5):
        make_run(tmp_path, "superpixel_gnn", seed)
        names = {"run_id": f"other-{seed}", "run_key": f"other-{seed}", "pipeline__model__encoder_name": "other"}
        make_run(tmp_path, "tiled_cnn", seed, gain=0.02, slow=5.0, **names)  # type: ignore[arg-type]
        make_run(tmp_path, "tiled_cnn", seed, gain=0.02, **({} if seed < 2 else shared))  # type: ignore[arg-type]
    tables = collect(tmp_path)
    runs = list_configurations(tables)
    found = find_rival(runs, tables.history, runs[runs["pipeline"] == "superpixel_gnn"])
    assert found is not None
    assert not any("other" in arm for arm in found.runs["arm"])
    assert found.reached
