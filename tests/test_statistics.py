"""Statistics against scipy where scipy has them, against hand counts and symmetries elsewhere."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.statistics import (
    break_even,
    median_ratio,
    paired_difference,
    pairs_needed,
    pareto_front,
    pareto_membership,
    sign_flip_test,
)

DIFFERENCES = np.array([0.021, -0.004, 0.013, 0.017, 0.002, 0.030, 0.011])


@pytest.mark.parametrize("values", [DIFFERENCES, DIFFERENCES - 0.01, np.array([1.0, 1.0, -1.0])])
def test_exact_sign_flips_agree_with_scipy(values: NDArray[np.float64]) -> None:
    expected = stats.permutation_test([values], np.mean, permutation_type="samples", n_resamples=10**6).pvalue
    assert sign_flip_test(values) == pytest.approx(expected)


def test_random_sign_flips_agree_with_the_t_test_on_a_normal_sample() -> None:
    values = np.random.default_rng(3).normal(0.4, 1.0, 40)
    assert sign_flip_test(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.005)


def test_sign_flips_hold_their_level() -> None:
    rng = np.random.default_rng(0)
    rejected = np.mean([sign_flip_test(rng.normal(size=8)) < 0.05 for _ in range(400)])
    assert 0.02 < rejected < 0.08


def test_six_pairs_are_the_fewest_that_can_show_anything() -> None:
    assert pairs_needed(0.05) == 6
    assert sign_flip_test(np.ones(6)) < 0.05 <= sign_flip_test(np.ones(5))
    assert sign_flip_test(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_way_bootstrap_agrees_with_scipy(axis: int) -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, 25)
    ours = paired_difference(np.expand_dims(values, axis), resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-4)
    assert ours.value == pytest.approx(values.mean())


def test_interval_is_wider_when_seeds_vary_than_when_images_alone_do() -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(0, 0.01, (1, 12))
    alone = paired_difference(np.repeat(images, 5, axis=0))
    both = paired_difference(images + rng.normal(0, 0.02, (5, 1)))
    assert both.high - both.low > alone.high - alone.low > 0


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        table = 1.0 + rng.normal(0, 1, (10, 1)) + rng.normal(0, 1, (1, 15)) + rng.normal(0, 0.3, (10, 15))
        estimate = paired_difference(table, resamples=400)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 0.88 <= covered / 200 <= 1.0


def test_undefined_scores_are_left_out_and_swapping_the_arms_mirrors_the_interval() -> None:
    table = np.array([[0.1, np.nan, 0.3], [0.2, 0.0, np.nan]])
    forward, backward = paired_difference(table), paired_difference(-table)
    assert forward.value == pytest.approx(0.15)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low), abs=1e-12)


def test_a_single_observation_has_no_interval() -> None:
    assert not paired_difference([[0.5]]).has_interval
    assert not median_ratio([2.0], [1.0]).has_interval
    assert not paired_difference([[0.5]]).excludes(0.0)


def test_ratio_is_the_median_and_inverts_with_the_arms() -> None:
    slow, fast = np.array([8.0, 20.0, 9.0, 30.0]), np.array([2.0, 4.0, 3.0, 5.0])
    ratio, inverse = median_ratio(slow, fast), median_ratio(fast, slow)
    assert ratio.value == pytest.approx(math.sqrt(4.0 * 5.0))
    assert inverse.value == pytest.approx(1 / ratio.value)
    assert (inverse.low, inverse.high) == pytest.approx((1 / ratio.high, 1 / ratio.low), rel=0.05)
    assert 3.0 <= ratio.low <= ratio.value <= ratio.high <= 6.0


def test_ratio_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(6)
    slow, fast = rng.lognormal(2, 0.3, 15), rng.lognormal(0, 0.2, 15)
    theirs = stats.bootstrap(
        (np.log(slow / fast),), np.median, method="percentile", confidence_level=0.9, rng=np.random.default_rng(7)
    ).confidence_interval
    ours = median_ratio(slow, fast, level=0.9)
    assert np.log([ours.low, ours.high]) == pytest.approx([theirs.low, theirs.high], abs=1e-9)


def test_pareto_front_by_hand() -> None:
    costs, scores = [1, 2, 3, 2, 4, np.nan], [0.5, 0.7, 0.6, 0.7, 0.9, 1.0]
    assert pareto_front(costs, scores).tolist() == [True, True, False, True, True, False]


def test_every_point_off_the_front_is_beaten_by_one_on_it() -> None:
    costs, scores = np.random.default_rng(8).integers(0, 6, (2, 40)).astype(float)
    front = pareto_front(costs, scores)
    for cost, score in zip(costs[~front], scores[~front], strict=True):
        on = (costs[front] <= cost) & (scores[front] >= score) & ((costs[front] < cost) | (scores[front] > score))
        assert on.any()


def test_pareto_membership_is_certain_for_points_far_apart_and_shared_by_twins() -> None:
    clear = pareto_membership([[1, 1.1], [5, 5.1], [6, 6.1]], [[0.9, 0.91], [0.95, 0.96], [0.5, 0.51]])
    assert clear.tolist() == [1.0, 1.0, 0.0]
    twins = pareto_membership([[1, 1, 1], [1, 1, 1]], [[0.1, 0.5, 0.9], [0.9, 0.5, 0.1]])
    assert twins.sum() > 1
    assert twins == pytest.approx([0.55, 0.55], abs=0.1)


def test_break_even_is_where_both_cost_the_same() -> None:
    x = break_even(10.0, 1.0, 4.0, 2.5)
    assert x == pytest.approx(4.0)
    assert 10.0 + 1.0 * x == pytest.approx(4.0 + 2.5 * x)


@pytest.mark.parametrize(("costs", "expected"), [((1, 1, 2, 2), 0.0), ((2, 2, 1, 1), math.inf), ((2, 1, 2, 1), 0.0)])
def test_break_even_at_once_or_never(costs: tuple[float, float, float, float], expected: float) -> None:
    assert break_even(*costs) == expected
    assert math.isnan(break_even(1, 3, 2, 1))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        median_ratio([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="pairs"):
        median_ratio([1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="at least one number"):
        paired_difference([[np.nan]])
    with pytest.raises(ValueError, match="NaN"):
        sign_flip_test([1.0, np.nan])
    with pytest.raises(ValueError, match="alpha"):
        pairs_needed(0.0)
    with pytest.raises(ValueError, match="negative"):
        break_even(-1, 0, 0, 0)
