"""Score against what it costs: superpixels, memory, time; and learning curves. One data set on one machine each."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from bench.arms import contending_arms
from bench.plots.style import BLACK, BLUE, GREY, KINDS, NoDataError, arm_styles, legend_columns, make_figure
from bench.tables.chosen import chosen, shown
from bench.tables.comparison import MIB, arm_rank, text_of
from bench.tables.convergence import counted, trained

Runs = pd.DataFrame
MOST_ARMS = 6  # in one legend
_NOT_A_METHOD = ("superpixels.superpixel_size", "superpixels.n_segments")
DICE = "macro Dice on test pixels"


def plot_score_vs_nodes(runs: Runs) -> Figure:
    """Superpixel arms over the number of superpixels obtained, the CNN as a line with its range, the ceiling dashed."""
    used = trained(runs)
    nodes = used[used["num_nodes"].notna() & used["dice"].notna()] if "num_nodes" in used else used.iloc[:0]
    arms = few_arms(nodes[nodes["pipeline"] != "oracle"])
    if arms.empty:
        raise NoDataError("no finished superpixel run has a score and a number of superpixels")
    figure, axes = make_figure()
    _ceiling_line(axes, nodes)
    _cnn_band(axes, used)
    for arm, (color, marker) in arm_styles(_arms(arms)).items():
        points = _points(arms[arms["arm"] == arm], "num_nodes")
        axes.plot(points["x"], points["y"], color=color, linewidth=1.2)
        _errorbars(axes, points, color, marker, arm)
    log_if_wide(axes, nodes["num_nodes"])
    axes.set(xlabel="superpixels per image (mean over test images)", ylabel=DICE)
    _legend(axes, used)
    return figure


def _ceiling_line(axes: Axes, nodes: Runs) -> None:
    """The best any classifier of these superpixels could get, from whichever arm recorded it; a line for each method.

    Sizes lie on one line; whatever else of `superpixels` differs, views say, makes another.
    """
    known = nodes[nodes["oracle_dice"].notna()]
    columns = [str(column) for column in known if str(column).startswith("superpixels.")]
    method = [column for column in columns if column not in _NOT_A_METHOD and len(set(map(str, known[column]))) > 1]
    keys = known[method].map(text_of).agg(", ".join, axis=1) if method else pd.Series("", index=known.index)
    for number, (key, group) in enumerate(known.groupby(keys)):
        means = group.groupby("superpixel_size", dropna=False)[["num_nodes", "oracle_dice"]].mean()
        line = means.sort_values("num_nodes")
        names = ", ".join(column.rsplit(".", 1)[-1] for column in method)
        label = f"oracle ceiling, {names} {key}" if method else "oracle ceiling"
        x, y, style = line["num_nodes"], line["oracle_dice"], "--" + "DvPX"[number % 4]
        axes.plot(x, y, style, color=BLACK, markersize=4, linewidth=1, label=label)


def _cnn_band(axes: Axes, used: Runs) -> None:
    """A horizontal line at the CNN's mean, the range over its seeds shaded."""
    cnn = chosen(used).get("tiled_cnn")
    if cnn is None or cnn["dice"].isna().all():
        return
    count = cnn["seed"].nunique()
    axes.axhspan(cnn["dice"].min(), cnn["dice"].max(), color=BLUE, alpha=0.15, linewidth=0)
    label = f"tiled_cnn ({count} seeds, range shaded)" if count > 1 else "tiled_cnn (1 seed)"
    axes.axhline(cnn["dice"].mean(), color=BLUE, linewidth=1.4, label=label)


def plot_score_vs_memory(runs: Runs) -> Figure:
    """Each configuration over the peak memory of its runs, of one kind."""
    kinds = sorted(counted(runs)["peak_memory_kind"].dropna().unique())
    if len(kinds) != 1:
        raise NoDataError(
            f"the runs have peaks of several kinds ({', '.join(kinds)}), which share no axis" if kinds else
            "no finished run has a peak of memory"
        )  # fmt: skip
    mib = pd.to_numeric(runs["peak_memory_bytes"]) / MIB
    return _scatter(runs.assign(mib=mib), "mib", f"peak memory, MiB ({KINDS.get(kinds[0], kinds[0])})")


def plot_score_vs_time(runs: Runs) -> Figure:
    """Each configuration over the seconds of its whole training, superpixels included."""
    return _scatter(runs, "train_s", "training time, s (superpixels and validation included)")


def _scatter(runs: Runs, column: str, label: str) -> Figure:
    """Means over seeds with least-to-greatest bars both ways; the threshold control stays in the table."""
    known = few_arms(runs[runs["pipeline"].isin(contending_arms()) & runs[column].notna() & runs["dice"].notna()])
    used = trained(known)
    if used.empty:
        raise NoDataError(f"no finished, fully trained run has a score and {label.split(',')[0]}")
    figure, axes = make_figure()
    styles = arm_styles(_arms(used))
    for arm, (color, marker) in styles.items():
        points = _points(used[used["arm"] == arm], column)
        if len(points) > 1:
            axes.plot(points["x"], points["y"], color=color, linewidth=0.8, alpha=0.6)
        _errorbars(axes, points, color, marker, arm)
    log_if_wide(axes, used[column])
    _label_sizes(axes, used, column, styles)
    _uncounted(axes, known, column)
    axes.set(xlabel=label, ylabel=DICE)
    _legend(axes, used)
    return figure


def _uncounted(axes: Axes, known: Runs, column: str) -> None:
    """Grey crosses where runs are that are flagged invalid, or undertrained."""
    invalid = known[(known["status"] == "ok") & known["invalid"]]
    cut = counted(known)[counted(known)["undertrained"] != ""]
    for left_out, marker, label in ((invalid, "x", "invalid run"), (cut, "+", "undertrained run")):
        if not left_out.empty:
            axes.scatter(
                left_out[column], left_out["dice"], marker=marker, color=GREY, s=36, label=f"{label}, left out"
            )


def plot_learning_curves(runs: Runs, history: pd.DataFrame) -> Figure:
    """Validation score over the seconds of training, one line per seed of each arm's chosen configuration."""
    curves = {
        pipeline: _curves(group, history)
        for pipeline, group in sorted(shown(runs).items(), key=lambda item: arm_rank(item[0]))
    }
    curves = {pipeline: lines for pipeline, lines in curves.items() if lines}
    if not curves:
        raise NoDataError("no finished run has a history with validation scores")
    figure, axes = make_figure()
    for pipeline, (color, marker) in arm_styles(list(curves)).items():
        for number, line in enumerate(curves[pipeline]):
            label = _curve_label(pipeline, shown(runs)[pipeline]) if number == 0 else None
            every = max(1, len(line) // 8)
            axes.plot(
                line["seconds"], line["val_score"], color=color, marker=marker, markersize=4, markevery=every,
                linewidth=1.1, alpha=0.85, label=label,
            )  # fmt: skip
    log_if_wide(axes, pd.concat([line["seconds"] for lines in curves.values() for line in lines]), 20)
    axes.set(xlabel="seconds since training began (superpixels of train and val included)")
    axes.set_ylabel("macro Dice on validation pixels")
    _, labels = axes.get_legend_handles_labels()
    figure.legend(loc="outside upper center", ncols=legend_columns(labels))
    return figure


def _curves(group: Runs, history: pd.DataFrame) -> list[pd.DataFrame]:
    """The validated epochs of each run, its preparation added to the seconds."""
    lines = []
    for run in group.sort_values("seed").to_dict("records"):
        line = history[(history["run_id"] == run["run_id"]) & history["val_score"].notna()]
        prepared = 0.0 if math.isnan(run["prepare_s"]) else run["prepare_s"]
        lines.append(line.assign(seconds=line["seconds"] + prepared))
    return [line for line in lines if len(line)]


def _curve_label(pipeline: str, group: Runs) -> str:
    size, count = group["superpixel_size"].iloc[0], group["seed"].nunique()
    detail = "" if math.isnan(size) else f"{size:g} px, "
    return f"{pipeline} ({detail}{count} seed{'s' if count > 1 else ''})"


# ------------------------------------------------------------------------------------------------------- parts


def few_arms(runs: Runs) -> Runs:
    """All arms, or of more than a legend holds only the one of each pipeline that did best on validation images."""
    if runs["arm"].nunique() <= MOST_ARMS:
        return runs
    best = {str(group["arm"].iloc[0]) for group in shown(runs).values()}
    return runs[runs["arm"].isin(best)]


def _arms(runs: Runs) -> list[str]:
    """By rank; within a pipeline the arm with most runs first, which gets the pipeline's own colour."""
    count = runs["arm"].value_counts().to_dict()
    return sorted((str(arm) for arm in count), key=lambda arm: (arm_rank(arm), -count[arm], arm))


def _points(runs: Runs, column: str) -> pd.DataFrame:
    """Mean, least and greatest of both coordinates by superpixel size, by rising x."""
    groups = runs.assign(x=runs[column], y=runs["dice"]).groupby("superpixel_size", dropna=False)
    points = groups.agg(
        x=("x", "mean"), x_low=("x", "min"), x_high=("x", "max"), y=("y", "mean"), y_low=("y", "min"),
        y_high=("y", "max"), contended=("contended", "max"),
    )  # fmt: skip
    return points.sort_values("x")


def _errorbars(axes: Axes, points: pd.DataFrame, color: str, marker: str, label: str) -> None:
    """Points with least-to-greatest bars; hollow where a run had company on the machine."""
    x_error = np.clip([points["x"] - points["x_low"], points["x_high"] - points["x"]], 0, None)
    y_error = np.clip([points["y"] - points["y_low"], points["y_high"] - points["y"]], 0, None)
    axes.errorbar(
        points["x"], points["y"], xerr=x_error, yerr=y_error, fmt="none", ecolor=color, elinewidth=1, capsize=2.5
    )  # fmt: skip
    faces = ["white" if contended else color for contended in points["contended"]]
    axes.scatter(points["x"], points["y"], marker=marker, s=34, facecolors=faces, edgecolors=color, zorder=3)
    axes.plot([], [], color=color, marker=marker, linewidth=0.8, markersize=5, label=label)


def _label_sizes(axes: Axes, used: Runs, column: str, styles: dict[str, tuple[str, str]]) -> None:
    """The superpixel size beside each point."""
    for number, (arm, (color, _)) in enumerate(styles.items()):
        offset, side = ((6.0, -9.0), "left") if number % 2 else ((-5.0, 5.0), "right")
        points = _points(used[used["arm"] == arm], column).reset_index()
        for point in points[points["superpixel_size"].notna()].to_dict("records"):
            text, where = f"{point['superpixel_size']:g} px", (point["x"], point["y"])
            axes.annotate(text, where, xytext=offset, ha=side, textcoords="offset points", fontsize=7, color=color)


def log_if_wide(axes: Axes, values: "pd.Series[float]", factor: float = 4) -> None:
    """A logarithmic x axis with plain numbers where the values span more than `factor`."""
    if values.min() <= 0 or values.max() / values.min() < factor:
        axes.margins(x=0.12)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(values.min() / 1.4, values.max() * 1.35)


def _legend(axes: Axes, used: Runs) -> None:
    if used["contended"].any():
        axes.plot(
            [], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none", label="hollow: contended run"
        )
    figure = axes.get_figure()
    assert figure is not None
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(labels))
