"""What paired runs allow one to say: intervals, tests, ratios, the Pareto front, the break-even point. Pure numpy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
EXACT_PAIRS = 16  # up to here all 2**n sign flips are tried


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `low` and `high` are NaN where one observation gives no interval."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def excludes(self, value: float) -> bool:
        """Return whether the interval exists and `value` lies outside it."""
        return self.has_interval and not self.low <= value <= self.high


def estimate_paired_difference(
    differences: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Estimate the mean difference of two arms over seeds and images; the interval is honest where there are few.

    The interval is the wider, at each end, of the crossed bootstrap's (`bootstrap_crossed`) and the t distribution's
    (`estimate_crossed_t`): the bootstrap never leaves the range of what was seen, so that over two images it covers the
    truth every second time at best; the t distribution widens by a factor of 6 there, and hardly from 20 on. With a
    single seed the interval covers images only; with a single image, seeds only.

    Args:
        differences: One arm minus the other on the same seed and image, (seeds, images); NaN where not defined.
        level: Share of repetitions in which the interval is to cover the mean.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: No difference is defined.
    """
    table = _table(differences)
    known = table[~np.isnan(table)]
    value = float(known.mean())
    if len(known) < 2:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, *_wider(bootstrap_crossed(table, level, resamples, seed), estimate_crossed_t(table, level)))


def mean_interval(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Estimate the mean of independent numbers (runs of a configuration), as `estimate_paired_difference` does."""
    return estimate_paired_difference(np.asarray(values, np.float64).reshape(-1, 1), level, resamples=2000)


def bootstrap_crossed(
    differences: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean of a (seeds, images) table.

    Every resample draws seeds and, independently, images with replacement, because both are samples and every seed sees
    every image (the crossed or "pigeonhole" bootstrap; Owen, Annals of Applied Statistics 1:386, 2007: it errs on the
    wide side). Resamples in which nothing is defined are dropped.

    Args:
        differences: (seeds, images), at least two of its numbers known.
        level: Coverage that is aimed at.
        resamples: Number of resamples.
        seed: Of their draws.
    """
    table = _table(differences)
    known = ~np.isnan(table)
    rng = np.random.default_rng(seed)
    seeds, images = (_draws(rng, length, resamples) for length in table.shape)
    sums = np.einsum("bs,si,bi->b", seeds, np.where(known, table, 0.0), images, optimize=True)
    counts = np.einsum("bs,si,bi->b", seeds, known.astype(np.float64), images, optimize=True)
    return _percentiles(sums[counts > 0] / counts[counts > 0], level)


def estimate_crossed_t(differences: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the t distribution's interval of the mean of a (seeds, images) table, at least two of its numbers known.

    The variance is that of the mean over seed means plus that over image means, which counts what is left of both twice
    and so errs on the wide side; the degrees of freedom are Satterthwaite's (Biometrics Bulletin 2:110, 1946). Of one
    seed or one image it is the interval of the one-sample t test.
    """
    table = _table(differences)
    known = ~np.isnan(table)
    parts = [_variance_of_mean(table, known, axis) for axis in (0, 1)]
    total = sum(variance for variance, _ in parts)
    shares = sum(variance**2 / freedom for variance, freedom in parts if freedom)
    reach = math.sqrt(total) * float(stdtrit(total**2 / shares, (1 + level) / 2)) if shares else 0.0
    value = float(table[known].mean())
    return value - reach, value + reach


def _variance_of_mean(table: Floats, known: NDArray[np.bool_], axis: int) -> tuple[float, int]:
    """Variance of the mean over the means along `axis`, and its degrees of freedom; 0 and 0 where there is but one."""
    counts = known.sum(axis=axis)
    means = np.where(known, table, 0.0).sum(axis=axis)[counts > 0] / counts[counts > 0]
    return (float(np.var(means, ddof=1)) / len(means), len(means) - 1) if len(means) > 1 else (0.0, 0)


def _table(differences: ArrayLike) -> Floats:
    table = np.atleast_2d(np.asarray(differences, np.float64))
    if table.ndim != 2 or np.isnan(table).all():
        raise ValueError(f"differences must be (seeds, images) with at least one number, got shape {table.shape}")
    return table


def _wider(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return min(first[0], second[0]), max(first[1], second[1])


def _draws(rng: np.random.Generator, length: int, resamples: int) -> Floats:
    """How often each of `length` items is drawn in each resample, (resamples, length)."""
    return rng.multinomial(length, np.full(length, 1 / length), size=resamples).astype(np.float64)


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def sign_flip_test(differences: ArrayLike, resamples: int = 100_000, seed: int = 0) -> float:
    """Return the two-sided p of a mean paired difference of zero, by flipping signs.

    All 2**n flips are tried up to 16 pairs, so the least possible p is 2 / 2**n; beyond that random flips, with the
    observed one counted. Ties count as at least as extreme.

    Args:
        differences: One number per independent pair (seed), (n,).
        resamples: Random flips beyond 16 pairs.
        seed: Of the random flips.

    Raises:
        ValueError: The sample is empty or holds NaN.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(values) == 0 or np.isnan(values).any():
        raise ValueError("differences must be a non-empty row of numbers without NaN, one per pair")
    observed = abs(values.sum())
    tolerance = 1e-12 * np.abs(values).sum()
    if len(values) <= EXACT_PAIRS:
        signs: Floats = np.array(list(product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= observed - tolerance))
    rng = np.random.default_rng(seed)
    hits = sum(
        int((np.abs(rng.choice((-1.0, 1.0), size=(1000, len(values))) @ values) >= observed - tolerance).sum())
        for _ in range(resamples // 1000)
    )
    return (hits + 1) / (resamples // 1000 * 1000 + 1)


def count_pairs_needed(alpha: float = 0.05) -> int:
    """Return the fewest pairs with which a two-sided sign-flip test can give p < alpha: 2 / 2**n < alpha."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return next(n for n in range(1, 2000) if 2.0 ** (1 - n) < alpha)


def median_ratio(
    numerators: ArrayLike, denominators: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Estimate the median of paired ratios; the interval is taken on logarithms: a ratio is like its inverse.

    The interval is the wider, at each end, of the bootstrap's over pairs (`median_bootstrap`) and the t distribution's
    over the mean logarithm, for the reason given in `estimate_paired_difference`. Of an even number of pairs the median
    is the geometric mean of the middle two, so that swapping the arms inverts the result.

    Args:
        numerators: Positive numbers, (pairs,).
        denominators: Positive numbers, (pairs,).
        level: Coverage that is aimed at.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: There are not as many numerators as denominators, or not all are positive.
    """
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if top.shape != bottom.shape or top.ndim != 1 or len(top) == 0:
        raise ValueError(f"ratios need pairs, got shapes {top.shape} and {bottom.shape}")
    if not (np.all(top > 0) and np.all(bottom > 0)):
        raise ValueError("ratios need positive numbers")
    logs = np.log(top / bottom)
    value = float(np.exp(np.median(logs)))
    if len(logs) < 2:
        return Estimate(value, math.nan, math.nan)
    low, high = _wider(median_bootstrap(logs, level, resamples, seed), estimate_crossed_t(logs, level))
    return Estimate(value, math.exp(low), math.exp(high))


def median_bootstrap(
    values: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the median of independent numbers.

    Args:
        values: Numbers, (n,); n are drawn with replacement in every resample.
        level: Coverage that is aimed at.
        resamples: Number of resamples.
        seed: Of their draws.
    """
    known = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(len(known), size=(resamples, len(known)))
    return _percentiles(np.median(known[drawn], axis=1), level)


def pareto_front(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other beats, (n,): none has a cost no higher and a score no lower, one of them better.

    Equal points are on the front together; a point with NaN is never on it.
    """
    cost, score = np.asarray(costs, np.float64), np.asarray(scores, np.float64)
    if cost.shape != score.shape or cost.ndim != 1:
        raise ValueError(f"points need one cost and one score each, got shapes {cost.shape} and {score.shape}")
    no_worse = (cost[:, None] <= cost[None, :]) & (score[:, None] >= score[None, :])  # (beats, beaten)
    better = (cost[:, None] < cost[None, :]) | (score[:, None] > score[None, :])
    front: NDArray[np.bool_] = ~(no_worse & better).any(axis=0) & ~np.isnan(cost) & ~np.isnan(score)
    return front


def pareto_membership(
    costs: Sequence[ArrayLike], scores: Sequence[ArrayLike], resamples: int = 2000, seed: int = 0
) -> Floats:
    """Return how often each configuration is on the Pareto front of means of redrawn runs, (n,) in [0, 1].

    Args:
        costs: Of each configuration's runs.
        scores: Of the same runs in the same order; a run's cost and score stay together.
        resamples: Number of draws.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    means = [_resample_means(rng, c, s, resamples) for c, s in zip(costs, scores, strict=True)]
    cost, score = (np.stack([pair[axis] for pair in means]) for axis in (0, 1))
    beaten = np.zeros(cost.shape, np.bool_)
    for other in range(len(cost)):  # (n, resamples) at a time
        no_worse = (cost[other] <= cost) & (score[other] >= score)
        beaten |= no_worse & ((cost[other] < cost) | (score[other] > score))
    return np.asarray((~beaten).mean(axis=1), np.float64)


def _resample_means(
    rng: np.random.Generator, costs: ArrayLike, scores: ArrayLike, resamples: int
) -> tuple[Floats, Floats]:
    cost, score = np.asarray(costs, np.float64), np.asarray(scores, np.float64)
    if cost.shape != score.shape or cost.ndim != 1 or len(cost) == 0:
        raise ValueError(f"a configuration needs one cost and one score per run, got {cost.shape} and {score.shape}")
    drawn = rng.integers(len(cost), size=(resamples, len(cost)))
    return cost[drawn].mean(axis=1), score[drawn].mean(axis=1)


def break_even(fixed: float, per_unit: float, other_fixed: float, other_per_unit: float) -> float:
    """Return how much must be processed before the first way costs less: the x at which both cost the same.

    Units follow the slopes: seconds and seconds per megapixel give megapixels.

    Args:
        fixed: Cost of the first way before anything is processed.
        per_unit: Its cost per unit.
        other_fixed: The same of the second way.
        other_per_unit: The same of the second way.

    Returns:
        0 if the first way costs no more from the start and stays so, infinity if it never gets there, NaN if it is
        ahead at first and loses later (swap the two).

    Raises:
        ValueError: A cost is negative.
    """
    if min(fixed, per_unit, other_fixed, other_per_unit) < 0:
        raise ValueError("costs must not be negative")
    saved = other_per_unit - per_unit
    if fixed <= other_fixed:
        return 0.0 if saved >= 0 else math.nan
    return (fixed - other_fixed) / saved if saved > 0 else math.inf
