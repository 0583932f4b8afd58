"""Labels beside points that overlap neither one another nor the points."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

MARKER = 3.5  # points from a marker's middle to its edge
_STEPS = (5.0, 12.0, 20.0, 30.0, 42.0)  # points from a label's point, nearest first
_SIDES = tuple(product((1, -1, 0), (1, -1, 0)))[:-1]  # right, left, middle by above, below, level
_ALIGNED = {1: ("left", "bottom"), -1: ("right", "top"), 0: ("center", "center")}


@dataclass(frozen=True)
class Label:
    """A text that belongs beside a point (x, y) in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


def place_labels(axes: Axes, labels: Sequence[Label], points: Sequence[tuple[float, float]], size: float = 7) -> None:
    """Annotate points so that no label lies on another one, on a point, or outside the axes, as far as there is room.

    To be called when the limits of the axes are final: the figure's layout is computed here. A label that has to stand
    away from its point gets a line to it.

    Args:
        axes: Where to draw.
        labels: In the order in which they may choose a place.
        points: Markers to keep clear of, in data coordinates.
        size: Of the letters, in points.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    taken = [_around(axes, point, MARKER * pixels) for point in points]
    inside = axes.get_window_extent()
    for label in labels:
        options = [_annotate(axes, label, side, step, size) for step in _STEPS for side in _SIDES]
        boxes = [_extent(option, canvas.get_renderer()) for option in options]  # type: ignore[no-untyped-call]
        costs = [_cost(box, taken, inside) for box in boxes]
        best = costs.index(min(costs))
        for number, option in enumerate(options):
            if number != best:
                option.remove()
        if best >= len(_SIDES):  # not at the nearest distance
            options[best].arrow_patch.set_visible(True)  # type: ignore[union-attr]
        taken.append(boxes[best])


def _annotate(axes: Axes, label: Label, side: tuple[int, int], step: float, size: float) -> Annotation:
    horizontal, vertical = _ALIGNED[side[0]][0], _ALIGNED[side[1]][1]
    line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    found = axes.annotate(
        label.text, (label.x, label.y), xytext=(side[0] * step, side[1] * step), textcoords="offset points",
        ha=horizontal, va=vertical, fontsize=size, color=label.colour, arrowprops=line,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
    assert found.arrow_patch is not None
    found.arrow_patch.set_visible(False)
    return found


def _extent(option: Annotation, renderer: RendererBase) -> Bbox:
    """Where the letters are, in pixels, without the line to the point."""
    option.update_positions(renderer)
    return Text.get_window_extent(option, renderer)


def _around(axes: Axes, point: tuple[float, float], reach: float) -> Bbox:
    x, y = axes.transData.transform(point)
    return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)


def _cost(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Area in which a box lies on others or outside: 0 where it is free."""
    own = box.width * box.height
    within = Bbox.intersection(box, inside)
    outside = own - (within.width * within.height if within is not None else 0.0)
    return outside + sum(_overlap(box, other) for other in taken)


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else shared.width * shared.height
