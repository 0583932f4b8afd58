"""Every figure, drawn from the tables alone, so that it can be redrawn on a laptop from the CSV files."""

from bench.plots.all import plot_all
from bench.plots.style import Plotted

__all__ = ["Plotted", "plot_all"]
