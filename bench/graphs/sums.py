"""Sums over pixels side by side, four at a time, as they do not wait for each other: the order of adding is fixed."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def powers(values, base):  # type: ignore[no-untyped-def]
    """Sum of the values beyond `base`, and of their squares."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    aa, bb, cc, dd = 0.0, 0.0, 0.0, 0.0
    whole = values.size // 4 * 4
    for x in range(0, whole, 4):
        one, two = np.float64(values[x]) - base, np.float64(values[x + 1]) - base
        three, four = np.float64(values[x + 2]) - base, np.float64(values[x + 3]) - base
        a, b, c, d = a + one, b + two, c + three, d + four
        aa, bb, cc, dd = aa + one * one, bb + two * two, cc + three * three, dd + four * four
    for x in range(whole, values.size):
        one = np.float64(values[x]) - base
        a, aa = a + one, aa + one * one
    return (a + b) + (c + d), (aa + bb) + (cc + dd)


@njit(cache=True, nogil=True)
def total_of(values):  # type: ignore[no-untyped-def]
    """Sum of the values."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = values.size // 4 * 4
    for x in range(0, whole, 4):
        a, b = a + np.float64(values[x]), b + np.float64(values[x + 1])
        c, d = c + np.float64(values[x + 2]), d + np.float64(values[x + 3])
    for x in range(whole, values.size):
        a += np.float64(values[x])
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def gather_line(low, high, node, start, end, responses, origin, stride, right, sums, squared, squares):  # type: ignore[no-untyped-def]
    """Add a line of `responses` (R, columns) to the segments of the runs low..high, left of the column `right`.

    A column of the responses, which begin with `origin`, is `stride` pixels, a power of two, and counts as many.
    """
    shift = 0
    while 1 << shift < stride:
        shift += 1
    for run in range(low, high):
        if start[run] >= right:
            break
        into, squared_into = sums[node[run]], squared[node[run]]
        first, last = (start[run] >> shift) - origin, ((end[run] - 1) >> shift) - origin
        before = start[run] - ((first + origin) << shift)  # pixels of the first column that are outside the run
        after = ((last + origin + 1) << shift) - end[run]
        for part in range(responses.shape[0]):
            line = responses[part, first : last + 1]
            if squares:
                total, square = powers(line, 0.0)
                squared_into[part] += square
            else:
                total = stride * total_of(line) - before * np.float64(line[0]) - after * np.float64(line[last - first])
            into[part] += total
