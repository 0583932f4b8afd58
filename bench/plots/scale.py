"""Cost and score against the size of an image: one panel for more field, one for more magnification."""

from dataclasses import dataclass
from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.plots.style import GREY, KINDS, NoDataError, assign_styles, count_legend_columns, make_figure
from bench.tables.comparison import rank_arm
from bench.tables.scale import AXES, LIMITS, TILED, UNTILED
from bench.tables.units import GIB

LACKING = ("out_of_memory", "oom_suspected", "host_oom")  # statuses of runs for which memory was not enough


@dataclass(frozen=True)
class ScaleQuantity:
    """What is drawn over the size: a column of `bench.tables.scale.make_scale_points`, its label and its unit.

    Attributes:
        column: The column; it is divided by `scale`.
        label: Of the axis.
        scale: What a unit of the axis is.
        limits: Whether the sizes of memory to which machines and cards come are marked.
        trained: Whether lines that are trained for a few steps alone are left out.
    """

    column: str
    label: str
    scale: float = 1.0
    limits: bool = False
    trained: bool = False


GROSS = ScaleQuantity("peak_bytes", "peak memory, GiB", GIB, limits=True)
EQUAL = ScaleQuantity("seconds_to_equal", "seconds to the score that both rivals reach", trained=True)
QUANTITIES = {  # by kind of figure
    "scale_prediction": ScaleQuantity("predict_s_per_mpx", "prediction, s/Mpx, superpixels included"),
    "scale_preparing": ScaleQuantity("prepare_s_per_mpx", "preparing an image to learn from, s/Mpx"),
    "scale_memory": GROSS,
    "scale_net": ScaleQuantity("training_net_bytes", "training's own memory (net), GiB", GIB),
    "scale_score": ScaleQuantity("dice", "macro Dice on test pixels", trained=True),
    "scale_time": EQUAL,
}


def plot_scale(points: pd.DataFrame, quantity: ScaleQuantity) -> Figure:
    """Draw a quantity over the megapixels of an image, a line for each arm and kind, both axes logarithmic.

    A point of a run that shared the machine is hollow.

    Args:
        points: Rows of `bench.tables.scale.make_scale_points` of one data set and machine.
        quantity: What is drawn.

    Raises:
        NoDataError: No line has two sizes.
    """
    used = points[~points["line"].str.contains(UNTILED)] if quantity.trained else points
    shown = [axis for axis in AXES if _has_line(used[used["axis"] == axis], quantity.column)]
    if not shown:
        raise NoDataError(f"no arm has {quantity.label.split(',')[0]} at two sizes")
    figure, first = make_figure(7.0, 4.2)
    first.remove()
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    styles = _find_styles(points, set(used["line"]))
    for axes, axis in zip(panels, shown, strict=True):
        _panel(axes, used[used["axis"] == axis], quantity, styles)
        axes.set(xlabel="megapixels of an image")
        axes.set_title(axis, loc="left", fontsize=9)
    panels[0].set_ylabel(quantity.label)
    if quantity.limits:
        _mark_limits(list(panels))
    if kind := _name_kind(points, quantity):
        figure.supxlabel(kind, fontsize=8, color=GREY)
    if (used["contended"] & used[quantity.column].notna()).any():
        panels[0].plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label="hollow: contended run")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=count_legend_columns(labels, 2))
    return figure


def _has_line(points: pd.DataFrame, column: str) -> bool:
    known = points[points[column].notna()]
    return bool((known.groupby("line")["megapixels"].nunique() >= 2).any())


def _find_styles(points: pd.DataFrame, shown: set[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each line that is shown, the same in every figure of these points."""
    lines = sorted(
        set(points["line"]), key=lambda line: (rank_arm(_find_pipeline(points, line)), TILED not in line, line)
    )
    styles = assign_styles([f"{_find_pipeline(points, line)} {line}" for line in lines])
    return {line: style for line, style in zip(lines, styles.values(), strict=True) if line in shown}


def _find_pipeline(points: pd.DataFrame, line: str) -> str:
    return str(points.loc[points["line"] == line, "pipeline"].iloc[0])


def _name_kind(points: pd.DataFrame, quantity: ScaleQuantity) -> str:
    """The kind of the memory that is drawn; nothing for other quantities."""
    if quantity is not GROSS:
        return ""
    kinds = sorted(points["memory_kind"].dropna().unique())
    if len(kinds) != 1:
        raise NoDataError(f"the peaks are of several kinds ({', '.join(kinds)}), which share no axis")
    return str(KINDS.get(kinds[0], kinds[0]))


def _panel(axes: Axes, points: pd.DataFrame, quantity: ScaleQuantity, styles: dict[str, tuple[str, str]]) -> None:
    axes.set_xscale("log")
    if not quantity.trained or quantity is EQUAL:
        axes.set_yscale("log")
    for line, (color, marker) in styles.items():
        own = points[points["line"] == line].sort_values("megapixels")
        known = own[own[quantity.column].notna()]
        values = known[quantity.column] / quantity.scale
        axes.plot(known["megapixels"], values, color=color, marker=marker, markersize=5, linewidth=1.3, label=line)
        hollow = known["contended"].astype(bool)
        if hollow.any():
            axes.scatter(
                known["megapixels"][hollow], values[hollow], marker=marker, s=25, facecolors="white", edgecolors=color,
                zorder=3,
            )  # fmt: skip
        lacking = own[own["status"].isin(LACKING)]
        if not lacking.empty:
            axes.scatter(
                lacking["megapixels"], [0.97] * len(lacking), marker="x", color=color, s=45,
                transform=axes.get_xaxis_transform(), zorder=4,
            )  # fmt: skip
    if points["status"].isin(LACKING).any():
        axes.plot([], [], "x", color=GREY, markersize=7, markeredgewidth=1.8, label="out of memory")
    _format(axes, points["megapixels"])


def _mark_limits(panels: list[Axes]) -> None:
    """Dotted lines at the sizes of memory that what is drawn comes near to; the panels share their y axis."""
    low, high = panels[0].get_ylim()
    shown = [limit for limit in LIMITS if low <= limit <= 2 * high]
    panels[0].set_ylim(low, max([high, *(1.3 * limit for limit in shown)]))
    for axes, limit in product(panels, shown):
        axes.axhline(limit, color=GREY, linewidth=0.8, linestyle=":")
        label = axes.annotate(
            f"{limit} GiB", (1, limit), xycoords=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=7,
            color=GREY,
        )  # fmt: skip
        label.set_in_layout(False)


def _format(axes: Axes, sizes: "pd.Series[float]") -> None:
    """Plain numbers on logarithmic axes."""
    for axis, log in ((axes.xaxis, True), (axes.yaxis, axes.get_yscale() == "log")):
        if log:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(sizes.min() / 1.4, sizes.max() * 1.4)
