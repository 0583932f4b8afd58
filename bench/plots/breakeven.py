"""Seconds from images to masks of both arms over what is varied, from the rates that were measured."""

import math
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.config import InputError
from bench.plots.style import GREY, NoDataError, find_style, make_figure
from bench.tables.breakeven import BreakEven, Crossing, find_break_evens
from bench.tables.text import format_outcome

TITLE = 48  # letters of a line above a panel


def plot_break_even(runs: pd.DataFrame, stages: pd.DataFrame) -> Figure:
    """Draw one panel per quantity, both axes logarithmic; the crossing as a dashed line."""
    try:
        found = find_break_evens(runs, stages)
    except InputError as error:
        raise NoDataError(f"no break-even: {error}") from error
    figure, first = make_figure(7.0, 5.6)
    first.remove()
    for axes, crossing in zip(figure.subplots(2, 2).flat, found.crossings, strict=True):
        _panel(axes, crossing, found)
    figure.supylabel("seconds from images to masks", fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _panel(axes: Axes, crossing: Crossing, found: BreakEven) -> None:
    now = crossing.quantity.now(found.project)
    x = np.geomspace(*_range(crossing, now), 200)
    for side, name, (fixed, slope) in zip(found.sides, found.names, (crossing.gnn, crossing.cnn), strict=True):
        axes.plot(x, fixed + slope * x, color=find_style(side)[0], linewidth=1.5, label=name)
    if not math.isnan(now):
        axes.axvline(now, color=GREY, linewidth=1, linestyle=":")
    axes.plot([], [], ":", color=GREY, linewidth=1, label="as in these runs")
    if x[0] <= crossing.x <= x[-1]:
        axes.axvline(crossing.x, color="black", linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel=crossing.quantity.name)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_title(fill(format_outcome(crossing), TITLE), loc="left", fontsize=8)


def _range(crossing: Crossing, now: float) -> tuple[float, float]:
    """A decade on both sides of what is of interest, from 1 on for what is counted; 1 to 1000 where nothing is."""
    known = [value for value in (crossing.x, now) if value > 0]  # NaN is not
    low, high = (min(known) / 10, max(known) * 10) if known else (1.0, 1000.0)
    return (max(low, 1.0), max(high, 100.0)) if crossing.quantity.whole else (low, high)
