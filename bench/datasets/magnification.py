"""Where the pixels of a magnified scene lie between those of the field, and values interpolated there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.datasets.random_fields import Field


@dataclass(frozen=True)
class Between:
    """Where the pixels of a magnified axis lie between those of the field.

    `first` is the first pixel of the field that matters, of `count`; of each magnified pixel `before` (n,) is the one
    before it, counted from `first`, `share` (n,) that of the next one, and `nearest` (n,) the nearest.
    """

    first: int
    count: int
    before: NDArray[np.intp]
    share: Field
    nearest: NDArray[np.intp]


def place_between(start: int, stop: int, times: int) -> Between:
    """Find the pixels of the field between which the pixels of a magnified axis lie.

    A pixel of the field becomes `times` pixels around the same centre.

    Args:
        start: First magnified pixel.
        stop: End of the magnified pixels.
        times: Magnification, at least 1.

    Returns:
        The places; at either end of a magnified scene they reach one pixel beyond the field.
    """
    position = (np.arange(start, stop) + 0.5) / times - 0.5
    before = np.floor(position).astype(np.intp)
    nearest = np.arange(start, stop) // times
    first = int(before[0])
    share = (position - before).astype(np.float32)
    return Between(first, int(before[-1]) - first + 2, before - first, share, nearest - first)


def interpolate(values: Field, rows: Between, columns: Between) -> Field:
    """Interpolate values of the field linearly at magnified pixels.

    Args:
        values: (rows.count, columns.count).
        rows: Places of the rows.
        columns: Places of the columns.

    Returns:
        (h, w).
    """
    v, u = rows.share[:, None], columns.share
    upper, lower = values[rows.before], values[rows.before + 1]
    first = upper[:, columns.before] * (1 - u) + upper[:, columns.before + 1] * u
    second = lower[:, columns.before] * (1 - u) + lower[:, columns.before + 1] * u
    return np.asarray(first * (1 - v) + second * v, dtype=np.float32)
