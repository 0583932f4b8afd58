"""Eight numbers in a register compute what eight plain loops compute, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from support.lane_kernels import combine

    from bench.arrays.lanes import LANES
    from bench.graphs.sums import gather_line, gather_packed_line
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


@pytest.mark.parametrize(("stride", "with_squares"), [(1, True), (1, False), (2, False), (8, False)])
def test_eight_responses_at_once_are_one_after_another(stride: int, with_squares: bool) -> None:
    """Sums over runs of any length, cut off by the block, are to the bit those of `gather_line`."""
    rng = np.random.default_rng(stride)
    cuts = np.unique([0, 96, *rng.integers(1, 96, 20)]).astype(np.int32)
    node = rng.integers(0, 5, cuts.size - 1).astype(np.int32)
    runs = Runs(np.array([0, node.size]), node, 8 + cuts[:-1], 8 + cuts[1:], np.arange(5, dtype=np.int32))
    block = SegmentBlock(0, 1, 8, int(8 + cuts[-3]), runs)
    responses = rng.normal(size=(LANES, 96 // stride)).astype(np.float32)
    shape = (5, LANES)
    one, other = (np.zeros(shape), np.zeros(shape)), (np.zeros(shape), np.zeros(shape))
    gather_line(block, 0, responses, 8 // stride, stride, *one, with_squares)
    gather_packed_line(block, 0, np.ascontiguousarray(responses.T), 8 // stride, stride, *other, with_squares)
    np.testing.assert_array_equal(one, other)
    assert np.any(one[0] != 0)
