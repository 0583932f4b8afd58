"""What the numbers and axes of a predicted array mean, and the colours that viewers show classes in."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.datasets.files import Layout
from bench.datasets.sample import Task
from bench.datasets.stored import Opened

COLOURS = ("228833", "CCBB44", "66CCEE", "EE6677", "4477AA", "AA3377", "BBBBBB")
"""The bright scheme of Tol, "Colour schemes", 2021; green and yellow first, which stand out from stained tissue too."""
SIDE = 512  # of chunks and tiles, in pixels


@dataclass(frozen=True)
class Meaning:
    """What an array's numbers and axes mean: classes, and pixel size and unit of each spatial axis where known."""

    class_names: tuple[str, ...]
    pixel_size: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None
    stack: str = "z"  # the axis before rows and columns: z, or t of points in time, which are no length


def choose_colour(number: int) -> tuple[int, int, int]:
    """Return red, green and blue of a class, 0 to 255; class 0, the background, is black.

    Further classes go through `COLOURS`, each time around darker by a third.
    """
    if number == 0:
        return 0, 0, 0
    rounds, place = divmod(number - 1, len(COLOURS))
    red, green, blue = (round(part * (2 / 3) ** rounds) for part in bytes.fromhex(COLOURS[place]))
    return red, green, blue


def name_axes(axes: int, meaning: Meaning) -> tuple[str, ...]:
    """Return the names of the axes of a mask: rows and columns, before which planes or points in time may be."""
    return (meaning.stack, "y", "x")[-axes:]


def describe_mask(
    file: Opened, task: Task, layout: Layout, stacked: bool = False, spacing: Sequence[float] | None = None
) -> Meaning:
    """Return what a mask's numbers and axes mean.

    Args:
        file: The image, whose pixel sizes and units are per axis of the file.
        task: Names of the classes.
        layout: Where the channels are in the file.
        stacked: Whether `file` is a plane of a stack.
        spacing: Length of a pixel along each axis, in an unknown unit, which outweighs the file; None: not given.
    """
    axis = layout.channel_axis
    sizes, units = file.pixel_size, file.units
    if axis is not None:
        sizes = sizes and (*sizes[:axis], *sizes[axis + 1 :])
        units = units and (*units[:axis], *units[axis + 1 :])
    if spacing is not None:
        sizes, units = tuple(spacing), None
    if stacked and sizes is not None:
        step, unit = (1.0, None) if file.step is None or spacing is not None else file.step
        sizes, units = (step, *sizes), None if units is None else (unit, *units)
    return Meaning(task.class_names, sizes, units, file.stack)
