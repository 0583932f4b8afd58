"""What a list of runs will take is said before it starts, and the small frontier fits where it says that it does."""

from dataclasses import replace

import pytest

from bench.config import InputError
from bench.sweeps.compose import compose
from bench.sweeps.expected import BESIDES, expected
from bench.sweeps.jobs import expand


def test_a_single_run_says_nothing() -> None:
    assert expected(compose(["pipeline=tiled_cnn"])) == ""


def test_budgets_add_up_and_arms_that_do_not_learn_take_none() -> None:
    jobs = compose(["experiment=rivals"])
    seconds = 3 * 60 + 3 * 60 + 60 + 600 + BESIDES * len(jobs)
    said = f"rivals: {len(jobs)} runs, about {round(seconds / 60)} min if they use all of their budgets\n"
    assert expected(jobs) == said


def test_without_a_budget_in_seconds_no_time_is_promised() -> None:
    jobs = compose(["experiment=rivals", "training.seconds=null", "training.steps=10"])
    assert "8 of them without a budget in seconds" in expected(jobs)


def test_the_small_frontier_takes_forty_minutes_at_most_and_the_full_one_has_more() -> None:
    small = compose(["experiment=frontier"])
    arms = {"tiled_cnn", "superpixel_gnn", "superpixel_mlp", "oracle"}
    assert {job.config.pipeline.name for job in small} == arms
    assert int(expected(small).split("about ")[1].split(" min")[0]) <= 40
    assert len(expand(replace(small[0].config.experiment, budget="full"), [])) > 3 * len(small)


def test_a_budget_that_an_experiment_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="rivals has none"):
        compose(["experiment=rivals", "experiment.budget=full"])
