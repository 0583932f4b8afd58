"""Validation score over the seconds of training."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.plots.curves import scale_axis, scale_scores
from bench.plots.style import GREY, NoDataError, assign_styles, count_legend_columns, make_figure
from bench.tables.chosen import choose_shown
from bench.tables.comparison import rank_arm
from bench.tables.names import find_family, name_arm


def plot_learning_curves(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Draw one line per seed of each arm's chosen configuration; crosses where a cool-down for less work ended."""
    groups = dict(sorted(choose_shown(runs).items(), key=lambda item: rank_arm(item[0])))
    curves = {pipeline: _curves(group, history) for pipeline, group in groups.items()}
    curves = {pipeline: lines for pipeline, lines in curves.items() if any(len(line) > 1 for line in lines)}
    if not curves:
        raise NoDataError("no finished run was validated more than once")
    figure, axes = make_figure()
    for pipeline, (color, marker) in assign_styles(list(curves)).items():
        for number, line in enumerate(curves[pipeline]):
            _line(axes, line, color, marker, _label(groups[pipeline]) if number == 0 else None)
    scale_axis(axes, pd.concat([line["seconds"] for lines in curves.values() for line in lines]), 20)
    scale_scores(axes)
    if any(line["budget"].notna().any() for lines in curves.values() for line in lines):
        axes.plot([], [], "x", color=GREY, markersize=5, label="cross: cooled down after less work")
    axes.set(xlabel="seconds since training began (superpixels of train and val included)")
    axes.set_ylabel("macro Dice on validation pixels")
    _, labels = axes.get_legend_handles_labels()
    figure.legend(loc="outside upper center", ncols=count_legend_columns(labels))
    return figure


def _line(axes: Axes, line: pd.DataFrame, color: str, marker: str, label: str | None) -> None:
    """The fit itself as a line; forked cool-downs are fits of their own, and points."""
    fit, forks = line[line["budget"].isna()], line[line["budget"].notna()]
    every = max(1, len(fit) // 8)
    axes.plot(
        fit["seconds"], fit["val_score"], color=color, marker=marker, markersize=4, markevery=every, linewidth=1.1,
        alpha=0.85, label=label,
    )  # fmt: skip
    if len(forks):
        axes.plot(forks["seconds"], forks["val_score"], "x", color=color, markersize=5, alpha=0.85)


def _curves(group: pd.DataFrame, history: pd.DataFrame) -> list[pd.DataFrame]:
    """The validations of each run, its preparation added to the seconds."""
    lines = []
    for run in group.sort_values("seed").to_dict("records"):
        line = history[(history["run_id"] == run["run_id"]) & history["val_score"].notna()]
        prepared = 0.0 if math.isnan(run["prepare_s"]) else run["prepare_s"]
        lines.append(line.assign(seconds=line["seconds"] + prepared))
    return [line for line in lines if len(line)]


def _label(group: pd.DataFrame) -> str:
    size, count = group["superpixel_size"].iloc[0], group["seed"].nunique()
    detail = "" if math.isnan(size) else f"{size:g} px, "
    name = name_arm(find_family(str(group["arm"].iloc[0])))
    return f"{name} ({detail}{count} seed{'s'[: count != 1]})"
