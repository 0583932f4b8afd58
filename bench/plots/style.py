"""Colours, markers, units and files that all figures share. Figures are objects: nothing global is touched."""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.arms import ARMS
from bench.files import write_atomically
from bench.tables.names import is_variety

WIDTH = 7.0  # inches of a figure
LETTER, HANDLE = 4.4, 44.0  # points that a letter of a legend takes, and what stands before a label
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE, BLACK = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
    "#000000",
)  # Okabe and Ito, "Color universal design", 2008
GREY = "#6b6b6b"
_SPARE = (  # P. Tol, "Colour schemes", SRON 2021, muted
    *(("#DDCC77", "d"), ("#882255", "p"), ("#999933", "*")),
    *(("#CC6677", "d"), ("#117733", "p"), ("#44AA99", "8")),  # the last one is that of pipelines without an own one
)
WRONG = VERMILION  # pixels whose predicted class is not the true one; no class has this colour
KINDS = {
    "gpu_process": "GPU memory of the process, context included",
    "gpu_allocator": "GPU memory allocated by the method alone",
    "cpu_rss": "resident memory of the process, libraries included",
    "cpu_rss_tree": "resident memory of the process and its workers, what they share counted in each",
}
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "gnn-vs-cnn",
    "svg.fonttype": "path",
    "text.parse_math": False,  # two dollar signs in a name are no formula
}


@dataclass(frozen=True)
class Plotted:
    """A figure that was drawn (`png`, `svg`), or one that was not and why (`skipped`)."""

    name: str
    group: str  # the data set and machine, as in the file's name
    kind: str  # what it shows, in words
    title: str  # the same with the data set
    caption: str = ""
    png: Path | None = None
    svg: Path | None = None
    skipped: str = ""
    words: str = ""  # what is seen, for those who do not see it
    table: Path | None = None  # CSV file of what is drawn


@dataclass(frozen=True)
class Annotated:
    """A figure, and sentences of its caption on these runs alone; empty where there is nothing to add."""

    figure: Figure
    note: str


class NoDataError(Exception):
    """The tables do not hold what a figure needs; the message says what is missing."""


def apply_style() -> AbstractContextManager[None]:
    """Return a context in which figures are made and saved alike, whatever the user's matplotlibrc says."""
    settings: dict[str, Any] = {**dict(mpl.rcParamsDefault.items()), **_STYLE}
    del settings["backend"]
    return mpl.rc_context(settings)  # type: ignore[arg-type]


def make_figure(width: float = WIDTH, height: float = 4.2) -> tuple[Figure, Axes]:
    """Make one pair of axes; inches. At README width (about 850 px) the text stays above 10 px."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=160)
    return figure, figure.add_subplot()


def find_style(arm: str, others: int = 0) -> tuple[str, str]:
    """Return colour and marker of an arm; `others` counts the arms of the same pipeline that came before it."""
    pipeline = arm.split(" ", 1)[0]
    if others or pipeline not in ARMS:
        return _SPARE[(others - 1) % len(_SPARE)]
    return ARMS[pipeline].colour, ARMS[pipeline].marker


def assign_styles(arms: list[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker for each arm of a figure; the first of a pipeline has the pipeline's own.

    A network of another architecture or resolution never has: no figure shows it as another shows the plain one.
    """
    styles: dict[str, tuple[str, str]] = {}
    spare = 0
    for arm in arms:
        plain = [earlier.split(" ", 1)[0] for earlier in styles if not is_variety(earlier)]
        first = not is_variety(arm) and arm.split(" ", 1)[0] not in plain
        spare += not first
        styles[arm] = find_style(arm, 0 if first else spare)
    return styles


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG, without dates, so that the same tables give the same bytes.

    Args:
        figure: What to write.
        folder: Where to.
        name: File name without its ending.

    Returns:
        The paths of both.
    """
    FigureCanvasAgg(figure)
    paths = (folder / f"{name}.png", folder / f"{name}.svg")
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None, "Creator": None}), strict=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], dpi="figure", metadata=metadata)
        write_atomically(path, buffer.getvalue())
    return paths


def make_slug(text: str) -> str:
    """Return text as part of a file name: letters, digits, dots and dashes only."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def count_legend_columns(labels: Sequence[str], most: int = 3) -> int:
    """Return in how many columns, up to `most`, labels fit above a figure of the usual width."""
    wanted = HANDLE + LETTER * max((len(label) for label in labels), default=1)  # points
    return max(1, min(most, len(labels), int(72 * WIDTH // wanted)))
