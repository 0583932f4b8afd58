"""Where the accuracy goes: a waterfall from the pixel network down to a classifier of single superpixels."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.config import InputError
from bench.plots.curves import DICE
from bench.plots.style import BLACK, GREY, ORANGE, SKY, NoDataError, make_figure
from bench.tables.decomposition import Decomposition, decompose
from bench.tables.text import format_points

_CAUSES = {"superpixels": ORANGE, "model": SKY, "superpixels and model": SKY, "missing context": GREY}


def plot_decomposition(runs: pd.DataFrame) -> Figure:
    """Draw levels as lines with their runs as dots, and the steps between them as bars named by their cause."""
    try:
        found = decompose(runs)
    except InputError as error:
        raise NoDataError(f"no decomposition: {error}") from error
    figure, axes = make_figure(7.0, 3.8)
    means = [float(values.mean()) for values in found.levels.values()]
    _levels(axes, found)
    for number, (step, above, below) in enumerate(zip(found.steps, means[:-1], means[1:], strict=True)):
        axes.bar(number + 0.5, above - below, 0.42, below, color=_CAUSES[step.name], alpha=0.75, zorder=2)
        text = f"{step.name}\n{format_points(step).replace(' [', chr(10) + '[')}"
        axes.annotate(text, (number + 0.5, max(above, below)), xytext=(0, 4), textcoords="offset points",
                      ha="center", va="bottom", fontsize=8, zorder=5,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.axhline(found.ceiling, color=BLACK, linestyle="--", linewidth=1, label="ceiling of these superpixels")
    figure.legend(loc="outside upper right")
    axes.set(xticks=range(len(means)), xticklabels=list(found.levels), ylabel=DICE, xlim=(-0.5, len(means) - 0.5))
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.25)
    return figure


def _levels(axes: Axes, found: Decomposition) -> None:
    for number, (name, values) in enumerate(found.levels.items()):
        mean, color = float(values.mean()), found.colours[name]
        axes.plot([number - 0.27, number + 0.27], [mean, mean], color=color, linewidth=2.5, zorder=3)
        axes.scatter([number] * len(values), values, s=12, color=color, alpha=0.6, zorder=4)
        axes.annotate(f"{mean:.3f}", (number, mean), xytext=(0, -12), textcoords="offset points", ha="center",
                      fontsize=8, color=color)  # fmt: skip
