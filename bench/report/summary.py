"""The answer in one sentence: what the GNN costs in accuracy and saves in time and memory, with intervals."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.pair import Pair, at, count, seconds, set_beforehand
from bench.tables.statistics import median_ratio, paired_difference


def summary(pair: Pair, differences: NDArray[np.float64]) -> str:
    """The user's question in one sentence, with intervals where there are any and without what cannot be said."""
    seeds = "" if pair.seeds > 1 else ", with one seed,"
    size = at(pair.gnn["superpixel_size"].iloc[0])
    start = f"On these {count(differences.shape[1], 'test image')}{seeds} the GNN{size}"
    ceiling = pd.to_numeric(pair.gnn["oracle_dice"]).mean()
    end = "" if math.isnan(ceiling) else f"; its ceiling at this size is {ceiling:.3f}"
    score = _score_in_short(differences) + _pooled(pair)
    return f"{start} {score}, {_time_in_short(pair)}, and {_memory_in_short(pair)}{end}."


def _score_in_short(differences: NDArray[np.float64]) -> str:
    if np.isnan(differences).all():
        return "has no score per image to compare"
    estimate = paired_difference(differences)
    value, low, high = (100 * number for number in (estimate.value, estimate.low, estimate.high))
    text = f"scores {abs(value):.1f} points {'less' if value < 0 else 'more'} Dice per image"
    if not estimate.has_interval:
        return f"{text} (no interval)"
    doubt = "" if estimate.excludes(0) else ": may be chance"
    return f"{text} (95 % interval {low:+.1f} to {high:+.1f}{doubt})"


def _pooled(pair: Pair) -> str:
    """The same of all test pixels together, as tables have it: images with little of a class weigh less there."""
    gnn, cnn = pair.column("dice")
    points = 100 * float(np.mean(gnn) - np.mean(cnn))
    if math.isnan(points):
        return ""
    return f" and {abs(points):.1f} points {'less' if points < 0 else 'more'} pooled over all pixels"


def _time_in_short(pair: Pair) -> str:
    gnn, cnn = pair.column("train_s")
    if np.isnan([*gnn, *cnn]).any():
        return "its training time was not measured"
    if set_beforehand(pair):
        budgets = (float(np.median(values)) for values in pair.column("training.seconds"))
        return f"was trained for a time set beforehand ({' against '.join(map(seconds, budgets))})"
    company = ", beside other work" if pair.gnn["contended"].any() or pair.cnn["contended"].any() else ""
    return f"trains {_in_short(cnn, gnn, 'faster', 'slower')}, superpixels included{company}"


def _memory_in_short(pair: Pair) -> str:
    gnn, cnn = pair.column("peak_memory_bytes")
    kinds = {*pair.gnn["peak_memory_kind"], *pair.cnn["peak_memory_kind"]}
    if np.isnan([*gnn, *cnn]).any() or len(kinds) != 1:
        return "its memory cannot be compared with the CNN's"
    text = f"needs {_in_short(cnn, gnn, 'less memory', 'more memory')}"
    net_gnn, net_cnn = pair.column("net_peak_bytes")
    if len({*pair.gnn["net_peak_kind"], *pair.cnn["net_peak_kind"]}) == 1 and min(*net_gnn, *net_cnn) > 0:
        text += f", net {_in_short(net_cnn, net_gnn, 'less', 'more')}"
    return text


def _in_short(slow: NDArray[np.float64], fast: NDArray[np.float64], better: str, worse: str) -> str:
    """`14 times faster (13 to 15)`."""
    estimate = median_ratio(slow, fast)
    flipped = estimate.value < 1
    estimate = median_ratio(fast, slow) if flipped else estimate
    interval = f" ({estimate.low:.3g} to {estimate.high:.3g})" if estimate.has_interval else ""
    return f"{estimate.value:.3g} times {worse if flipped else better}{interval}"
