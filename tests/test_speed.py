"""Time to a score: crossings by hand, the cheapest of several budgets, preparation counted, fits without history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import make_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables import speed
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations


COLUMNS = ["run_id", "seconds", "val_score"]


def runs(*rows: dict[str, object]) -> pd.DataFrame:
    usual = {"seed": 0, "contended": False, "prepare_s": 1.0, "train_s": 9.0, "val_score": 0.9, "status": "ok"}
    more = {"invalid": False, "undertrained": "", "shorter": False}
    return pd.DataFrame([usual | more | row for row in rows])


def history(*rows: tuple[str, float, float | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_first_validation_at_a_target_counts_with_its_preparation() -> None:
    found = speed.reach(
        runs({"run_id": "a"}),
        history(("a", 2, 0.5), ("a", 4, 0.8), ("a", 5, None), ("a", 6, 0.7), ("b", 0, 1.0)),
        np.array([0.4, 0.5, 0.75, 0.8, 0.81]),
    )
    np.testing.assert_array_equal(found.seconds[:, 0], [3, 3, 5, 5, np.nan])


def test_of_several_budgets_the_cheapest_counts_for_each_target() -> None:
    """The long fit passes 0.6 late; the one planned for less reached it sooner, and was disturbed."""
    found = speed.reach(
        runs({"run_id": "long"}, {"run_id": "short", "contended": True}),
        history(("long", 10, 0.6), ("long", 20, 0.9), ("short", 3, 0.6), ("short", 4, 0.7)),
        np.array([0.6, 0.7, 0.9]),
    )
    assert found.seconds[:, 0].tolist() == [4, 5, 21]
    assert found.contended[:, 0].tolist() == [True, True, False]


def test_rows_of_cool_downs_within_a_fit_are_points_at_their_own_time() -> None:
    rows = history(("a", 4, 0.6), ("a", 5, 0.8), ("a", 8, 0.7)).assign(budget=[np.nan, 100, np.nan])
    assert speed.reach(runs({"run_id": "a"}), rows, np.array([0.7])).seconds.tolist() == [[6]]


def test_a_fit_without_history_counts_as_a_whole() -> None:
    found = speed.reach(runs({"run_id": "trees"}), history(), np.array([0.9, 0.91]))
    np.testing.assert_array_equal(found.seconds[:, 0], [9, np.nan])


def test_seeds_have_columns_and_a_median_needs_all_of_them() -> None:
    rows = history(("a", 1, 0.5), ("a", 2, 0.8), ("b", 3, 0.6))
    found = speed.reach(runs({"run_id": "a", "seed": 7}, {"run_id": "b", "seed": 3}), rows, np.array([0.5, 0.8]))
    assert found.seeds.tolist() == [3, 7]
    np.testing.assert_array_equal(found.seconds, [[4, 2], [np.nan, 3]])
    middle = found.median()
    assert middle[0].value == pytest.approx(np.sqrt(8))
    assert middle[0].low < 2 < 4 < middle[0].high
    assert np.isnan(middle[1].value)


def test_the_score_was_below_the_target_at_the_validation_before_or_while_images_were_prepared() -> None:
    rows = history(("a", 2, 0.5), ("a", 4, 0.6), ("a", 6, 0.8))
    found = speed.reach(runs({"run_id": "a"}), rows, np.array([0.7, 0.55, 0.5]))
    assert found.before[:, 0].tolist() == [5, 3, 1]
    assert found.at_first[:, 0].tolist() == [False, False, True]


def test_a_cool_down_is_compared_with_those_for_smaller_budgets() -> None:
    """The fit itself was below the target at 5 s, but a copy of it at that time would have been above it."""
    rows = history(("a", 2, 0.4), ("a", 4, 0.5), ("a", 1, 0.45), ("a", 5, 0.8))
    rows = rows.assign(budget=[np.nan, np.nan, 50, 100])
    found = speed.reach(runs({"run_id": "a"}), rows, np.array([0.7, 0.42]))
    assert found.seconds[:, 0].tolist() == [6, 2]
    assert found.before[:, 0].tolist() == [2, 1]


def test_a_fit_without_validations_cannot_end_sooner() -> None:
    found = speed.reach(runs({"run_id": "trees"}), history(), np.array([0.5]))
    assert found.before.tolist() == found.seconds.tolist() == [[9]]
    assert not found.at_first.any()


def test_the_interval_of_a_ratio_holds_what_the_times_between_validations_allow() -> None:
    """Every seed alike: the ratio lies between 3 / 3 and 5 / 2 seconds, whatever 5 / 3 says."""
    ids = [{"run_id": f"{name}{seed}", "seed": seed} for name in "ab" for seed in range(3)]
    steps = {"a": ((1, 0.5), (2, 0.8)), "b": ((2, 0.5), (4, 0.8))}
    rows = history(*((str(one["run_id"]), t, v) for one in ids for t, v in steps[str(one["run_id"])[0]]))
    ours, theirs = (speed.reach(runs(*ids[part]), rows, np.array([0.7])) for part in (slice(3), slice(3, 6)))
    found = speed.estimate_time_ratio(ours, theirs, 0)
    assert (found.value, found.low, found.high) == pytest.approx((5 / 3, 3 / 3, 5 / 2))


def test_a_seed_that_is_not_compared_does_not_count() -> None:
    """It ran for less, and never came to the target."""
    rows = history(*((f"{name}{seed}", 1 + seed, 0.2 if seed == 3 else 0.8) for name in "ab" for seed in range(4)))
    ids = [runs(*({"run_id": f"{name}{seed}", "seed": seed} for seed in range(4))) for name in "ab"]
    ours, theirs = (speed.reach(part, rows, np.array([0.7])) for part in ids)
    one, other, quiet = speed.select_common(ours, theirs, [0, 1, 2], fewest=3)
    assert one.seeds.tolist() == other.seeds.tolist() == [0, 1, 2]
    assert quiet == 3
    assert speed.estimate_time_ratio(one, other, 0).value == pytest.approx(1)
    assert np.isnan(speed.estimate_time_ratio(ours, theirs, 0).value)


def test_of_seeds_on_a_shared_machine_those_alone_count_where_they_are_enough() -> None:
    rows = history(*((f"{name}{seed}", 1, 0.8) for name in "ab" for seed in range(4)))
    ids = [
        runs(*({"run_id": f"{name}{s}", "seed": s, "contended": (name, s) == ("a", 2)} for s in range(4)))
        for name in "ab"
    ]
    ours, theirs = (speed.reach(part, rows, np.array([0.7])) for part in ids)
    assert speed.select_common(ours, theirs, range(4), fewest=3)[0].seeds.tolist() == [0, 1, 3]
    assert speed.select_common(ours, theirs, range(4), fewest=4)[0].seeds.tolist() == [0, 1, 2, 3]


def test_a_copy_that_cooled_down_is_no_converged_score() -> None:
    rows = history(("a", 1, 0.7), ("a", 2, 0.9), ("a", 3, 0.8)).assign(budget=[np.nan, 100, np.nan])
    assert speed.find_converged_score(runs({"run_id": "a"}), rows) == 0.8


def test_a_time_that_was_not_measured_is_not_invented() -> None:
    found = speed.reach(runs({"run_id": "a", "prepare_s": np.nan}), history(("a", 1, 0.5)), np.array([0.5]))
    assert np.isnan(found.seconds).all()


def test_the_targets_that_matter_are_reached_by_every_converged_run() -> None:
    rows = history(("a", 1, 0.9), ("a", 2, 0.85), ("b", 1, 0.8), ("short", 1, 0.2))
    first = runs({"run_id": "a"}, {"run_id": "short", "shorter": True})
    assert speed.find_targets(first, runs({"run_id": "b"}), rows) == pytest.approx([0.8, 0.79, 0.78])
    assert np.isnan(speed.find_targets(first, runs({"run_id": "c", "val_score": np.nan}), rows)).all()


def test_the_grid_rises_to_the_best_score() -> None:
    rows = history(("a", 1, 0.75), ("a", 2, 0.95), ("b", 1, 0.8), ("b", 2, 0.9))
    targets = speed.make_grid([runs({"run_id": "a"}), runs({"run_id": "b"})], rows, 9)
    assert (targets[0], targets[-1]) == (pytest.approx(0.75), pytest.approx(0.95))
    assert (np.diff(targets) > 0).all()
    assert (np.diff(targets, 2) < 0).all()  # finer towards the top


def test_a_method_has_all_its_budgets_and_no_undertrained_run(tmp_path: Path) -> None:
    cut = {"stopped": "steps", "late_gain": 0.1}
    for name, size, changes in (
        ("long", 100, {}),
        ("short", 100, cut | {"training__steps": 100}),
        ("cut", 50, cut),
        ("other", 200, {}),
    ):
        make_run(tmp_path, "superpixel_gnn", 0, size, run_id=name, run_key=name, **changes)  # type: ignore[arg-type]
    found = list_configurations(collect(tmp_path))
    like = found[found["run_id"] == "long"].iloc[0]
    assert set(speed.select_method(found, like)["run_id"]) == {"long", "short"}
