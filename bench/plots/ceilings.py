"""What superpixels of many settings could reach, against their number."""

import pandas as pd
from matplotlib.figure import Figure

from bench.plots.curves import scale_axis
from bench.plots.style import GREEN, ORANGE, PURPLE, SKY, WIDTH, YELLOW

SCORES = {"dice": "ceiling of macro Dice", "cl_dice": "ceiling of clDice", "boundary_f1": "ceiling of boundary F1"}
COLOURS = (SKY, ORANGE, GREEN, PURPLE, YELLOW)


def plot_ceilings(ceilings: pd.DataFrame) -> Figure:
    """Draw each score against the number of superpixels: a line per method through its best settings, all settings.

    Args:
        ceilings: A row per setting, with the columns of `bench.scan.ceilings.Ceiling`.

    Returns:
        The figure, a panel per score that is known.
    """
    known = {name: label for name, label in SCORES.items() if ceilings[name].notna().any()}
    figure = Figure(figsize=(WIDTH, 2.6 * len(known)), layout="constrained", dpi=160)
    panels = figure.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, label) in zip(panels, known.items(), strict=True):
        for (method, rows), colour in zip(ceilings.groupby("method", sort=False), COLOURS, strict=False):
            axes.plot(rows["nodes_per_megapixel"], rows[name], "o", color=colour, markersize=3, alpha=0.5)
            best = rows.loc[rows.groupby("superpixel_size")[name].idxmax()].sort_values("nodes_per_megapixel")
            axes.plot(best["nodes_per_megapixel"], best[name], color=colour, label=method)
        axes.set(ylabel=label)
        scale_axis(axes, ceilings["nodes_per_megapixel"])
    panels[-1].set(xlabel="superpixels per megapixel")
    panels[0].legend(title="best settings of each size; dots: all", loc="lower right")
    return figure
