"""Speed at equal score: the seconds, superpixels included, in which a method first reaches a validation score."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arms import contending_arms
from bench.tables.comparison import rank_arm
from bench.tables.convergence import METHOD, select_converged, select_trained
from bench.tables.statistics import Estimate, median_ratio

Floats = NDArray[np.float64]
BELOW = (0.0, 0.01, 0.02)  # the targets that matter: the lower arm's converged score, one and two points less
GRID = 25  # targets of a curve
RESAMPLES = 2000  # of an interval over seeds


@dataclass(frozen=True)
class Reached:
    """When each seed of a method reached each target.

    Attributes:
        targets: Validation scores in [0, 1], (targets,).
        seeds: Seeds, (seeds,).
        seconds: Seconds to the first validation at or above the target, preparation included, (targets, seeds); NaN
            where no run of the seed reached it.
        before: Seconds to the last validation below the target, or to the end of the preparation where there was none:
            the score was reached in between, (targets, seeds).
        at_first: Whether the first validation was at the target already, (targets, seeds).
        contended: Whether the run that gave the time shared the machine, (targets, seeds).
    """

    targets: Floats
    seeds: NDArray[np.int64]
    seconds: Floats
    before: Floats
    at_first: NDArray[np.bool_]
    contended: NDArray[np.bool_]

    def take(self, seeds: NDArray[np.bool_]) -> "Reached":
        """Return what is known of some of the seeds, chosen by a mask (seeds,)."""
        return Reached(
            self.targets,
            self.seeds[seeds],
            self.seconds[:, seeds],
            self.before[:, seeds],
            self.at_first[:, seeds],
            self.contended[:, seeds],
        )

    def median(self) -> list[Estimate]:
        """Return the median over the seeds for each target with its interval; NaN where a seed did not reach it."""
        unknown, ones = Estimate(np.nan, np.nan, np.nan), np.ones(len(self.seeds))
        missing = np.atleast_1d(np.isnan(self.seconds).any(axis=1))
        rows = zip(self.seconds, missing, strict=True)
        return [unknown if gone else median_ratio(row, ones, resamples=RESAMPLES) for row, gone in rows]


def select_method(runs: pd.DataFrame, like: "pd.Series[Any]") -> pd.DataFrame:
    """Return the trained runs of the method of the run `like`, whatever their budget of training."""
    used = select_trained(runs)
    same = pd.Series(True, index=used.index)
    for column in METHOD:
        same &= used[column].isna() if pd.isna(like[column]) else used[column] == like[column]
    return used[same]


def reach(runs: pd.DataFrame, history: pd.DataFrame, targets: Floats) -> Reached:
    """Find when each seed of a method first reached each target.

    A validation in the middle of a fit counts from that fit's start, and so does the end of a cool-down that was
    planned for a budget: of all runs of a seed, each with the budget it was planned for, the cheapest counts. A fit
    without validations counts as a whole, with its whole time.

    Args:
        runs: Trained runs of one method, rows of `list_configurations`.
        history: The table `history`.
        targets: Validation scores in [0, 1], (targets,).

    Returns:
        Seconds from the start of the preparation.
    """
    seeds = np.array(sorted(set(runs["seed"])), np.int64)
    seconds, before = (np.full((len(targets), len(seeds)), start) for start in (np.inf, np.nan))
    at_first, contended = np.zeros(seconds.shape, np.bool_), np.zeros(seconds.shape, np.bool_)
    for run in runs.to_dict("records"):
        column = int(np.searchsorted(seeds, run["seed"]))
        found, below = _find_first(run, history, targets)
        sooner = found < seconds[:, column]
        prepared = np.nan_to_num(float(run["prepare_s"]))
        seconds[sooner, column], before[sooner, column] = found[sooner], np.maximum(below, prepared)[sooner]
        at_first[sooner, column], contended[sooner, column] = below[sooner] == 0, bool(run["contended"])
    return Reached(targets, seeds, np.where(np.isinf(seconds), np.nan, seconds), before, at_first, contended)


def select_common(first: Reached, second: Reached, seeds: Iterable[int], fewest: int) -> tuple[Reached, Reached, int]:
    """Return what is known of the seeds of both, of the uncontended ones alone where there are enough of them.

    Args:
        first: When one method reached each target.
        second: The same of another, for the same targets.
        seeds: Seeds that are compared.
        fewest: Enough of them.

    Returns:
        Both, of the same seeds in the same order, and the number of seeds of which neither time is contended.
    """
    common = np.intersect1d(np.intersect1d(first.seeds, second.seeds), np.fromiter(seeds, np.int64))
    first, second = (part.take(np.isin(part.seeds, common)) for part in (first, second))
    contended = np.logical_or(first.contended, second.contended).any(axis=0).reshape(len(common))
    number = int((~contended).sum())
    kept = ~contended if number >= fewest else np.ones(len(common), np.bool_)
    return first.take(kept), second.take(kept), number


def estimate_time_ratio(ours: Reached, theirs: Reached, target: int) -> Estimate:
    """Estimate how many times as long the second of two methods needed to a target, of seeds that both have.

    A score is known at validations alone, and is reached between the last one below the target and the first one that
    is not. The interval goes from the least ratio that this allows to the greatest, and on either side as far as the
    seeds differ (`median_ratio`). An end is NaN where a first validation was at the target and nothing
    was prepared before it, so that no least time is known.

    Args:
        ours: When the first method reached each target.
        theirs: The same of the second, on the same seeds.
        target: Index of the target.

    Returns:
        The median of the ratios of the seconds to the first validations at the target, and their interval; NaN where a
        seed did not reach it, or there is none.
    """
    first, second = ours.seconds[target], theirs.seconds[target]
    if len(first) == 0 or np.isnan([*first, *second]).any():
        return Estimate(np.nan, np.nan, np.nan)
    value, (least, most) = median_ratio(second, first).value, (theirs.before[target], ours.before[target])
    low = median_ratio(least, first).low if least.min() > 0 else np.nan
    return Estimate(value, low, median_ratio(second, most).high if most.min() > 0 else np.nan)


def _select_validations(run: Mapping[Hashable, Any], history: pd.DataFrame) -> pd.DataFrame:
    rows: pd.DataFrame = history[(history["run_id"] == run["run_id"]) & history["val_score"].notna()]
    return rows


def _points(run: Mapping[Hashable, Any], history: pd.DataFrame, forks: bool | None = None) -> Floats:
    """Seconds and validation scores that a run passed through, (n, 2).

    With `forks` those of copies that cooled down for a smaller budget alone, with False those of the fit itself.
    """
    rows = _select_validations(run, history)
    if len(rows) == 0:
        return np.array([[run["train_s"], run["val_score"]]] * (not forks), np.float64).reshape(-1, 2)
    forked = rows["budget"].notna() if "budget" in rows else pd.Series(False, index=rows.index)
    points: Floats = rows[["seconds", "val_score"]].to_numpy(np.float64, copy=True)
    points[:, 0] += run["prepare_s"]
    return points if forks is None else points[forked.to_numpy() == forks]


def _find_first(run: Mapping[Hashable, Any], history: pd.DataFrame, targets: Floats) -> tuple[Floats, Floats]:
    """Least seconds of a run at or above each target, and the seconds until which it was known to be below.

    The former are infinite where it never came there, the latter 0 where its first validation was there. A copy that
    cooled down for a budget is compared with those for smaller budgets, and a point of the fit with earlier ones: the
    copies reach more in the same time. A fit without validations cannot be ended sooner.
    """
    kinds = [points for forks in (False, True) if len(points := _points(run, history, forks))]
    found, before = zip(*(_first(points, targets) for points in kinds), strict=True)
    seconds = np.min(found, axis=0)
    return seconds, seconds if _select_validations(run, history).empty else np.min(before, axis=0)


def _first(points: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Seconds of the first point at or above each target, and of the last one before it.

    The former are infinite where there is no such point or its time is not known, the latter 0 where there is none.
    """
    timed = points[~np.isnan(points[:, 0])]
    reached = timed[None, :, 1] >= targets[:, None]  # (targets, points)
    seconds = np.where(reached, timed[None, :, 0], np.inf).min(axis=1, initial=np.inf)
    earlier = timed[None, :, 0] < seconds[:, None]
    before = np.where(earlier, timed[None, :, 0], 0.0).max(axis=1, initial=0.0)
    return np.asarray(seconds, np.float64), np.asarray(before, np.float64)


def find_converged_score(runs: pd.DataFrame, history: pd.DataFrame) -> float:
    """Return the least of the scores that the converged ones of `runs` reached, so that each of them reached it.

    Copies that cooled down for a smaller budget do not count: their weights were not kept.
    """
    tops = [_points(run, history, forks=False)[:, 1].max() for run in select_converged(runs).to_dict("records")]
    return float(min(tops, default=np.nan))


def find_targets(first: pd.DataFrame, second: pd.DataFrame, history: pd.DataFrame) -> Floats:
    """Return the targets that matter: the converged score of the lower of two methods, and `BELOW` it.

    Args:
        first: Converged runs of the one.
        second: Converged runs of the other.
        history: The table `history`.

    Returns:
        Validation scores in [0, 1], falling; NaN where one of the two has none.
    """
    lower = np.min([find_converged_score(runs, history) for runs in (first, second)])  # NaN if either has none
    return np.asarray(lower - np.array(BELOW), np.float64)


def make_grid(methods: list[pd.DataFrame], history: pd.DataFrame, targets: int = GRID) -> Floats:
    """Return targets for the curves of several methods.

    Args:
        methods: Trained runs of each method.
        history: The table `history`.
        targets: Number of targets.

    Returns:
        Validation scores in [0, 1], ascending, finer towards the best that any run reached. The lowest is the least
        score of any first validation, at most 0.3 below the best.
    """
    points = [_points(run, history) for runs in methods for run in runs.to_dict("records")]
    top = max(float(part[:, 1].max()) for part in points)
    bottom = max(min(float(part[0, 1]) for part in points), top - 0.3)
    errors = np.geomspace(max(1 - bottom, 2e-4), max(1 - top, 1e-4), targets)
    return np.asarray(np.clip(1 - errors, 0.0, top), np.float64)


# ------------------------------------------------------------------------------------------------------------ curves


@dataclass(frozen=True)
class Curve:
    """One method's time to each target.

    Attributes:
        like: A row of the method.
        reached: When each of its seeds reached each target.
        median: Median over the seeds for each target with its interval; NaN where a seed did not reach it.
    """

    like: "pd.Series[Any]"
    reached: Reached
    median: list[Estimate]


def make_curves(runs: pd.DataFrame, history: pd.DataFrame, targets: Floats | None = None) -> list[Curve]:
    """Compute the time to each target for every method of contending arms of one data set and machine.

    Args:
        runs: Rows of `list_configurations`.
        history: The table `history`.
        targets: Validation scores in [0, 1]; those of `grid` where not given.

    Returns:
        A curve per method with trained runs, in the order of `bench.arms.ARMS`; none where no run has a score.
    """
    used = select_trained(runs)
    used = used[used["pipeline"].isin(contending_arms()) & used["val_score"].notna()]
    methods = [group for _, group in used.groupby([used["arm"].map(rank_arm), *METHOD], dropna=False)]
    if not methods:
        return []
    chosen = make_grid(methods, history) if targets is None else targets
    found = [reach(group, history, chosen) for group in methods]
    return [Curve(group.iloc[0], one, one.median()) for group, one in zip(methods, found, strict=True)]


def tabulate_speed(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of all data sets and machines as rows.

    Columns: those of `METHOD`, target, seconds (median over seeds, superpixels included) with its 95 % interval
    seconds_low and seconds_high, seeds (that reached the target), all_seeds, contended (of the times that count).
    """
    rows = []
    for _, group in runs.groupby(["dataset", "machine"]):
        for curve in make_curves(group, history):
            key = {name: curve.like[name] for name in METHOD}
            parts = zip(
                curve.reached.targets, curve.median, curve.reached.seconds, curve.reached.contended, strict=True
            )
            for target, middle, seconds, contended in parts:
                known = ~np.isnan(seconds)
                row = {
                    "target": target,
                    "seconds": middle.value,
                    "seconds_low": middle.low,
                    "seconds_high": middle.high,
                }
                numbers = {"seeds": known.sum(), "all_seeds": len(seconds), "contended": (contended & known).sum()}
                rows.append(key | row | numbers)
    columns = ["target", "seconds", "seconds_low", "seconds_high", "seeds", "all_seeds", "contended"]
    return pd.DataFrame(rows, columns=[*METHOD, *columns])
