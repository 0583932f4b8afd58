"""Time to score: how long each arm's chosen method takes, superpixels included, to reach each validation score."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.plots.curves import scale_axis
from bench.plots.style import GREY, NoDataError, count_legend_columns, find_style, make_figure
from bench.tables.chosen import choose_configurations
from bench.tables.convergence import METHOD
from bench.tables.names import name_arm
from bench.tables.speed import Curve, make_curves

BAND = 3  # seeds from which on the interval is drawn: of two it reaches further than the figure


def plot_time_to_score(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Draw the time to each score: one line per arm, the median over seeds; shaded its 95 % interval."""
    wanted = [tuple(map(str, group.iloc[0][METHOD])) for group in choose_configurations(runs).values()]
    found = [curve for curve in make_curves(runs, history) if tuple(map(str, curve.like[METHOD])) in wanted]
    drawn = [curve for curve in found if _known(curve).sum() > 1]
    if not drawn:
        raise NoDataError("no arm has converged runs with more than one validation")
    figure, axes = make_figure()
    for curve in drawn:
        _line(axes, curve)
    times = [curve.reached.seconds[_known(curve)].ravel() for curve in drawn]
    scale_axis(axes, pd.Series(np.concatenate(times)))
    if any(curve.reached.contended[_known(curve)].any() for curve in drawn):
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="hollow: contended run")
    axes.set(
        xlabel="seconds to the score (superpixels and validation included)", ylabel="macro Dice on validation pixels"
    )
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=count_legend_columns(labels))
    return figure


def _known(curve: Curve) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which targets every seed reached."""
    return np.asarray(~np.isnan(curve.reached.seconds).any(axis=1), np.bool_)


def _line(axes: Axes, curve: Curve) -> None:
    """One method's line, its interval from three seeds on, and a marker where it ends."""
    color, marker = find_style(str(curve.like["pipeline"]))
    known = _known(curve)
    targets = curve.reached.targets[known]
    middle, low, high = (np.array([getattr(e, part) for e in curve.median])[known] for part in ("value", "low", "high"))
    count = len(curve.reached.seeds)
    label = f"{name_arm(str(curve.like['pipeline']))} ({count} seed{'s'[: count != 1]})"
    contended = curve.reached.contended[known].any(axis=1)
    axes.plot(middle, targets, color=color, linewidth=1.5)
    if count >= BAND:
        axes.fill_betweenx(targets, low, high, color=color, alpha=0.15, linewidth=0)
    ends = np.arange(len(targets)) == len(targets) - 1
    for hollow in (False, True):
        shown = (contended | ends) & (contended == hollow)
        face = "white" if hollow else color
        if not shown.any():
            continue
        axes.scatter(middle[shown], targets[shown], marker=marker, s=30, facecolors=face, edgecolors=color, zorder=3)
    axes.plot([], [], color=color, marker=marker, markersize=5, linewidth=1.5, label=label)
