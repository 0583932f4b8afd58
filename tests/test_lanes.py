"""Eight numbers in a register compute what eight plain loops compute, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from support.lane_kernels import combine

    from bench.arrays.lanes import LANES
    from bench.graphs.sums import gather_line
    from bench.superpixels.runs import Runs, SegmentBlock


def test_lanes_are_eight_plain_loops() -> None:
    """Each lane is computed by itself, in double precision and in the order of the rows."""
    values = np.random.default_rng(0).normal(size=(37, LANES)).astype(np.float32)
    out = np.full((3, LANES), 0.25)
    combine(values, 0.3, out)
    expected = np.zeros(LANES)
    for row in values.astype(np.float64):
        expected = expected + (row * row - 0.3 * row)
    np.testing.assert_array_equal(out, [np.full(LANES, 0.25), 0.25 + expected, np.full(LANES, 0.25)])


def add_in_fours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum rows (N, 8), every fourth one first, the last ones with the first of these; as `sum_powers` does."""
    whole = len(values) // 4 * 4
    totals = [np.zeros(values.shape[1]) for _ in range(4)]
    for index, row in enumerate(values):
        totals[index % 4 if index < whole else 0] += row
    return (totals[0] + totals[1]) + (totals[2] + totals[3])


@pytest.mark.parametrize(("stride", "with_squares"), [(1, True), (1, False), (2, False), (8, False)])
def test_responses_are_added_up_in_the_segments_of_a_line(stride: int, with_squares: bool) -> None:
    rng = np.random.default_rng(stride)
    cuts = np.unique([0, 96, *rng.integers(1, 96, 20)]).astype(np.int32)
    node = rng.integers(0, 5, cuts.size - 1).astype(np.int32)
    runs = Runs(np.array([0, node.size]), node, 8 + cuts[:-1], 8 + cuts[1:], np.arange(5, dtype=np.int32))
    block = SegmentBlock(0, 1, 8, int(8 + cuts[-3]), runs)
    responses = rng.normal(size=(96 // stride, LANES)).astype(np.float32)
    sums, squares = np.zeros((5, LANES)), np.zeros((5, LANES))
    gather_line(block, 0, responses, 8 // stride, stride, sums, squares, with_squares)
    expected, expected_squares = np.zeros((5, LANES)), np.zeros((5, LANES))
    for low, high, number in zip(cuts[:-3], cuts[1:-2], node, strict=False):
        rows = responses[low // stride : -(-high // stride)].astype(np.float64)
        before, after = low % stride, -high % stride
        total = add_in_fours(rows)
        expected[number] += total if with_squares else (stride * total - before * rows[0]) - after * rows[-1]
        expected_squares[number] += add_in_fours(rows * rows) if with_squares else 0
    np.testing.assert_array_equal(sums, expected)
    np.testing.assert_array_equal(squares, expected_squares)
    assert np.any(sums != 0)
