"""Sums over pixels, four at a time as they do not wait for each other: the order of adding is fixed."""

import numpy as np
from numba import njit

from bench.arrays.lanes import (
    add_lanes,
    increase_row,
    load_lanes,
    make_zero_lanes,
    multiply_lanes,
    scale_lanes,
    subtract_lanes,
)


@njit(cache=True, nogil=True)
def sum_powers(values, base):  # type: ignore[no-untyped-def]
    """Sum the differences of `values` (N,) from `base`, and their squares."""
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
def add_to_segments(into, ids, rows):  # type: ignore[no-untyped-def]
    """Add `rows` (n, columns) to the rows `ids` (n,) of `into` (N, columns), each of which is there once."""
    for place in range(ids.size):
        for column in range(rows.shape[1]):
            into[ids[place], column] += rows[place, column]


@njit(cache=True, nogil=True)
def gather_line(block, line, responses, origin, stride, sums, squared, with_squares):  # type: ignore[no-untyped-def]
    """Add a line of eight filter responses, side by side, to the segments of a block.

    Column c of the responses covers the pixels from (origin + c) * stride to (origin + c + 1) * stride:

        pixels      |0 1 2 3|4 5 6 7|8 9 ..|    stride = 4, origin = 0
        columns     |   0   |   1   |  2   |
        run 2..7        [ 2 3|4 5 6 ]           sum = 4 * (column 0 + column 1) - 2 * column 0 - 1 * column 1

    Args:
        block: The `SegmentBlock`.
        line: Line of the block.
        responses: (columns, 8) float32.
        origin: Column of the picture with which the responses begin.
        stride: Pixels per column, a power of two; 1 if squares are added up.
        sums: (segments, 8) float64, to which the responses are added.
        squared: (segments, 8) float64, to which their squares are added.
        with_squares: Whether squares are added up.
    """
    runs = block.runs
    node, start, end = runs.node, runs.start, runs.end
    shift = 0
    while 1 << shift < stride:
        shift += 1
    for run in range(runs.first[line], runs.first[line + 1]):
        if start[run] >= block.right:
            break
        first, last = (start[run] >> shift) - origin, ((end[run] - 1) >> shift) - origin
        if with_squares:
            total, square = _sum_lane_powers(responses, first, last + 1)
            increase_row(squared, node[run], square)
        else:
            before = np.float64(start[run] - ((first + origin) << shift))
            after = np.float64(((last + origin + 1) << shift) - end[run])
            total = scale_lanes(np.float64(stride), _sum_lanes(responses, first, last + 1))
            total = subtract_lanes(total, scale_lanes(before, load_lanes(responses, first)))
            total = subtract_lanes(total, scale_lanes(after, load_lanes(responses, last)))
        increase_row(sums, node[run], total)


@njit(cache=True, nogil=True, inline="always")
def _sum_lane_powers(responses, first, stop):  # type: ignore[no-untyped-def]
    """Sum the rows first..stop of `responses` (columns, 8), and their squares: `sum_powers` of eight numbers each."""
    whole = first + (stop - first) // 4 * 4
    a = b = c = d = aa = bb = cc = dd = make_zero_lanes()
    for x in range(first, whole, 4):
        one, two = load_lanes(responses, x), load_lanes(responses, x + 1)
        three, four = load_lanes(responses, x + 2), load_lanes(responses, x + 3)
        a, b, c, d = add_lanes(a, one), add_lanes(b, two), add_lanes(c, three), add_lanes(d, four)
        aa, bb = add_lanes(aa, multiply_lanes(one, one)), add_lanes(bb, multiply_lanes(two, two))
        cc, dd = add_lanes(cc, multiply_lanes(three, three)), add_lanes(dd, multiply_lanes(four, four))
    for x in range(whole, stop):
        one = load_lanes(responses, x)
        a, aa = add_lanes(a, one), add_lanes(aa, multiply_lanes(one, one))
    return add_lanes(add_lanes(a, b), add_lanes(c, d)), add_lanes(add_lanes(aa, bb), add_lanes(cc, dd))


@njit(cache=True, nogil=True, inline="always")
def _sum_lanes(responses, first, stop):  # type: ignore[no-untyped-def]
    """Sum the rows first..stop of `responses` (columns, 8), in the order of `sum_powers`."""
    whole = first + (stop - first) // 4 * 4
    a = b = c = d = make_zero_lanes()
    for x in range(first, whole, 4):
        a, b = add_lanes(a, load_lanes(responses, x)), add_lanes(b, load_lanes(responses, x + 1))
        c, d = add_lanes(c, load_lanes(responses, x + 2)), add_lanes(d, load_lanes(responses, x + 3))
    for x in range(whole, stop):
        a = add_lanes(a, load_lanes(responses, x))
    return add_lanes(add_lanes(a, b), add_lanes(c, d))
