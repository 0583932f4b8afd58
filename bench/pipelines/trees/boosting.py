"""Gradient boosting on bin numbers: what scikit-learn's `HistGradientBoostingClassifier` does, to the last digits.

Written here because it takes a tenth of the memory: features stay one byte each, and nothing else is loaded.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.threads import Workers, start_workers
from bench.learning.fitlog import FitLog, Interval, Validation, rise_late
from bench.learning.progress import FitBar
from bench.learning.schedule import Schedule
from bench.pipelines.trees.bins import Bins, find_bins
from bench.pipelines.trees.ensemble import BLOCK, Ensemble, Tree, join_trees
from bench.pipelines.trees.growth import Growth, Histograms, TreeSettings


class Booster:
    """The state of a fit: raw scores of the training rows, which every iteration improves by one tree per column.

    Two classes need one column, the log-odds of the second; more need one each.
    """

    def __init__(
        self,
        codes: NDArray[np.uint8],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
        num_classes: int,
        settings: TreeSettings,
        workers: Workers,
    ) -> None:
        """Start from the class frequencies.

        Args:
            codes: Bin numbers (F, N), a row per feature.
            labels: Classes (N,).
            weights: Of the rows, (N,); their scale matters to `settings.penalty` alone.
            num_classes: K.
            settings: How trees grow.
            workers: Threads to share histograms out to.
        """
        self.codes, self.labels, self.settings, self.workers = codes, labels.astype(np.int64), settings, workers
        self.weights = np.asarray(weights / weights.mean(), np.float64)
        self.start = start_scores(np.bincount(labels, self.weights, num_classes).astype(np.float64))
        self.raw = np.tile(self.start, (len(labels), 1))  # (N, columns)
        self.histograms = Histograms(len(codes))

    def grow_iteration(self) -> list[Tree]:
        """Grow a tree for each column, all from the same scores, and add them to the scores."""
        gradients, hessians = derive(self.raw, self.labels, self.weights)
        return [
            self._grow(gradients[column], hessians[column], self.raw[:, column]) for column in range(len(self.start))
        ]

    def loss(self) -> float:
        """Return the weighted mean of -log p of the true classes."""
        chosen = np.empty(len(self.labels))
        for low, high in cut_bands(chosen.shape, BLOCK):
            logs = log_softmax(widen(self.raw[low:high]))
            chosen[low:high] = np.take_along_axis(logs, self.labels[low:high, None], axis=1)[:, 0]
        return float(-(self.weights * chosen).mean())

    def _grow(self, gradient: NDArray[np.float32], hessian: NDArray[np.float32], raw: NDArray[np.float64]) -> Tree:
        """Grow one tree best split first, and add its leaves to `raw` (N,)."""
        growth = Growth(self.codes, gradient, hessian, self.settings, self.workers, self.histograms)
        tree, leaves = growth.grow()
        for start, stop, value in leaves:
            raw[growth.rows[start:stop]] += value
        return tree


def boost(
    booster: Booster,
    bins: Bins,
    schedule: Schedule,
    validate: Callable[[Ensemble], float],
    started_ns: int,
    description: str,
) -> tuple[Ensemble, FitLog]:
    """Boost until the score of held-out rows stops improving, an iteration being a step and an epoch.

    Args:
        booster: Fresh.
        bins: Of the features.
        schedule: When to validate and to stop; fresh, without a cool-down.
        validate: Receives the trees that are new, and returns a score of all so far on held-out rows, whose sums begin
            with `booster.start`; higher is better.
        started_ns: When the fit began, by `time.perf_counter_ns`.
        description: Name of the fit, for its progress.

    Returns:
        The trees up to the best validation, the first of equals, and the log.
    """
    columns = len(booster.start)
    trees, history, intervals = list[Tree](), list[Validation](), list[Interval]()
    with FitBar(description) as bar:
        while not schedule.find_end():
            fresh = list[Tree]()
            while not fresh or not schedule.is_validation_due:
                fresh += booster.grow_iteration()
                schedule.count_step(0.0)
            start_ns = time.perf_counter_ns()
            value = validate(join_trees(bins, booster.start, fresh, [tree % columns for tree in range(len(fresh))]))
            end_ns = time.perf_counter_ns()
            intervals.append(Interval("validate", start_ns, end_ns))
            seconds, steps = (end_ns - started_ns) / 1e9, schedule.steps
            rate = booster.settings.learning_rate
            history.append(Validation(steps, steps, seconds, booster.loss(), value, rate, 0.0))
            trees += fresh
            schedule.count_validation(value)
            best = max(history, key=lambda row: row.val_score)
            bar.show(schedule, steps, value, best.val_score, seconds)
    ensemble = join_trees(bins, booster.start, trees, [tree % columns for tree in range(len(trees))])
    ensemble = ensemble.keep_trees(best.step * columns)
    scores = [(row.step, row.val_score) for row in history]
    log = FitLog(
        history=tuple(history),
        intervals=tuple(intervals),
        parameters=ensemble.parameters,
        steps=schedule.steps,
        best_step=best.step,
        best_score=best.val_score,
        late_gain=rise_late(scores, schedule.steps),
        stopped=schedule.find_end(),
    )
    return ensemble, log


def warm_up_boosting() -> None:
    """Compile what growing and adding up trees needs, on four rows."""
    rows = np.arange(4, dtype=np.float32)[:, None]
    bins = find_bins(rows)
    codes = bins.encode(rows)
    with start_workers(codes.shape) as workers:
        settings = TreeSettings(leaves=3, least_rows=1)
        booster = Booster(np.ascontiguousarray(codes.T), np.arange(4) % 2, np.ones(4), 2, settings, workers)
        join_trees(bins, booster.start, booster.grow_iteration(), [0]).sum_trees(codes)


def start_scores(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the scores without features, (columns,), of classes with these total weights (K,).

    A class that never occurs gets the score of one that is a billionth of all.
    """
    logs = np.log(np.maximum(shares / shares.sum(), 1e-9))
    return np.asarray([logs[1] - logs[0]] if len(shares) == 2 else logs - logs.mean(), np.float64)


def widen(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores (N, K) of every class: one column (N, 1) is the log-odds of the second of two."""
    return np.concatenate([np.zeros_like(raw), raw], axis=1) if raw.shape[1] == 1 else raw


def log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log p (N, K) of scores (N, K)."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def derive(
    raw: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return gradients and hessians of the weighted cross-entropy, each (columns, N).

    Args:
        raw: Scores (N, columns).
        labels: Classes (N,).
        weights: Of the rows, (N,).
    """
    first = 1 if raw.shape[1] == 1 else 0
    classes = np.arange(first, first + raw.shape[1])[:, None]
    gradients, hessians = (np.empty(raw.shape[::-1], np.float32) for _ in range(2))
    for low, high in cut_bands(labels.shape, BLOCK):
        probability = np.exp(log_softmax(widen(raw[low:high])))[:, -raw.shape[1] :].T  # (columns, rows)
        true = labels[None, low:high] == classes
        gradients[:, low:high] = (probability - true) * weights[low:high]
        hessians[:, low:high] = probability * (1 - probability) * weights[low:high]
    return gradients, hessians
