"""Speed at equal score: the seconds, superpixels included, in which a method first reaches a validation score."""

from collections.abc import Hashable, Mapping
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
        contended: Whether the run that gave the time shared the machine, (targets, seeds).
    """

    targets: Floats
    seeds: NDArray[np.int64]
    seconds: Floats
    contended: NDArray[np.bool_]

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
    seconds = np.full((len(targets), len(seeds)), np.inf)
    contended = np.zeros(seconds.shape, np.bool_)
    for run in runs.to_dict("records"):
        column = int(np.searchsorted(seeds, run["seed"]))
        found = _first(_points(run, history), targets)
        sooner = found < seconds[:, column]
        seconds[sooner, column], contended[sooner, column] = found[sooner], bool(run["contended"])
    return Reached(targets, seeds, np.where(np.isinf(seconds), np.nan, seconds), contended)


def _points(run: Mapping[Hashable, Any], history: pd.DataFrame) -> Floats:
    """Seconds and validation scores that a run passed through, (n, 2)."""
    rows = history[(history["run_id"] == run["run_id"]) & history["val_score"].notna()]
    points: Floats = rows[["seconds", "val_score"]].to_numpy(np.float64, copy=True)
    if len(points) == 0:
        return np.array([[run["train_s"], run["val_score"]]], np.float64)
    points[:, 0] += run["prepare_s"]
    return points


def _first(points: Floats, targets: Floats) -> Floats:
    """Least seconds of the points at or above each target; infinite where there is none, or its time is not known."""
    reached = points[None, :, 1] >= targets[:, None]  # (targets, points)
    seconds = np.where(reached & ~np.isnan(points[None, :, 0]), points[None, :, 0], np.inf)
    return np.asarray(seconds.min(axis=1), np.float64)


def find_converged_score(runs: pd.DataFrame, history: pd.DataFrame) -> float:
    """Return the least of the scores that the converged ones of `runs` reached, so that each of them reached it."""
    tops = [_points(run, history)[:, 1].max() for run in select_converged(runs).to_dict("records")]
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
