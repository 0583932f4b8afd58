"""Score against what it costs: superpixels, memory, time. One data set on one machine each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from bench.arms import ARMS, contending_arms, external_arms
from bench.plots.labels import Label, place_labels
from bench.plots.style import BLACK, GREY, KINDS, NoDataError, assign_styles, count_legend_columns, make_figure
from bench.tables.chosen import choose_configurations, choose_shown, find_sides
from bench.tables.comparison import format_setting, rank_arm
from bench.tables.convergence import select_counted, select_trained
from bench.tables.frontier import select_like_peaks
from bench.tables.names import find_family, name_arm
from bench.tables.units import MIB

Runs = pd.DataFrame
MOST_ARMS = 6  # in one legend
_NOT_A_METHOD = ("superpixels.superpixel_size", "superpixels.n_segments")
DICE = "macro Dice on test pixels"
HIGH_SCORE = 0.9  # above it, differences of scores are small ones of what is missing to 1
LEAST_MISSING = 1e-4  # that an axis of scores shows
SCORE_TICKS = (
    *(0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93),
    *(0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999),
)


def plot_score_vs_nodes(runs: Runs) -> Figure:
    """Draw superpixel arms over the number of superpixels, the pixel network as a line with its range, the ceiling."""
    used = select_trained(runs)
    nodes = used[used["num_nodes"].notna() & used["dice"].notna()] if "num_nodes" in used else used.iloc[:0]
    arms = select_few_arms(nodes[nodes["pipeline"].isin(contending_arms())])
    if arms["superpixel_size"].nunique() < 2:
        raise NoDataError("no superpixel arm was trained at two sizes")
    figure, axes = make_figure()
    _ceiling_line(axes, nodes)
    _pixel_band(axes, used)
    for arm, (color, marker) in assign_styles(_arms(arms)).items():
        points = _points(arms[arms["arm"] == arm], "num_nodes")
        axes.plot(points["x"], points["y"], color=color, linewidth=1.2)
        _errorbars(axes, points, color, marker, name_arm(arm))
    scale_axis(axes, nodes["num_nodes"])
    axes.set(xlabel="superpixels of all segmentations of an image (mean over test images)", ylabel=DICE)
    _legend(axes, used)
    return figure


def _ceiling_line(axes: Axes, nodes: Runs) -> None:
    """The best any classifier of these superpixels could get, from whichever arm recorded it; a line for each method.

    Sizes lie on one line; whatever else of `superpixels` differs, views say, makes another.
    """
    known = nodes[nodes["oracle_dice"].notna()]
    columns = [str(column) for column in known if str(column).startswith("superpixels.")]
    method = [column for column in columns if column not in _NOT_A_METHOD and len(set(map(str, known[column]))) > 1]
    keys = known[method].map(format_setting).agg(", ".join, axis=1) if method else pd.Series("", index=known.index)
    for number, (key, group) in enumerate(known.groupby(keys)):
        means = group.groupby("superpixel_size", dropna=False)[["num_nodes", "oracle_dice"]].mean()
        line = means.sort_values("num_nodes")
        names = ", ".join(column.rsplit(".", 1)[-1] for column in method)
        label = f"oracle ceiling, {names} {key}" if method else "oracle ceiling"
        x, y, style = line["num_nodes"], line["oracle_dice"], "--" + "DvPX"[number % 4]
        axes.plot(x, y, style, color=BLACK, markersize=4, linewidth=1, label=label)


def _pixel_band(axes: Axes, used: Runs) -> None:
    """A horizontal line at the pixel network's mean, the range over its seeds shaded."""
    side = find_sides(used)[1]
    group = choose_configurations(used).get(side)
    if group is None or group["dice"].isna().all():
        return
    count, colour = group["seed"].nunique(), ARMS[side].colour
    axes.axhspan(group["dice"].min(), group["dice"].max(), color=colour, alpha=0.15, linewidth=0)
    detail = f"{count} seeds, range shaded" if count > 1 else "1 seed"
    label = name_arm(find_family(str(group["arm"].iloc[0])))
    axes.axhline(group["dice"].mean(), color=colour, linewidth=1.4, label=f"{label} ({detail})")


def plot_score_vs_memory(runs: Runs) -> Figure:
    """Draw each configuration over the peak memory of its runs, of one kind."""
    runs = select_like_peaks(runs)
    kinds = sorted(select_counted(runs)["peak_memory_kind"].dropna().unique())
    if len(kinds) != 1:
        raise NoDataError(
            f"the runs have peaks of several kinds ({', '.join(kinds)}), which share no axis" if kinds else
            "no finished run has a peak of memory"
        )  # fmt: skip
    mib = pd.to_numeric(runs["peak_memory_bytes"]) / MIB
    return _scatter(runs.assign(mib=mib), "mib", f"peak memory, MiB ({KINDS.get(kinds[0], kinds[0])})")


def plot_score_vs_time(runs: Runs) -> Figure:
    """Draw each configuration over the seconds of its whole training, superpixels included."""
    return _scatter(runs, "train_s", "training time, s (superpixels and validation included)")


def _scatter(runs: Runs, column: str, label: str) -> Figure:
    """Means over seeds with least-to-greatest bars both ways; the threshold control stays in the table."""
    known = select_few_arms(
        runs[
            runs["pipeline"].isin([*contending_arms(), *external_arms()]) & runs[column].notna() & runs["dice"].notna()
        ]
    )
    used = select_trained(known)
    if len(used[["arm", "superpixel_size"]].drop_duplicates()) < 2:
        raise NoDataError(f"fewer than two fully trained configurations have a score and a {label.split(',')[0]}")
    figure, axes = make_figure()
    styles = assign_styles(_arms(used))
    for arm, (color, marker) in styles.items():
        points = _points(used[used["arm"] == arm], column)
        if len(points) > 1:
            axes.plot(points["x"], points["y"], color=color, linewidth=0.8, alpha=0.6)
        _errorbars(axes, points, color, marker, name_arm(arm))
    scale_axis(axes, used[column])
    _draw_uncounted(axes, known, column)
    axes.set(xlabel=label, ylabel=DICE)
    _legend(axes, used)
    _label_sizes(axes, used, column, styles)
    return figure


def _draw_uncounted(axes: Axes, known: Runs, column: str) -> None:
    """Grey crosses where runs are that are flagged invalid, or undertrained."""
    invalid = known[(known["status"] == "ok") & known["invalid"]]
    cut = select_counted(known)[select_counted(known)["undertrained"] != ""]
    for left_out, marker, label in ((invalid, "x", "invalid run"), (cut, "+", "undertrained run")):
        if not left_out.empty:
            axes.scatter(
                left_out[column], left_out["dice"], marker=marker, color=GREY, s=36, label=f"{label}, left out"
            )


# ------------------------------------------------------------------------------------------------------- parts


def select_few_arms(runs: Runs) -> Runs:
    """Return all arms, or of more than a legend holds the one of each pipeline that did best on validation images."""
    if runs["arm"].nunique() <= MOST_ARMS:
        return runs
    best = {str(group["arm"].iloc[0]) for group in choose_shown(runs).values()}
    return runs[runs["arm"].isin(best)]


def _arms(runs: Runs) -> list[str]:
    """By rank; within a pipeline the arm with most runs first, which gets the pipeline's own colour."""
    count = runs["arm"].value_counts().to_dict()
    return sorted((str(arm) for arm in count), key=lambda arm: (rank_arm(arm), -count[arm], arm))


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
    labels, markers = [], []
    for arm, (color, _) in styles.items():
        points = _points(used[used["arm"] == arm], column).reset_index()
        markers += list(zip(points["x"], points["y"], strict=True))
        known = points[points["superpixel_size"].notna()].to_dict("records")
        labels += [Label(f"{point['superpixel_size']:g} px", point["x"], point["y"], color) for point in known]
    place_labels(axes, labels, markers)


def scale_axis(axes: Axes, values: "pd.Series[float]", factor: float = 4) -> None:
    """Make the x axis logarithmic, with plain numbers, where the values span more than `factor`.

    Args:
        axes: Axes to change.
        values: What is drawn over x.
        factor: Greatest over least value from which on the axis is logarithmic.
    """
    if values.min() <= 0 or values.max() / values.min() < factor:
        axes.margins(x=0.12)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(values.min() / 1.4, values.max() * 1.35)


def scale_scores(axes: Axes) -> None:
    """Make the y axis, of scores up to 1, logarithmic in what is missing to 1 where what is drawn comes above 0.9.

    On an even axis all that matters between arms that reach 0.98 and 0.99 would lie within a line's width.
    """
    low, high = axes.dataLim.intervaly
    if not high > HIGH_SCORE:
        return

    def measure(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.log10(np.maximum(1 - np.asarray(scores), LEAST_MISSING))

    axes.set_yscale("function", functions=(measure, lambda values: 1 - 10.0 ** -np.asarray(values)))
    ends = np.clip(measure(np.array([low, high])), None, -np.log10(LEAST_MISSING))
    margin = 0.05 * max(float(ends[1] - ends[0]), 0.1)
    axes.set_ylim(1 - 10.0 ** (margin - ends[0]), 1 - 10.0 ** -(ends[1] + margin))
    axes.yaxis.set_major_locator(FixedLocator(SCORE_TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda score, _: f"{score:g}")


def _legend(axes: Axes, used: Runs) -> None:
    if used["contended"].any():
        axes.plot(
            [], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none", label="hollow: contended run"
        )
    figure = axes.get_figure()
    assert figure is not None
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=count_legend_columns(labels))
