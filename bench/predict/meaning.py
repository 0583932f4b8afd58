"""What the numbers and axes of a predicted array mean, and the colours that viewers show classes in."""

from dataclasses import dataclass

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
