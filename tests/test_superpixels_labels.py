"""Mask to nodes and back: written out by hand, and as inverse of each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import InputError

if TYPE_CHECKING:
    from bench.scores.ceilings import boundary_recall, find_boundary, undersegmentation_error
    from bench.superpixels.labels import count_classes, majority_labels, paint, paint_oracle


MASK = np.array([[0, 0, 1, 1], [0, 1, 1, 2]], dtype=np.uint8)
SEGMENTS = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], dtype=np.int32)


def test_counts_by_hand() -> None:
    np.testing.assert_array_equal(count_classes(MASK, SEGMENTS, 3), [[3, 1, 0], [0, 3, 1]])


def test_counts_agree_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    mask, segments = rng.integers(0, 4, (5, 6, 7)), rng.integers(0, 9, (5, 6, 7))
    expected = [[np.sum((mask == k) & (segments == n) & (mask != 2)) for k in range(4)] for n in range(9)]
    np.testing.assert_array_equal(count_classes(mask, segments, 4, ignore_index=2), expected)
    np.testing.assert_array_equal(count_classes(mask, segments, 4, ignore_index=2, rows=1), expected)


def test_counts_of_memory_maps_are_those_of_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask, segments = rng.integers(0, 4, (500, 600), np.uint8), rng.integers(0, 9, (500, 600), np.int32)
    expected = count_classes(mask, segments, 4)
    maps = [np.memmap(tmp_path / str(part.dtype), part.dtype, "w+", shape=part.shape) for part in (mask, segments)]
    maps[0][:], maps[1][:] = mask, segments
    np.testing.assert_array_equal(count_classes(maps[0], maps[1], 4, rows=70), expected)
    np.testing.assert_array_equal(expected.sum(axis=1), np.bincount(segments.ravel()))


def test_ties_and_ignored_superpixels_get_the_lowest_class() -> None:
    segments = np.array([0, 0, 1, 1, 2])
    mask = np.array([2, 1, 3, 3, 1])
    np.testing.assert_array_equal(majority_labels(mask, segments, 3, ignore_index=3), [1, 0, 1])


def test_ignore_index_may_lie_outside_the_classes() -> None:
    np.testing.assert_array_equal(count_classes(np.array([255, 1]), np.array([0, 0]), 2, ignore_index=255), [[0, 1]])


def test_wrong_classes_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 2\).*got 2"):
        count_classes(MASK, SEGMENTS, 2)
    with pytest.raises(ValueError, match="one shape"):
        count_classes(MASK[:1], SEGMENTS, 3)
    with pytest.raises(ValueError, match="count from 0, got -1"):
        count_classes(MASK, SEGMENTS - 1, 3)


def test_paint_is_undone_by_the_majority() -> None:
    rng = np.random.default_rng(1)
    segments = rng.permutation(np.arange(120) % 10).reshape(8, 15)
    nodes = rng.integers(0, 5, 10)
    np.testing.assert_array_equal(majority_labels(paint(nodes, segments), segments, 5), nodes)


def test_oracle_is_perfect_exactly_when_no_superpixel_straddles() -> None:
    np.testing.assert_array_equal(paint_oracle(MASK, MASK.astype(np.int32), 3), MASK)
    np.testing.assert_array_equal(paint_oracle(MASK, SEGMENTS, 3), [[0, 0, 1, 1], [0, 0, 1, 1]])


def test_undersegmentation_error_by_hand() -> None:
    assert undersegmentation_error(MASK, MASK.astype(np.int32), 3) == 0
    assert undersegmentation_error(MASK, SEGMENTS, 3) == pytest.approx((1 + 1 + 1 + 1) / 8)
    assert undersegmentation_error(MASK, SEGMENTS, 3, ignore_index=2) == pytest.approx((1 + 1) / 7)
    assert np.isnan(undersegmentation_error(MASK * 0, SEGMENTS, 3, ignore_index=0))


def test_boundary_marks_both_sides_of_a_step() -> None:
    np.testing.assert_array_equal(find_boundary(np.array([[0, 0, 1, 1]])), [[False, True, True, False]])
    np.testing.assert_array_equal(find_boundary(np.array([[0, 0, 9, 1]]), 9), np.zeros((1, 4)))


def test_boundary_recall_grows_with_tolerance() -> None:
    mask = np.zeros((9, 12), dtype=np.int64)
    mask[:, 5:] = 1
    segments = np.zeros((9, 12), dtype=np.int32)
    segments[:, 7:] = 1
    recalls = [boundary_recall(mask, segments, tolerance) for tolerance in (0.0, 1.0, 2.0)]
    assert recalls == [0.0, 0.5, 1.0]
    assert boundary_recall(mask, mask.astype(np.int32), 0) == 1
    assert np.isnan(boundary_recall(mask * 0, segments, 1))


@pytest.mark.parametrize("mask", [MASK * 0.5, MASK + np.where(MASK == 1, np.nan, 0)], ids=["fractions", "NaN"])
def test_a_mask_that_holds_no_whole_numbers_is_refused(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(count_classes(MASK.astype(float), SEGMENTS, 3), count_classes(MASK, SEGMENTS, 3))
    with pytest.raises(InputError, match="must hold whole numbers"):
        count_classes(mask, SEGMENTS, 3)
    with pytest.raises(InputError, match=r"one shape, got \(1, 4\) and \(2, 4\)"):
        count_classes(MASK[:1], SEGMENTS, 3)
