"""Lengths of pixels along the axes of an image, in units of the shortest one."""

from collections.abc import Sequence


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
