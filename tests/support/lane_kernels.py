"""A kernel with every operation on lanes."""

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


@njit
def combine(values, factor, out):  # type: ignore[no-untyped-def]
    """Walk down rows with every operation on lanes."""
    total = make_zero_lanes()
    for row in range(values.shape[0]):
        lanes = load_lanes(values, row)
        total = add_lanes(total, subtract_lanes(multiply_lanes(lanes, lanes), scale_lanes(factor, lanes)))
    increase_row(out, 1, total)
