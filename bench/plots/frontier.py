"""The fronts of both arms: score against peak memory, training time and prediction time, every configuration shown."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.plots.curves import DICE, scale_axis
from bench.plots.labels import Label, place_labels
from bench.plots.style import GREY, KINDS, NoDataError, assign_styles, make_figure
from bench.tables.frontier import (
    MEMORY,
    Cost,
    explain_too_few,
    list_families,
    make_frontier,
    select_contenders,
    select_costed,
)
from bench.tables.names import find_family, name_arm

Styles = dict[str, tuple[str, str]]  # colour and marker by family of arms
PALE = 0.4  # opacity of a configuration that another one of its arm beats


def plot_frontier(runs: pd.DataFrame, cost: Cost) -> Figure:
    """Draw one panel per kind of memory (one alone for times): points, intervals over seeds, a front per arm.

    A point whose times are of runs that shared the machine is hollow.
    """
    if reason := explain_too_few(runs):
        raise NoDataError(reason)
    found = make_frontier(runs)
    found = found[found["cost_name"] == cost.name]
    if found.empty:
        raise NoDataError(f"no finished learning run has a {cost.name}")
    kinds = sorted(found["kind"].unique())
    figure, first = make_figure(7.0, 1.0 + 3.4 * len(kinds))
    first.remove()
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    styles = assign_styles(list_families(found))
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, found[found["kind"] == kind], _single_runs(runs, cost, kind), styles)
        what = f" ({KINDS.get(kind, kind)})" if kind else ""
        axes.set(xlabel=f"{cost.name}, {cost.unit}{what}", ylabel=DICE)
    _legend(figure, styles, bool(found["contended"].any()))
    for axes, kind in zip(panels, kinds, strict=True):
        _letters(axes, found[found["kind"] == kind], styles)
    return figure


def _single_runs(runs: pd.DataFrame, cost: Cost, kind: str) -> pd.DataFrame:
    """The runs behind the means, with their cost in the figure's unit as `x`."""
    used = select_costed(select_contenders(runs), cost)
    used = used[used["peak_memory_kind"] == kind] if cost is MEMORY and kind else used
    return used.assign(x=used[cost.column] / cost.scale)


def _panel(axes: Axes, found: pd.DataFrame, single: pd.DataFrame, styles: Styles) -> None:
    scale_axis(axes, found["cost"])
    for family in list_families(found):
        color, marker = styles[family]
        own = found[found["arm"].map(find_family) == family]
        several = single[(single["arm"].map(find_family) == family) & single["seed"].duplicated(keep=False)]
        axes.scatter(several["x"], several["dice"], marker=".", s=9, color=color, alpha=0.35, linewidths=0)
        _intervals(axes, own, color)
        best = own[own["on_own_front"]]
        _markers(axes, own[~own["on_own_front"]], marker, 20, color, PALE)
        _markers(axes, best, marker, 38, color, 1.0)
        _front(axes, best.sort_values("cost"), color)


def _markers(axes: Axes, points: pd.DataFrame, marker: str, size: float, color: str, opacity: float) -> None:
    """Full markers, and hollow ones of contended times."""
    for (contended, face), zorder in (((False, color), 3), ((True, "white"), 3.1)):
        shown = points[points["contended"] == contended]
        if not shown.empty:
            axes.scatter(
                shown["cost"], shown["dice"], marker=marker, s=size, facecolors=face, edgecolors=color, alpha=opacity,
                linewidths=1.0 if contended or opacity == 1 else 0.0, zorder=zorder if opacity == 1 else 1,
            )  # fmt: skip


def _letters(axes: Axes, found: pd.DataFrame, styles: Styles) -> None:
    """The letter of each configuration on its arm's front."""
    best = found[found["on_own_front"]].to_dict("records")
    labels = [Label(p["mark"], p["cost"], p["dice"], styles[find_family(p["arm"])][0]) for p in best]
    place_labels(axes, labels, list(zip(found["cost"], found["dice"], strict=True)), size=8)


def _front(axes: Axes, best: pd.DataFrame, color: str) -> None:
    """Steps to the right: what can be had for at most a cost."""
    reach = max(axes.get_xlim()[1], float(best["cost"].iloc[-1]))
    costs, scores = [*best["cost"], reach], [*best["dice"], best["dice"].iloc[-1]]
    axes.step(costs, scores, where="post", color=color, linewidth=1.2)


def _intervals(axes: Axes, own: pd.DataFrame, color: str) -> None:
    """95 % intervals of the means, from three runs on: of two they reach six times further than the runs lie apart."""
    known = own[own["runs"] >= 3]
    errors = {
        name: [known[name] - known[f"{name}_low"], known[f"{name}_high"] - known[name]] for name in ("cost", "dice")
    }
    axes.errorbar(
        known["cost"], known["dice"], xerr=errors["cost"], yerr=errors["dice"], fmt="none", ecolor=color,
        elinewidth=0.9, capsize=2, alpha=0.7,
    )  # fmt: skip


def _legend(figure: Figure, styles: Styles, contended: bool) -> None:
    axes = figure.axes[0]
    for family, (color, marker) in styles.items():
        label = f"{name_arm(family)} and its front"
        axes.plot([], [], color=color, marker=marker, markersize=5, linewidth=1.2, label=label)
    axes.plot([], [], "o", color=GREY, alpha=PALE, linewidth=0, markersize=4.5, label="pale: beaten within its arm")
    if contended:
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="hollow: contended runs")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
