"""Time to score: how long each method takes, superpixels included, to reach each validation score."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.plots.curves import MOST_ARMS, scale_axis, scale_scores
from bench.plots.style import GREY, NoDataError, assign_styles, count_legend_columns, make_figure
from bench.tables import speed
from bench.tables.chosen import choose_configurations
from bench.tables.convergence import METHOD
from bench.tables.names import name_arm

BAND = 3  # seeds from which on the interval is drawn: of two it reaches further than the figure


def plot_time_to_score(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Draw the time to each score: one line per method, the median over seeds; shaded its 95 % interval."""
    drawn = _few(runs, [curve for curve in speed.make_curves(runs, history) if _find_reached(curve).sum() > 1])
    if not drawn:
        raise NoDataError("no arm has converged runs with more than one validation")
    figure, axes = make_figure()
    keys = [f"{curve.like['method']} {curve.like['superpixel_size']:g}" for curve in drawn]
    for curve, style in zip(drawn, assign_styles(keys).values(), strict=True):
        _line(axes, curve, *style)
    times = [curve.reached.seconds[_find_reached(curve)].ravel() for curve in drawn]
    scale_axis(axes, pd.Series(np.concatenate(times)))
    scale_scores(axes)
    if any(curve.reached.contended[_find_reached(curve)].any() for curve in drawn):
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="hollow: contended run")
    axes.set(xlabel="seconds to the score (superpixels and validation included)")
    axes.set(ylabel="macro Dice on validation pixels")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=count_legend_columns(labels))
    return figure


def _few(runs: pd.DataFrame, found: list[speed.Curve]) -> list[speed.Curve]:
    """All methods, or of more than a legend holds only those that stand for their arm."""
    if len(found) <= MOST_ARMS:
        return found
    wanted = [tuple(map(str, group.iloc[0][METHOD])) for group in choose_configurations(runs).values()]
    return [curve for curve in found if tuple(map(str, curve.like[METHOD])) in wanted]


def _find_reached(curve: speed.Curve) -> NDArray[np.bool_]:
    """Which targets every seed reached."""
    return np.asarray(~np.isnan(curve.reached.seconds).any(axis=1), np.bool_)


def _line(axes: Axes, curve: speed.Curve, color: str, marker: str) -> None:
    """One method's line, its interval from three seeds on, and a marker where it ends."""
    known, count = _find_reached(curve), len(curve.reached.seeds)
    targets = curve.reached.targets[known]
    middle, low, high = (np.array([getattr(e, part) for e in curve.median])[known] for part in ("value", "low", "high"))
    axes.plot(middle, targets, color=color, linewidth=1.5)
    if count >= BAND:
        axes.fill_betweenx(targets, low, high, color=color, alpha=0.15, linewidth=0)
    contended = curve.reached.contended[known].any(axis=1)
    ends = np.arange(len(targets)) == len(targets) - 1
    for hollow, face in ((False, color), (True, "white")):
        shown = (contended | ends) & (contended == hollow)
        if shown.any():
            axes.scatter(
                middle[shown], targets[shown], marker=marker, s=30, facecolors=face, edgecolors=color, zorder=3
            )
    size = curve.like["superpixel_size"]
    detail = "" if np.isnan(size) else f"{size:g} px, "
    label = f"{name_arm(str(curve.like['method']))} ({detail}{count} seed{'s'[: count != 1]})"
    axes.plot([], [], color=color, marker=marker, markersize=5, linewidth=1.5, label=label)
