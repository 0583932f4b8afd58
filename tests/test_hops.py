"""Means over the surroundings of nodes: powers of the weighted adjacency, however many threads compute them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from bench.arrays.threads import Workers
    from bench.graphs.hops import average_hops, list_neighbours


PAIRS = np.array([[0, 1], [1, 2], [2, 3], [1, 3]], np.int32)  # node 4 is alone
PIXELS = np.array([3, 1, 2, 5, 4])
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def test_hops_are_powers_of_the_weighted_adjacency() -> None:
    matrix = np.eye(5)
    matrix[PAIRS[:, 0], PAIRS[:, 1]] = matrix[PAIRS[:, 1], PAIRS[:, 0]] = 1
    matrix *= PIXELS
    matrix /= matrix.sum(axis=1, keepdims=True)
    found = list(average_hops(ROWS, PIXELS, list_neighbours(PAIRS, 5), [1, 3]))
    for hop, rows in zip((1, 3), found, strict=True):
        np.testing.assert_allclose(rows, np.linalg.matrix_power(matrix, hop) @ ROWS, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(rows[4], ROWS[4])


def test_threads_change_no_bit_of_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(average_hops(ROWS, PIXELS, list_neighbours(PAIRS, 5), [2]))
    monkeypatch.setattr("bench.graphs.hops.start_workers", lambda _: Workers(3))
    np.testing.assert_array_equal(alone, list(average_hops(ROWS, PIXELS, list_neighbours(PAIRS, 5), [2])))


def test_no_hops_are_no_means_and_no_pairs_leave_rows_as_they_are() -> None:
    assert list(average_hops(ROWS, PIXELS, list_neighbours(PAIRS, 5), [])) == []
    [alone] = average_hops(ROWS, PIXELS, list_neighbours(np.empty((0, 2), np.int32), 5), [1])
    np.testing.assert_array_equal(alone, ROWS)


def test_neighbours_are_listed_in_ascending_order() -> None:
    starts, neighbours = list_neighbours(PAIRS, 5)
    listed = [neighbours[start:stop].tolist() for start, stop in pairwise(starts)]
    assert listed == [[1], [0, 2, 3], [1, 3], [1, 2], []]
