"""Break-even: rates against the tables by hand, crossings against a search, refusal of times not to be believed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import make_run

from bench.config import InputError

if TYPE_CHECKING:
    from bench.plots.breakeven import plot_break_even
    from bench.plots.style import NoDataError
    from bench.tables.breakeven import (
        QUANTITIES,
        BreakEven,
        Crossing,
        Line,
        Project,
        Rates,
        compare_lines,
        find_break_evens,
        find_crossing,
    )
    from bench.tables.collect import Tables, collect
    from bench.tables.comparison import list_configurations
    from bench.tables.text import format_outcome


RIVALS = ("superpixel_gnn", "tiled_cnn")


def project() -> Project:
    return Project(train=4, val=4, predicted=4, megapixels=0.09)


def made(folder: Path, seeds: int = 3, **changes: object) -> Tables:
    for seed in range(seeds):
        for pipeline in RIVALS:
            make_run(folder, pipeline, seed, epochs=20, stopped="patience", **changes)  # type: ignore[arg-type]
    return collect(folder)


def evens(tables: Tables) -> BreakEven:
    return find_break_evens(list_configurations(tables), tables.stages)


def rates(start: float, prepare: float, epoch: float, epochs: float, predict: float) -> Rates:
    return Rates(*(np.array([value]) for value in (start, prepare, epoch, epochs, predict)))


def test_rates_come_from_the_stages(tmp_path: Path) -> None:
    found = evens(made(tmp_path, seeds=1))
    assert found.project == project()
    start, prepare, epoch, epochs, predict = found.gnn.means()  # of the made-up stages of a run at 100 px
    assert start == pytest.approx(1.5)
    assert prepare == pytest.approx(4 * 1.1 / 0.72)
    assert epoch == pytest.approx(44 / 20 / 0.36)
    assert epochs == 20
    assert predict == pytest.approx((1.1 + 0.2) / 0.36)


@pytest.mark.parametrize("number", range(4))
def test_at_the_size_of_the_runs_the_lines_give_what_was_measured(number: int, tmp_path: Path) -> None:
    assert len(QUANTITIES) == 4
    quantity = QUANTITIES[number]
    tables = made(tmp_path, seeds=1)
    found = evens(tables)
    [crossing] = [crossing for crossing in found.crossings if crossing.quantity is quantity]
    now = 20.0 if math.isnan(crossing.quantity.now(project())) else crossing.quantity.now(project())
    for name, (fixed, slope) in zip(RIVALS, (crossing.gnn, crossing.cnn), strict=True):
        measured = tables.stages[tables.stages["run_id"].str.contains(name)]["seconds"].sum()
        assert fixed + slope * now == pytest.approx(measured)


@pytest.mark.parametrize(
    ("gnn", "cnn", "outcome"),
    [((10, 1), (4, 2.5), "from"), ((4, 2.5), (10, 1), "up to"), ((1, 1), (2, 2), "always"), ((2, 2), (1, 1), "never")],
)
def test_the_outcome_is_the_one_that_a_search_finds(gnn: Line, cnn: Line, outcome: str) -> None:
    kind, x = compare_lines(gnn, cnn)
    assert kind == outcome
    grid = np.linspace(0, 20, 2001)
    wins = gnn[0] + gnn[1] * grid < cnn[0] + cnn[1] * grid
    expected = {"from": grid > x, "up to": grid < x, "always": grid >= 0, "never": grid < 0}[kind]
    assert (wins == expected)[np.abs(grid - x) > 1e-9 if not math.isnan(x) else slice(None)].all()


def crossing(gnn: Rates, cnn: Rates, number: int) -> Crossing:
    quantity = QUANTITIES[number]
    lines = quantity.line(gnn.means(), project()), quantity.line(cnn.means(), project())
    return Crossing(quantity, *lines, *compare_lines(*lines))


def test_where_superpixels_are_dear_they_pay_off_after_some_epochs_only() -> None:
    dear, plain = rates(0, 100, 1, 10, 100), rates(0, 0, 5, 10, 1)
    found = crossing(dear, plain, 2)
    assert found.outcome == "from"
    assert found.x == pytest.approx((100 * 8 + 99 * 4) / (4 * 4))
    assert format_outcome(found) == f"the GNN takes less time from {math.ceil(found.x)} on"
    few = crossing(rates(0, 0, 1, 10, 100), rates(0, 0, 5, 10, 1), 3)
    assert few.outcome == "up to"  # it predicts slowly: many images to predict eat up what training saved
    assert few.x == pytest.approx(4 * 10 * 4 / 99)
    assert format_outcome(crossing(plain, dear, 0)) == "the GNN always takes less time"
    assert format_outcome(crossing(dear, plain, 0)) == "the GNN never takes less time"
    assert format_outcome(crossing(rates(0, 1, 1, 10, 1), rates(0, 0, 5, 10, 1), 2)).endswith("from the first on")


def test_several_runs_give_an_interval_around_the_crossing(tmp_path: Path) -> None:
    for seed in range(5):
        make_run(tmp_path, "superpixel_gnn", seed, epochs=20, slow=1 + seed / 20)
        make_run(tmp_path, "tiled_cnn", seed, epochs=20, slow=1 + seed / 20)
    [epochs] = [crossing for crossing in evens(collect(tmp_path)).crossings if crossing.quantity.name == "epochs"]
    assert epochs.outcome == "from"
    assert epochs.low < epochs.x < epochs.high
    [alone] = [c for c in evens(made(tmp_path / "one", seeds=1)).crossings if c.quantity.name == "epochs"]
    assert math.isnan(alone.low)


def test_flagged_runs_are_not_used(tmp_path: Path) -> None:
    made(tmp_path, seeds=2)
    make_run(tmp_path, "tiled_cnn", 2, epochs=20, slow=50, flags="contended: others computed")
    make_run(tmp_path, "tiled_cnn", 3, epochs=20, slow=50, flags="invalid: the sampler died")
    assert len(evens(collect(tmp_path)).cnn) == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"flags": "contended: others computed"}, "flagged as contended"),
        ({"flags": "invalid: the sampler died"}, "no valid run"),
        ({"status": "failed"}, "no valid run of superpixel_gnn that converged"),
        ({"stopped": "seconds"}, "no valid run of superpixel_gnn that converged"),
        ({"epochs": None}, "lack times, pixels or epochs"),
    ],
)
def test_it_refuses_what_cannot_be_believed(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    for pipeline in RIVALS:
        make_run(tmp_path, pipeline, **({"epochs": 20} | changes))  # type: ignore[arg-type]
    tables = collect(tmp_path)
    with pytest.raises(InputError, match=why):
        evens(tables)
    with pytest.raises(NoDataError, match="no break-even"):
        plot_break_even(list_configurations(tables), tables.stages)


def test_a_missing_arm_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", epochs=20)
    with pytest.raises(InputError, match="no valid run of tiled_cnn that converged"):
        evens(collect(tmp_path))


def test_the_figure_shows_both_lines_and_the_crossing(tmp_path: Path) -> None:
    tables = made(tmp_path, seeds=1)
    figure = plot_break_even(list_configurations(tables), tables.stages)
    assert len(figure.axes) == len(QUANTITIES)
    for axes, crossing in zip(figure.axes, evens(tables).crossings, strict=True):
        x, y = (np.asarray(data, float) for data in axes.lines[0].get_data())
        assert y == pytest.approx(crossing.gnn[0] + crossing.gnn[1] * x)
        assert axes.get_title(loc="left") == format_outcome(crossing)


def test_an_epoch_that_was_cut_short_counts_for_as_much_as_was_done(tmp_path: Path) -> None:
    begun = evens(made(tmp_path / "older")).gnn
    cut = evens(made(tmp_path / "now", steps=1950, steps_per_epoch=100)).gnn
    np.testing.assert_allclose(cut.epochs, 19.5)
    np.testing.assert_allclose(begun.epochs, 20)
    np.testing.assert_allclose(cut.epoch * 19.5, begun.epoch * 20)


def draw_rates(rng: np.random.Generator, *means: float, runs: int = 3) -> Rates:
    """Rates of runs that differ by a tenth."""
    return Rates(*(np.abs(rng.normal(mean, mean / 10, runs)) for mean in means))


def test_the_interval_of_three_runs_covers_the_crossing_nineteen_times_of_twenty() -> None:
    gnn, cnn = (50.0, 0.5, 0.1, 20.0, 0.5), (20.0, 0.01, 0.1, 20.0, 0.8)
    quantity, rng = QUANTITIES[3], np.random.default_rng(1)
    kind, true = compare_lines(quantity.line(gnn, project()), quantity.line(cnn, project()))
    assert kind == "from"
    repeats = [find_crossing(quantity, draw_rates(rng, *gnn), draw_rates(rng, *cnn), project()) for _ in range(100)]
    covered = [found.low <= true <= found.high for found in repeats if found.outcome == "from"]
    assert len(covered) >= 95
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize(("swapped", "words"), [(False, "from 1501 on"), (True, "up to 1500")])
def test_redrawn_runs_without_a_crossing_make_an_end_that_says_so(swapped: bool, words: str) -> None:
    same = np.ones(3)
    start, none = np.array([140.0, 150.05, 160.1]), 0 * same
    dear = Rates(start, none, none, same, np.array([0.35, 0.375, 0.4]))
    cheap = Rates(none, none, none, same, np.array([0.3, 0.4, 0.725]))  # the runs differ in which of the two is slower
    arms = (cheap, dear) if swapped else (dear, cheap)
    found = find_crossing(QUANTITIES[3], *arms, Project(4, 4, 4, 1.0))
    assert found.x == pytest.approx(1500.5)
    assert math.isinf(found.high)
    assert 0 < found.low < found.x
    assert 0.5 < found.share < 1
    assert format_outcome(found).startswith(f"the GNN takes less time {words} [")
    assert format_outcome(found).endswith(", always]" if swapped else ", never]")


def test_an_outcome_without_a_crossing_says_how_many_redrawn_runs_share_it() -> None:
    found = Crossing(QUANTITIES[0], (2, 2), (1, 1), "never", math.nan, share=0.59)
    assert format_outcome(found) == "the GNN never takes less time (59% of redrawn runs)"
    assert format_outcome(replace(found, share=1.0)) == "the GNN never takes less time"
