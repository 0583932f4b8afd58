"""Statistics against scipy where scipy has them, against hand counts and symmetries elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import stats

    from bench.tables.statistics import (
        bootstrap_crossed,
        break_even,
        count_pairs_needed,
        estimate_crossed_t,
        estimate_paired_difference,
        mean_interval,
        median_bootstrap,
        median_ratio,
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
    assert count_pairs_needed(0.05) == 6
    assert sign_flip_test(np.ones(6)) < 0.05 <= sign_flip_test(np.ones(5))
    assert sign_flip_test(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_way_bootstrap_agrees_with_scipy(axis: int) -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, 25)
    ours = bootstrap_crossed(np.expand_dims(values, axis), resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=2e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_way_t_interval_agrees_with_scipy(axis: int) -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, 7)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert estimate_crossed_t(np.expand_dims(values, axis), level=0.9) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_is_the_wider_of_both_at_each_end_and_holds_the_mean() -> None:
    values = np.random.default_rng(2).lognormal(0, 1.5, 30)  # skewed: the bootstrap reaches further on one side
    estimate, parts = mean_interval(values), [bootstrap_crossed(values, resamples=2000), estimate_crossed_t(values)]
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == min(low for low, _ in parts) == estimate_crossed_t(values)[0]
    assert estimate.high == max(high for _, high in parts) == parts[0][1]


def test_over_two_images_the_interval_is_wide_however_alike_they_are() -> None:
    estimate = estimate_paired_difference([[0.010, 0.012]])
    assert estimate.high - estimate.low == pytest.approx(2 * 12.706 * 0.001, rel=1e-3)
    assert not estimate_paired_difference([[0.05, 0.01]]).excludes(0.0)


def test_interval_is_wider_when_seeds_vary_than_when_images_alone_do() -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(0, 0.01, (1, 12))
    alone = estimate_paired_difference(np.repeat(images, 5, axis=0))
    both = estimate_paired_difference(images + rng.normal(0, 0.02, (5, 1)))
    assert both.high - both.low > alone.high - alone.low > 0


@pytest.mark.parametrize(
    ("seeds", "images", "spread"),
    [(10, 15, (1.0, 1.0)), (1, 2, (0.0, 1.0)), (1, 5, (0.0, 1.0)), (3, 2, (0.2, 1.0)), (3, 20, (1.0, 0.5))],
)
def test_interval_covers_the_truth_about_as_often_as_it_says(
    seeds: int, images: int, spread: tuple[float, float]
) -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        shared = rng.normal(0, spread[0], (seeds, 1)) + rng.normal(0, spread[1], (1, images))
        estimate = estimate_paired_difference(1.0 + shared + rng.normal(0, 0.3, (seeds, images)), resamples=200)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 0.925 <= covered / 400 <= 1.0


def test_the_bootstrap_alone_would_not_cover_over_two_images() -> None:
    rng = np.random.default_rng(5)
    intervals = [bootstrap_crossed(rng.normal(size=(1, 2)), resamples=200) for _ in range(400)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) < 0.6


@pytest.mark.parametrize("pairs", [3, 6, 10])
def test_ratio_interval_covers_the_true_median(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    drawn = [rng.lognormal(1.0, 0.2, (2, pairs)) for _ in range(400)]
    intervals = [median_ratio(3 * slow, fast, resamples=200) for slow, fast in drawn]
    assert np.mean([interval.low <= 3 <= interval.high for interval in intervals]) >= 0.925


def test_undefined_scores_are_left_out_and_swapping_the_arms_mirrors_the_interval() -> None:
    table = np.array([[0.1, np.nan, 0.3], [0.2, 0.0, np.nan]])
    forward, backward = estimate_paired_difference(table), estimate_paired_difference(-table)
    assert forward.value == pytest.approx(0.15)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low), abs=1e-12)


def test_a_single_observation_has_no_interval() -> None:
    assert not estimate_paired_difference([[0.5]]).has_interval
    assert not median_ratio([2.0], [1.0]).has_interval
    assert not estimate_paired_difference([[0.5]]).excludes(0.0)


def test_ratio_is_the_median_and_inverts_with_the_arms() -> None:
    slow, fast = np.array([8.0, 20.0, 9.0, 30.0]), np.array([2.0, 4.0, 3.0, 5.0])
    ratio, inverse = median_ratio(slow, fast), median_ratio(fast, slow)
    assert ratio.value == pytest.approx(math.sqrt(4.0 * 5.0))
    assert inverse.value == pytest.approx(1 / ratio.value)
    assert (inverse.low, inverse.high) == pytest.approx((1 / ratio.high, 1 / ratio.low), rel=0.05)
    assert 1.0 < ratio.low <= ratio.value <= ratio.high


def test_median_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(6)
    slow, fast = rng.lognormal(2, 0.3, 15), rng.lognormal(0, 0.2, 15)
    theirs = stats.bootstrap(
        (np.log(slow / fast),), np.median, method="percentile", confidence_level=0.9, rng=np.random.default_rng(7)
    ).confidence_interval
    ours = median_bootstrap(np.log(slow / fast), level=0.9)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert median_ratio(slow, fast, level=0.9).low <= math.exp(ours[0]) < math.exp(ours[1])


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
    rng = np.random.default_rng(9)
    runs = [(rng.integers(0, 4, 1), rng.integers(0, 4, 1)) for _ in range(20)]  # one run each: always the front itself
    shares = pareto_membership([cost for cost, _ in runs], [score for _, score in runs], resamples=3)
    assert shares.tolist() == pareto_front(*np.concatenate(runs, axis=1)).astype(float).tolist()
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
        estimate_paired_difference([[np.nan]])
    with pytest.raises(ValueError, match="NaN"):
        sign_flip_test([1.0, np.nan])
    with pytest.raises(ValueError, match="alpha"):
        count_pairs_needed(0.0)
    with pytest.raises(ValueError, match="negative"):
        break_even(-1, 0, 0, 0)
