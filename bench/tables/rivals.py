"""The best rival of any kind: which configuration of another arm reaches an arm's score soonest."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.arms import contending_arms
from bench.tables import speed
from bench.tables.chosen import choose_best
from bench.tables.convergence import METHOD, select_converged, select_timed


@dataclass(frozen=True)
class Rival:
    """A configuration that stands against an arm.

    Attributes:
        runs: Its converged runs.
        reached: Whether every one of its seeds reached the arm's score.
        tried: Number of methods that were candidates.
    """

    runs: pd.DataFrame
    reached: bool
    tried: int


def find_rival(runs: pd.DataFrame, history: pd.DataFrame, side: pd.DataFrame) -> Rival | None:
    """Find who reaches an arm's converged validation score in the least time, superpixels included.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        history: The table `history`.
        side: The converged runs of the arm's chosen configuration.

    Returns:
        Of the methods of all other arms the soonest at that score, by the median over its seeds, the uncontended ones
        where there are any (`bench.tables.convergence.select_timed`), if every seed reaches it; if none does,
        the one with the highest validation score; None where no other arm converged. Test images choose nothing.
    """
    used = select_converged(runs)
    others = used[used["pipeline"].isin(contending_arms()) & (used["pipeline"] != side["pipeline"].iloc[0])]
    methods = [group for _, group in others.groupby(METHOD, dropna=False)]
    if not methods:
        return None
    target = np.array([speed.find_converged_score(side, history)])
    seconds = [_seconds(runs, history, group, target) for group in methods]
    if np.isnan(seconds).all():
        return Rival(choose_best(others), reached=False, tried=len(methods))
    best = methods[int(np.nanargmin(seconds))]
    return Rival(choose_best(best), reached=True, tried=len(methods))


def _seconds(runs: pd.DataFrame, history: pd.DataFrame, group: pd.DataFrame, target: speed.Floats) -> float:
    """Median seconds of a method to the target; NaN where a seed, contended or not, never reached it."""
    own = speed.select_method(runs, group.iloc[0])
    if np.isnan(speed.reach(own, history, target).seconds).any():
        return float("nan")
    return speed.reach(select_timed(own), history, target).median()[0].value
