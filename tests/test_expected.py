"""What a list of runs will do is printed before it starts; budgets are scaled for all arms alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.config import InputError
from bench.sweeps.expected import describe_plan
from bench.sweeps.experiments import expand_experiment

if TYPE_CHECKING:
    from support.composing import compose_settings

    from bench.sweeps.compose import compose


def test_a_single_run_has_no_plan() -> None:
    assert describe_plan(compose(["pipeline=tiled_cnn"])) == ""


def test_a_plan_counts_the_runs_and_their_ceilings() -> None:
    jobs = compose(["experiment=layers", "training.steps=700"])
    text = describe_plan(jobs)
    assert text.startswith(f"layers: {len(jobs)} runs (1 threshold, 1 oracle, 12 GNN, 3 MLP)")
    assert text.endswith(", each fit of at most 700 steps\n")


def test_the_full_frontier_has_more_runs_than_the_small_one() -> None:
    experiment = compose_settings("experiment=frontier").experiment
    small = expand_experiment(experiment, [])
    arms = ("tiled_cnn", "superpixel_gnn", "superpixel_mlp", "oracle")
    assert {word for overrides in small for word in overrides} >= {f"pipeline={arm}" for arm in arms}
    assert len(expand_experiment(replace(experiment, budget="full"), [])) > 3 * len(small)


def test_a_budget_that_an_experiment_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="layers has none"):
        compose(["experiment=layers", "experiment.budget=full"])


def test_effort_scales_every_arms_work_alike() -> None:
    whole = compose(["experiment=quick", "seed=0"])
    half = compose(["experiment=quick", "seed=0", "experiment.effort=0.5"])
    assert [job.config.training.steps for job in half] == [job.config.training.steps // 2 for job in whole]  # type: ignore[operator]
    tiny = compose(["experiment=jain2024", "experiment.effort=1e-9"])
    assert {(job.config.training.steps, job.config.training.epochs) for job in tiny} == {(None, 1)}
    with pytest.raises(InputError, match=r"experiment\.effort must be positive"):
        compose(["experiment=headline", "experiment.effort=0"])


def test_one_budget_for_arms_that_are_planned_several_is_refused() -> None:
    experiment = replace(
        compose_settings("experiment=layers").experiment,
        sweeps=[
            {"pipeline": "superpixel_gnn", "training.steps": 500},
            {"pipeline": "tiled_cnn", "training.steps": 100},
        ],
    )
    with pytest.raises(InputError, match=r"the same budget, which plans 100 and 500: give experiment.effort=0.5"):
        expand_experiment(experiment, ["training.steps=10"])
    assert len(expand_experiment(experiment, ["training.steps=10", "pipeline=tiled_cnn"])) == 1
    assert len(expand_experiment(experiment, ["training.patience=null"])) == 2
