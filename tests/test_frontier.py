"""The frontier against a plain search, budgets against a hand count, and no frontier where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import copy_results, make_results, make_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots.frontier import plot_frontier
    from bench.plots.style import NoDataError
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations
    from bench.tables.frontier import (
        COSTS,
        MEMORY,
        TRAINING,
        explain_too_few,
        list_families,
        make_frontier,
        make_points,
        search_budgets,
        select_like_peaks,
    )


ENCODERS = {"tiny": (-0.05, 0.2, 600), "small": (-0.02, 0.5, 1200), "large": (0.0, 1.0, 2400)}  # gain, slow, MiB


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frontier")
    make_results(folder, seeds=3, sizes=(50, 200))
    for directory in (folder / "runs").glob("*tiled_cnn*"):
        (directory / "run.json").unlink()
    for seed in range(3):
        for name, (gain, slow, mib) in ENCODERS.items():
            make_run(
                folder, "tiled_cnn", seed, run_id=f"{name}-{seed}", run_key=f"{name}-{seed}", gain=gain, slow=slow,
                peak_memory_bytes=mib * 2**20, pipeline__model__encoder_name=name,
            )  # fmt: skip
    return folder


@pytest.fixture
def runs(template: Path) -> pd.DataFrame:
    return list_configurations(collect(template))


def beaten(point: pd.Series, others: pd.DataFrame) -> bool:
    """By the definition, one pair at a time."""
    return any(
        other["cost"] <= point["cost"]
        and other["dice"] >= point["dice"]
        and (other["cost"] < point["cost"] or other["dice"] > point["dice"])
        for _, other in others.iterrows()
    )


@pytest.mark.parametrize("number", range(3))
def test_the_fronts_are_what_nothing_beats(runs: pd.DataFrame, number: int) -> None:
    cost = COSTS[number]
    assert len(COSTS) == 3
    found = make_points(runs, cost)
    assert len(found) == 3 + 2 + 2
    for _, point in found.iterrows():
        assert point["on_front"] == (not beaten(point, found))
        assert point["on_own_front"] == (not beaten(point, found[found["pipeline"] == point["pipeline"]]))
        assert point["on_own_front"] or not point["on_front"]
        assert 0 <= point["share"] <= min(1, point["own_share"] + 0.05)  # drawn separately


def test_points_are_means_within_their_intervals(runs: pd.DataFrame) -> None:
    found = make_points(runs, TRAINING)
    small = runs[runs["arm"] == "tiled_cnn encoder_name=small"]
    [point] = found[found["arm"] == "tiled_cnn encoder_name=small"].to_dict("records")
    assert point["cost"] == pytest.approx(small["train_s"].mean())
    assert point["dice_low"] < point["dice"] < point["dice_high"]
    assert point["runs"] == 3
    alone = make_points(runs[runs["seed"] == 0], TRAINING)
    assert alone["dice_low"].isna().all()
    assert set(alone["share"]) <= {0.0, 1.0}


def test_a_front_needs_two_configurations_of_each_rival(runs: pd.DataFrame) -> None:
    assert explain_too_few(runs) == ""
    few = runs[runs["arm"].isin(["tiled_cnn encoder_name=tiny"]) | (runs["pipeline"] == "superpixel_gnn")]
    assert "there are 2 of superpixel_gnn and 1 of tiled_cnn" in explain_too_few(few)
    assert make_frontier(few).empty
    with pytest.raises(NoDataError, match="at least 2"):
        plot_frontier(few, MEMORY)


def test_marks_name_the_fronts_and_are_the_same_for_every_cost(runs: pd.DataFrame) -> None:
    found = make_frontier(runs)
    assert set(found["cost_name"]) == {cost.name for cost in COSTS}
    assert (found.loc[found["on_own_front"], "mark"] != "").all()
    names = found[found["mark"] != ""].groupby("mark")[["arm", "superpixel_size"]].nunique(dropna=False)
    assert (names == 1).all(axis=None)
    marks = sorted(set(found["mark"]) - {""})
    assert marks == [chr(ord("a") + number) for number in range(len(marks))]


def test_the_best_within_a_budget_by_hand(runs: pd.DataFrame) -> None:
    found = {(item.cost, item.names[0]): item for item in search_budgets(runs)}
    assert len(found) == 6
    cnn = found[MEMORY, "U-Net"]  # the GNN at 50 px takes 1100 MiB
    assert cnn.budget == pytest.approx(700 + 2e4 / 50)
    assert set(cnn.taker["arm"]) == {"tiled_cnn encoder_name=tiny"}
    expected = cnn.taker.sort_values("seed")["dice"].to_numpy() - cnn.giver.sort_values("seed")["dice"].to_numpy()
    assert cnn.difference.value == pytest.approx(expected.mean())
    assert cnn.difference.low < expected.min()
    gnn = found[MEMORY, "GNN"]  # the best CNN on validation takes 2400 MiB, which every GNN keeps within
    assert set(gnn.giver["arm"]) == {"tiled_cnn encoder_name=large"}
    assert set(gnn.taker["superpixel_size"]) == {50.0}


def test_no_configuration_within_a_budget_is_said_with_the_least_there_is(runs: pd.DataFrame) -> None:
    [item] = [i for i in search_budgets(runs) if i.cost is TRAINING and i.names[0] == "U-Net"]
    assert item.taker.empty
    assert item.least > item.budget
    assert not item.difference.has_interval
    assert np.isnan(item.difference.value)


def test_the_choice_looks_at_validation_images_only(runs: pd.DataFrame) -> None:
    flattered = runs.assign(dice=runs["dice"].mask(runs["superpixel_size"] == 200, 1.0))
    flattered.loc[flattered["pipeline"] == "tiled_cnn", "dice"] = 0.5
    for before, after in zip(search_budgets(runs), search_budgets(flattered), strict=True):
        assert list(before.taker["run_id"]) == list(after.taker["run_id"])
        assert list(before.giver["run_id"]) == list(after.giver["run_id"])


def test_kinds_of_memory_have_panels_of_their_own(template: Path, tmp_path: Path) -> None:
    folder = copy_results(template, tmp_path / "copy")
    for seed in range(2):
        for name in ("e1", "e2"):
            make_run(
                folder, "tiled_cnn", seed, run_id=f"gpu-{name}-{seed}", run_key=f"gpu-{name}-{seed}", device="cuda",
                peak_memory_kind="gpu_process", pipeline__model__encoder_name=name,
            )  # fmt: skip
    runs = list_configurations(collect(folder))
    assert set(make_points(runs, MEMORY)["kind"]) == {"cpu_rss", "gpu_process"}
    figure = plot_frontier(runs, MEMORY)
    assert len(figure.axes) == 2
    assert {item.kind for item in search_budgets(runs) if item.cost is MEMORY} == {"cpu_rss"}


def test_every_point_is_drawn_and_the_front_never_falls(runs: pd.DataFrame) -> None:
    figure = plot_frontier(runs, TRAINING)
    [axes] = figure.axes
    drawn = np.concatenate([np.asarray(part.get_offsets(), float).reshape(-1, 2) for part in axes.collections])
    for point in make_points(runs, TRAINING).to_dict("records"):
        assert np.isclose(drawn, [point["cost"], point["dice"]]).all(axis=1).any()
    heights = [np.asarray(line.get_ydata(), float) for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert len(heights) == 3
    assert all((np.diff(height) >= 0).all() for height in heights)


def test_pretrained_networks_and_programs_elsewhere_have_fronts_of_their_own(template: Path, tmp_path: Path) -> None:
    folder = copy_results(template, tmp_path / "results")
    make_run(
        folder, "tiled_cnn", run_id="pretrained", run_key="pretrained", gain=0.1, peak_memory_bytes=1,
        pipeline__model__encoder_weights="imagenet",
    )  # fmt: skip
    make_run(folder, "external", pipeline__label="nnU-Net v2", peak_memory_bytes=2**40)
    found = make_points(list_configurations(collect(folder)), MEMORY)
    before = make_points(list_configurations(collect(template)), MEMORY)
    kept = set(before[before["on_own_front"]]["arm"])
    assert kept <= set(found[found["on_own_front"]]["arm"]), "what is pretrained beats nothing from scratch"
    assert list_families(found)[:2] == ["tiled_cnn", "tiled_cnn pretrained"]
    assert "external nnU-Net v2" in list_families(found)
    assert found[found["arm"] == "external nnU-Net v2"]["on_own_front"].all()


def test_a_stated_kind_of_memory_that_nothing_here_has_leaves_the_others_their_figure(runs: pd.DataFrame) -> None:
    stated = runs.iloc[:1].assign(pipeline="external", peak_memory_kind="gpu_process")
    assert set(select_like_peaks(pd.concat([runs, stated]))["peak_memory_kind"]) == {"cpu_rss"}
    same = stated.assign(peak_memory_kind="cpu_rss")
    assert "external" in set(select_like_peaks(pd.concat([runs, same]))["pipeline"])


def add_contended(folder: Path) -> pd.DataFrame:
    """A slow contended run of a configuration with uncontended ones, and a configuration with contended ones alone."""
    shared = {"flags": "contended: others computed", "slow": 50.0}
    make_run(folder, "tiled_cnn", 9, run_id="slow", run_key="slow", pipeline__model__encoder_name="small", **shared)  # type: ignore[arg-type]
    make_run(folder, "tiled_cnn", 0, run_id="alone", run_key="alone", pipeline__model__encoder_name="huge", **shared)  # type: ignore[arg-type]
    return list_configurations(collect(folder))


def test_a_contended_time_counts_where_there_is_no_other_alone_and_is_marked(template: Path, tmp_path: Path) -> None:
    before = make_points(list_configurations(collect(template)), TRAINING).set_index("arm")
    runs = add_contended(copy_results(template, tmp_path / "contended"))
    after = make_points(runs, TRAINING).set_index("arm")
    name = next(arm for arm in after.index if "small" in arm)
    assert after.loc[name, "cost"] == before.loc[name, "cost"]
    assert [arm for arm in after.index[after["contended"]] if "huge" in arm] == list(after.index[after["contended"]])
    memory = make_points(runs, MEMORY).set_index("arm")
    assert memory.loc[name, "runs"] == after.loc[name, "runs"] + 1
    assert not memory["contended"].any()


def test_a_contended_time_is_no_budget_and_takes_none_but_its_score_counts(template: Path, tmp_path: Path) -> None:
    before = search_budgets(list_configurations(collect(template)))
    after = search_budgets(add_contended(copy_results(template, tmp_path / "contended")))
    for ours, theirs in zip(before, after, strict=True):
        if ours.cost is TRAINING and "huge" not in str(theirs.giver["arm"].iloc[0]):
            assert (theirs.budget, theirs.least) == (ours.budget, ours.least)
            assert theirs.contended == (False, False)
    assert {item.contended for item in after if item.cost is MEMORY} == {(False, False)}
