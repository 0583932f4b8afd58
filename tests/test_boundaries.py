"""Boundaries by hand, and their matches beside a distance transform."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.scores.boundaries import class_boundary, dilate, match_boundaries

Mask = NDArray[np.int64]


def square(offset: int, size: int = 32) -> Mask:
    mask = np.zeros((size, size), np.int64)
    mask[8 + offset : 20 + offset, 8:20] = 1
    return mask


@pytest.mark.parametrize(("offset", "tolerance", "expected"), [(0, 0, 1.0), (2, 2, 1.0), (8, 0, 0.087)])
def test_boundary_f1_forgives_what_lies_within_the_tolerance(offset: int, tolerance: float, expected: float) -> None:
    hits = match_boundaries(square(0), square(offset), 2, tolerance)[1]
    assert hits.f1 == pytest.approx(expected, abs=0.001) if expected == 1.0 else hits.f1 < 0.5


def test_boundary_pixels_by_hand() -> None:
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]])
    expected = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]], bool)
    np.testing.assert_array_equal(class_boundary(mask, 1), expected)  # the image's edge is no boundary


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 2.0, 3.7, 4.0])
@pytest.mark.parametrize("shape", [(23, 17), (9, 11, 7), (3, 40)])
def test_shifted_edges_reach_as_far_as_a_distance_transform(tolerance: float, shape: tuple[int, ...]) -> None:
    edge = np.random.default_rng(0).random(shape) < 0.03
    assert edge.any()
    np.testing.assert_array_equal(dilate(edge, tolerance), dilate(edge, tolerance, shifted=-1.0))


def test_boundaries_of_empty_classes() -> None:
    empty = np.zeros((8, 8), np.int64)
    assert np.isnan(match_boundaries(empty, empty, 2, 1.0)[1].f1)
    assert match_boundaries(empty, square(0, 8 + 24)[8:16, 4:12], 2, 1.0)[1].f1 == 0.0


@pytest.mark.parametrize(("shape", "spacing"), [((37, 23), None), ((9, 12, 11), (2.5, 1.0, 1.0))])
@pytest.mark.parametrize("tolerance", [0.0, 2.0, 5.5])
def test_bands_count_what_the_whole_counts(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None, tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    coarse = tuple(-(-length // 4) for length in shape)
    truth, predicted = (
        np.kron(rng.integers(0, 3, coarse), np.ones((4,) * len(shape), np.int64))[tuple(map(slice, shape))]
        for _ in range(2)
    )
    truth[:2] = 9
    whole = match_boundaries(truth, predicted, 3, tolerance, 9, spacing)
    assert whole[0].true > 0
    for pixels in (1, 100, 300):
        assert match_boundaries(truth, predicted, 3, tolerance, 9, spacing, pixels) == whole


@pytest.mark.parametrize("pixels", [1 << 22, 20])
def test_a_perfect_mask_scores_one_around_pixels_that_count_for_nothing(pixels: int) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 1
    truth = mask.copy()
    truth[6:10, 10:14] = 9
    found = match_boundaries(truth, mask, 2, 1.0, ignore_index=9, pixels=pixels)
    assert [matches.f1 for matches in found] == [1.0, 1.0]
