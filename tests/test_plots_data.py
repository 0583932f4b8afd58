"""The table and the words of a figure are read off the figure: what was drawn is there, once, and nothing else."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.plots.data import MOST_POINTS, describe_drawn, list_series, make_table
    from bench.plots.style import make_figure


def read(figure: Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(make_table(figure))))


def test_lines_points_and_intervals_are_what_was_drawn() -> None:
    figure, axes = make_figure()
    axes.plot([1, 2, 3], [0.5, 0.25, 0.125], color="#0072B2")  # named by the legend's colour
    axes.plot([], [], color="#0072B2", label="CNN")
    axes.errorbar([2], [0.25], yerr=[[0.05], [0.1]], xerr=0, fmt="none", ecolor="#0072B2", capsize=2)
    axes.scatter([4], [0.75], color="#D55E00", label="GNN")
    axes.axhline(0.9, label="ceiling", color="k")
    axes.set(xlabel="seconds", ylabel="Dice")
    rows = read(figure)
    assert list(rows[0]) == ["panel", "series", "kind", "seconds", "Dice", "x_end", "y_end"]
    found = [(row["series"], row["kind"], row["seconds"], row["Dice"], row["y_end"]) for row in rows]
    assert found == [
        ("CNN", "line", "1", "0.5", ""),
        ("CNN", "line", "2", "0.25", ""),
        ("CNN", "line", "3", "0.125", ""),
        ("ceiling", "level", "", "0.9", ""),
        ("CNN", "interval", "2", "0.2", "0.35"),
        ("GNN", "points", "4", "0.75", ""),
    ]
    words = "Across: seconds. Up: Dice. CNN: 0.125 to 0.5 between 1 and 3; GNN: 0.75 at 4."
    assert describe_drawn(figure) == words


def test_panels_are_told_apart_by_what_differs() -> None:
    figure, first = make_figure()
    first.remove()
    for number, axes in enumerate(figure.subplots(1, 2)):
        axes.plot([1, 2], [3, 4], label="a")
        axes.set_xlabel(f"quantity {number}")
        axes.set_title("same title", loc="left")
    figure.supylabel("s")
    assert [series.panel for series in list_series(figure)] == ["quantity 0; same title", "quantity 1; same title"]
    assert "x" in read(figure)[0]
    assert describe_drawn(figure).startswith(
        "Across: one quantity in each panel. Up: s. a (quantity 0; same title): 3 to 4"
    )


def test_bars_and_spans_have_both_ends() -> None:
    figure, axes = make_figure()
    axes.bar(0.5, 0.2, 0.4, 0.7)
    axes.axvspan(1, 3, label="train", color="k")
    found = [(s.kind, s.label, s.start.tolist(), s.end.tolist()) for s in list_series(figure)]
    assert [(kind, label) for kind, label, *_ in found] == [("bar", ""), ("span", "train")]
    assert np.ravel(found[0][2:]).tolist() == pytest.approx([0.3, 0.7, 0.7, 0.9])
    assert found[1][2][0][0] == 1
    assert found[1][3][0][0] == 3


def test_a_long_line_keeps_its_peaks() -> None:
    figure, axes = make_figure()
    x = np.arange(20_000.0)
    y = np.sin(x / 700)
    y[12_345] = 9
    axes.plot(x, y, label="memory")
    [series] = list_series(figure)
    assert len(series.start) <= MOST_POINTS
    assert [12_345.0, 9.0] in series.start.tolist()
    assert (np.diff(series.start[:, 0]) > 0).all()
    assert series.start[[0, -1], 0].tolist() == [0, 19_999]


def test_a_straight_line_is_its_ends() -> None:
    figure, axes = make_figure()
    x = np.geomspace(1, 1000, 200)
    axes.plot(x, 3 + 0.1 * x, label="straight")
    axes.plot(x, np.sqrt(x), label="bent")
    straight, bent = list_series(figure)
    assert straight.start.ravel().tolist() == pytest.approx([1, 3.1, 1000, 103])
    assert len(bent.start) == 200


def test_pictures_have_words_and_no_table() -> None:
    figure, axes = make_figure()
    axes.imshow(np.zeros((2, 2)))
    axes.set_title("truth")
    assert make_table(figure) == ""
    assert describe_drawn(figure) == "Pictures: truth."
    axes.annotate("superpixels\n-2.1 [-3, -1]", (0, 0))
    assert describe_drawn(figure) == "Marked: superpixels -2.1 [-3, -1]."


def test_points_without_a_number_are_left_out() -> None:
    figure, axes = make_figure()
    axes.plot(pd.Series([1.0, np.nan, 3.0]), pd.Series([1.0, 2.0, np.nan]), label="a")
    axes.scatter([np.nan, 2], [1, 2], label="b")
    assert [(s.label, s.start.tolist()) for s in list_series(figure)] == [("a", [[1, 1]]), ("b", [[2, 2]])]
