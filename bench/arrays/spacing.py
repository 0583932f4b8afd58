"""Lengths of pixels along the axes of an image, in units of the shortest one."""

from collections.abc import Sequence
from math import prod


def relate_spacing(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    """Return the length of a pixel along each axis in units of the shortest one, all 1 where nothing is known.

    Args:
        spacing: Lengths in any common unit; None: pixels are squares or cubes.
        axes: Number of spatial axes.

    Raises:
        ValueError: There are not as many lengths as axes.
    """
    if spacing is None:
        return (1.0,) * axes
    if len(spacing) != axes:
        raise ValueError(f"spacing must hold one length for each of {axes} axes, got {list(spacing)}")
    return tuple(length / min(spacing) for length in spacing)


def spread_size(size: float, spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the sides in pixels of a box of `size` pixels that is as wide in space along each axis.

    Args:
        size: Pixels of the box, at least one.
        spacing: Length of a pixel along each axis.

    Returns:
        A side for each axis, at least a pixel; the others are the shorter for it.
    """
    width, free = 0.0, sorted(spacing)  # in space; the pixels that are not longer than that
    while free:
        width = (size * prod(free)) ** (1 / len(free))
        if free[-1] <= width:
            break
        free.pop()
    return tuple(max(width / length, 1.0) for length in spacing)
