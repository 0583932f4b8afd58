"""What a figure shows, as a table and in words: read off the figure itself, so that neither can differ from it."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

MOST_POINTS = 600  # of a line in a table; of longer ones each stretch keeps its lowest and its highest point
STRAIGHT = 1e-9  # of the range of a line: how far its points may lie from a straight one whose ends say all
MOST_SERIES = 8  # named in words
COLUMNS = ("panel", "series", "kind", "x", "y", "x_end", "y_end")
Points = NDArray[np.float64]  # (N, 2), NaN where a point has no place along an axis


@dataclass(frozen=True)
class Series:
    """Something drawn in a panel of a figure.

    Attributes:
        panel: What tells the panel from others; empty where there is one.
        label: Its name in the legend; empty where it has none.
        kind: line, points, interval, band (outline of a shaded interval), bar, span or level.
        start: Its points, in the units of the axes.
        end: The other ends of intervals, bars and spans; empty for other kinds.
    """

    panel: str
    label: str
    kind: str
    start: Points
    end: Points


def list_series(figure: Figure) -> list[Series]:
    """Return everything that a figure draws from data, panel by panel."""
    names = _name_colours(figure)
    return [series for axes in figure.axes for series in _list_panel(axes, _name_panel(axes, figure), names)]


def make_table(figure: Figure) -> str:
    """Return what a figure draws as CSV with the columns `COLUMNS`; empty for one of pictures.

    The columns x and y are called as their axes where all panels share those.
    """
    series = list_series(figure)
    if not series:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    across, up = (_join_labels(figure, axis) for axis in ("x", "y"))
    writer.writerow([*COLUMNS[:3], across or "x", up or "y", *COLUMNS[5:]])
    for one in series:
        ends = one.end if len(one.end) else np.full_like(one.start, np.nan)
        for (x, y), (x_end, y_end) in zip(one.start, ends, strict=True):
            writer.writerow([one.panel, one.label, one.kind, *map(_format, (x, y, x_end, y_end))])
    return buffer.getvalue()


def describe_drawn(figure: Figure) -> str:
    """Return in sentences what a figure shows: its axes, and from where to where each series of the legend runs."""
    series = [one for one in list_series(figure) if one.label and one.kind in ("line", "points")]
    if not series:
        return _describe_marks(figure)
    across, up = (_join_labels(figure, axis) for axis in ("x", "y"))
    axes = f"Across: {across or 'one quantity in each panel'}. Up: {up or 'one quantity in each panel'}."
    merged: dict[tuple[str, str], list[Points]] = {}
    for one in series:
        merged.setdefault((one.panel, one.label), []).append(one.start)
    found = [_describe(panel, label, np.concatenate(parts)) for (panel, label), parts in merged.items()]
    rest = [f"{len(found) - MOST_SERIES} more are in the data"] if len(found) > MOST_SERIES else []
    return f"{axes} {'; '.join([*found[:MOST_SERIES], *rest])}."


def _describe_marks(figure: Figure) -> str:
    """What is written in a figure without series: in its panels, else above its pictures."""
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    titles = [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes]
    shown = ", ".join(dict.fromkeys(" ".join(text.split()) for text in written or titles if text.strip()))
    if not shown:
        return ""
    return f"{'Marked' if written else 'Pictures'}: {shown}."


def _describe(panel: str, label: str, points: Points) -> str:
    points = np.unique(points[~np.isnan(points).any(axis=1)], axis=0)
    name = f"{label} ({panel})" if panel else label
    if len(points) == 0:
        return f"{name}: nothing within the axes"
    (x_low, y_low), (x_high, y_high) = points.min(axis=0), points.max(axis=0)
    if len(points) == 1:
        return f"{name}: {_format(y_low, 3)} at {_format(x_low, 3)}"
    return f"{name}: {_format(y_low, 3)} to {_format(y_high, 3)} between {_format(x_low, 3)} and {_format(x_high, 3)}"


def _format(value: float, digits: int = 6) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


# ----------------------------------------------------------------------------------------------------------- artists


def _list_panel(axes: Axes, panel: str, names: dict[str, str]) -> Iterator[Series]:
    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    caps = {line for bar in bars for line in bar.lines[1]}
    artists = [artist for artist in (*axes.lines, *axes.collections, *axes.patches) if artist not in caps]
    for artist in artists:
        read = next((read for kind, read in _READERS if isinstance(artist, kind)), None)
        kind, start, end = read(artist, axes) if read else ("", _none(), _none())
        if len(start):
            label = str(artist.get_label())
            label = names.get(_find_colour(artist), "") if label.startswith("_") else label
            yield Series(panel, label, kind, start, end)


def _none() -> Points:
    return np.empty((0, 2))


def _read_line(line: Line2D, axes: Axes) -> tuple[str, Points, Points]:
    points = np.column_stack([np.asarray(part, np.float64) for part in line.get_data()])
    if line.get_transform() == axes.transData:
        return "line", _thin(points[np.isfinite(points).all(axis=1)]), _none()
    level = len(points) == 2 and bool((points[0] == points[1]).any())  # of axhline and axvline
    place = np.where(points[0] == points[1], points[0], np.nan)[None] if level else _none()
    return "level", place, _none()


def _thin(points: Points) -> Points:
    """The ends of a straight line; of a long one the lowest and the highest point of each of equal stretches."""
    if len(points) > 2 and _is_straight(points):
        return points[[0, -1]]
    if len(points) <= MOST_POINTS:
        return points
    kept: list[int] = [0, len(points) - 1]
    for part in np.array_split(np.arange(len(points)), MOST_POINTS // 2 - 1):
        kept += [int(part[points[part, 1].argmin()]), int(part[points[part, 1].argmax()])]
    return points[sorted(set(kept))]


def _is_straight(points: Points) -> bool:
    """Whether a line runs evenly from its first to its last point; one that turns back does not."""
    x, y = points.T
    if not (np.diff(x) > 0).all():
        return False
    chord = y[0] + (x - x[0]) / (x[-1] - x[0]) * (y[-1] - y[0])
    return bool(np.abs(y - chord).max() <= STRAIGHT * np.ptp(y))


def _read_points(points: PathCollection, axes: Axes) -> tuple[str, Points, Points]:
    places = np.ma.filled(np.ma.asarray(points.get_offsets(), np.float64), np.nan)
    if points.get_offset_transform() != axes.transData:  # at a height of the panel, not of the axis
        places = np.column_stack([places[:, 0], np.full(len(places), np.nan)])
    return "points", places[~np.isnan(places[:, 0])], _none()


def _read_intervals(lines: LineCollection, axes: Axes) -> tuple[str, Points, Points]:
    del axes
    ends = np.array([part[[0, -1]] for part in lines.get_segments() if np.isfinite(part).all()], np.float64)
    ends = ends.reshape(-1, 2, 2)
    known = (ends[:, 0] != ends[:, 1]).any(axis=1)
    return "interval", ends[known, 0], ends[known, 1]


def _read_band(band: PolyCollection, axes: Axes) -> tuple[str, Points, Points]:
    del axes
    parts = [np.asarray(path.vertices, np.float64) for path in band.get_paths()]
    return "band", np.concatenate(parts) if parts else _none(), _none()


def _read_box(box: Rectangle, axes: Axes) -> tuple[str, Points, Points]:
    x, y, width, height = box.get_x(), box.get_y(), box.get_width(), box.get_height()
    if box.get_data_transform() == axes.transData:
        return "bar", np.array([[x, y]]), np.array([[x + width, y + height]])
    return "span", np.array([[x, np.nan]]), np.array([[x + width, np.nan]])


_READERS: tuple[tuple[type, Any], ...] = (
    (Line2D, _read_line),
    (PathCollection, _read_points),
    (LineCollection, _read_intervals),
    (PolyCollection, _read_band),
    (Rectangle, _read_box),
)


# ------------------------------------------------------------------------------------------------------------- names


def _name_colours(figure: Figure) -> dict[str, str]:
    """The first label of each colour in the legends: what is drawn without one has the colour of one that has."""
    names: dict[str, str] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            names.setdefault(_find_colour(handle), str(label))
    return names


def _find_colour(artist: Any) -> str:
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color())
    if isinstance(artist, Collection):
        colours = np.asarray(artist.get_edgecolor())
        colours = colours if len(colours) else np.asarray(artist.get_facecolor())
        return to_hex(colours[0]) if len(colours) else ""
    return to_hex(artist.get_facecolor()) if isinstance(artist, Rectangle) else ""


def _name_panel(axes: Axes, figure: Figure) -> str:
    """The title of a panel, and its own label across where the panels differ in that."""
    if len(figure.axes) == 1:
        return ""
    own = "" if _join_labels(figure, "x") else axes.get_xlabel()
    title = " ".join((axes.get_title(loc="left") or axes.get_title()).split())
    return "; ".join(part for part in (own, title) if part)


def _join_labels(figure: Figure, axis: str) -> str:
    """The label that all panels share along an axis; empty where they differ."""
    whole = figure.get_supxlabel() if axis == "x" else figure.get_supylabel()
    own: Sequence[str] = [axes.get_xlabel() if axis == "x" else axes.get_ylabel() for axes in figure.axes]
    different = {label for label in own if label} or {whole}
    return different.pop() if len(different) == 1 else ""
