"""The answer in words: what the GNN costs in accuracy and saves in memory and time, and how sure that is."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.config import InputError
from bench.plots.style import KINDS
from bench.report.pair import Pair, at, count, image_differences, paired, seconds, set_beforehand
from bench.report.summary import summary
from bench.tables.chosen import chosen
from bench.tables.comparison import MIB, counted, ratio
from bench.tables.statistics import Estimate, median_ratio, paired_difference, pairs_needed, sign_flip_test

FEW_IMAGES = 6
TARGET_SHARE = 0.99  # of the lower arm's best validation score


@dataclass(frozen=True)
class Verdict:
    """What one data set on one machine shows: the answer in one sentence, then in three, what else is seen, its limits.

    `summary` is empty where there is no verdict; `answer` then says why.
    """

    heading: str
    answer: tuple[str, ...]
    details: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    summary: str = ""


def verdict(heading: str, runs: pd.DataFrame, scores: pd.DataFrame, history: pd.DataFrame) -> Verdict:
    """The verdict on `runs`, rows of `configurations` of one data set and machine. Never says more than they show."""
    stand_ins = chosen(runs)
    missing = [name for name in ("superpixel_gnn", "tiled_cnn") if name not in stand_ins]
    if missing:
        sentence = f"No verdict: there is no finished, valid run of {' and '.join(missing)}."
        return Verdict(heading, (sentence,), caveats=tuple(left_out(runs)))
    pair = paired(stand_ins["superpixel_gnn"], stand_ins["tiled_cnn"])
    if pair.seeds == 0:
        sentence = "No verdict: the GNN and the CNN have no seed in common, so nothing can be paired."
        return Verdict(heading, (sentence,), caveats=tuple(left_out(runs)))
    differences = image_differences(pair, scores)
    answer = (_accuracy(pair, differences), _time(pair, history) + _company(pair), _memory(pair))
    details = tuple(sentence for sentence in (_prediction(pair), _order(stand_ins)) if sentence)
    caveats = (
        *_seeds(pair, differences), *_images(differences), *_choice(runs, pair), *_alike(pair), *left_out(runs)
    )  # fmt: skip
    return Verdict(heading, answer, details, caveats, summary(pair, differences))


# ---------------------------------------------------------------------------------------------------- accuracy


def _accuracy(pair: Pair, differences: NDArray[np.float64]) -> str:
    images, size = differences.shape[1], pair.gnn["superpixel_size"].iloc[0]
    gnn, cnn = (float(np.mean(values)) for values in pair.column("dice"))
    start = f"On {count(images, 'test image')} and {count(pair.seeds, 'seed')}, the GNN{at(size)}"
    pooled = f"pooled over all test pixels it is {gnn:.3f} against {cnn:.3f}"
    if np.isnan(differences).all():
        return f"{start} has no score per image to compare; {pooled}."
    estimate = paired_difference(differences)
    points = Estimate(*(100 * v for v in (estimate.value, estimate.low, estimate.high)))
    over = "images, with one seed," if pair.seeds == 1 else "seeds and images"
    ceiling = pd.to_numeric(pair.gnn["oracle_dice"]).mean()
    top = "" if math.isnan(ceiling) else f"; the ceiling of its superpixels is {ceiling:.3f}"
    return f"{start} {_points(points, over)}; {pooled}{top}."


def _points(points: Estimate, over: str) -> str:
    """A difference in points of Dice, in words that depend on whether it is one."""
    amount = (
        f"{abs(points.value):.1f} points {'less' if points.value < 0 else 'more'} macro Dice per image than the CNN"
    )
    interval = f"95 % interval of the difference over {over} {points.low:+.1f} to {points.high:+.1f}"
    if not points.has_interval:
        return f"scores {amount} (one pair gives no interval)"
    if points.excludes(0):
        return f"scores {amount} ({interval})"
    return f"shows no clear difference: {amount} ({interval}, zero included)"


def _order(stand_ins: dict[str, pd.DataFrame]) -> str:
    """Whether oracle >= GNN >= MLP holds at the GNN's superpixel size."""
    gnn = stand_ins["superpixel_gnn"]
    size = gnn["superpixel_size"].iloc[0]
    alike = {n: r for n, r in stand_ins.items() if r["superpixel_size"].iloc[0] == size}
    means = {"GNN": gnn["dice"].mean()}
    ceiling = alike["oracle"]["dice"].mean() if "oracle" in alike else gnn["oracle_dice"].mean()
    means = {"oracle": ceiling} | means if not math.isnan(ceiling) else means
    means |= {"MLP": alike["superpixel_mlp"]["dice"].mean()} if "superpixel_mlp" in alike else {}
    absent = [name for name in ("oracle", "MLP") if name not in means]
    if absent:
        return f"Whether oracle >= GNN >= MLP holds{at(size)} cannot be said: {' and '.join(absent)} did not run there."
    shown = f"({means['oracle']:.3f}, {means['GNN']:.3f}, {means['MLP']:.3f})"
    gain = f"its edges change the Dice by {100 * (means['GNN'] - means['MLP']):+.1f} points against the MLP"
    if means["oracle"] >= means["GNN"] >= means["MLP"]:
        return f"As expected, oracle >= GNN >= MLP holds{at(size)} {shown}: {gain}."
    return f"Unlike expected, oracle >= GNN >= MLP does not hold{at(size)} {shown}: {gain}."


# ---------------------------------------------------------------------------------------------- time and memory


def _time(pair: Pair, history: pd.DataFrame) -> str:
    """Training time, superpixels included; where a budget in seconds made it equal, the time to a common score."""
    gnn, cnn = pair.column("train_s")
    if np.isnan([*gnn, *cnn]).any():
        return "Training time was not measured."
    target = _to_target(pair, history)
    if set_beforehand(pair):
        budgets = _budgets(pair)
        return f"{budgets}, so training times say nothing; {target}." if target else f"{budgets}: time is not compared."
    bare_gnn, bare_cnn = pair.column("fit_s")
    without = f"without them {_factor(median_ratio(bare_cnn, bare_gnn).value, 'faster', 'slower')}"
    means = f"{seconds(float(np.median(gnn)))} against {seconds(float(np.median(cnn)))}"
    first = (
        f"In training, superpixels included, the GNN is {_compared(cnn, gnn, 'faster', 'slower')}: {means} ({without})"
    )
    return f"{first}; {target}." if target else f"{first}."


def _company(pair: Pair) -> str:
    """A warning that belongs beside the times themselves."""
    contended = int(pair.gnn["contended"].sum() + pair.cnn["contended"].sum())
    return f" (Indicative only: {contended} of these runs shared the machine.)" if contended else ""


def _budgets(pair: Pair) -> str:
    gnn, cnn = (float(np.median(values)) for values in pair.column("training.seconds"))
    if gnn == cnn:
        return f"Both had the same budget of {seconds(gnn)}"
    return f"The GNN was given {seconds(gnn)} of training and the CNN {seconds(cnn)}"


def _to_target(pair: Pair, history: pd.DataFrame) -> str:
    """Seconds, superpixels included, to the first validation at 99 % of the lowest best score of both arms' runs."""
    runs = pd.concat([pair.gnn, pair.cnn])
    best = history.groupby("run_id")["val_score"].max().reindex(runs["run_id"])
    if best.isna().any():
        return ""
    target = TARGET_SHARE * float(best.min())
    gnn, cnn = (
        np.array([_reached(run, history, target) for run in a.to_dict("records")]) for a in (pair.gnn, pair.cnn)
    )
    if np.isnan([*gnn, *cnn]).any():
        return ""
    times = f"{seconds(float(np.median(gnn)))} against {seconds(float(np.median(cnn)))}"
    which = f"a validation Dice of {target:.3f} (99 % of the lowest best score among these runs)"
    return f"to {which} it is {_compared(cnn, gnn, 'faster', 'slower')}, superpixels included ({times})"


def _reached(run: dict[Any, Any], history: pd.DataFrame, target: float) -> float:
    epochs = history[(history["run_id"] == run["run_id"]) & (history["val_score"] >= target)]
    return float(epochs["seconds"].min()) + float(run["prepare_s"])


def _memory(pair: Pair) -> str:
    """Peak memory of the whole run, divided only where both are of one kind."""
    gnn, cnn = pair.column("peak_memory_bytes")
    kinds = [*pair.gnn["peak_memory_kind"], *pair.cnn["peak_memory_kind"]]
    try:
        ratio(float(np.median(cnn)), float(np.median(gnn)), kinds)
    except InputError as error:
        return f"Memory is not compared: {error}."
    if np.isnan([*gnn, *cnn]).any():
        return "Memory is not compared: it was not measured in every run."
    means = f"{np.median(gnn) / MIB:.0f} MiB against {np.median(cnn) / MIB:.0f} MiB"
    compared, kind = _compared(cnn, gnn, "less memory", "more memory"), KINDS.get(kinds[0], kinds[0])
    return f"At its peak in training the GNN takes {compared}: {means} ({kind}){_net_memory(pair)}."


def _net_memory(pair: Pair) -> str:
    """The method's own memory, in so far as it was measured and is of one kind."""
    gnn, cnn = pair.column("net_peak_bytes")
    kinds = {*pair.gnn["net_peak_kind"], *pair.cnn["net_peak_kind"]}
    if np.isnan([*gnn, *cnn]).any() or len(kinds) != 1 or min(*gnn, *cnn) <= 0:
        return ""
    means = f"{np.median(gnn) / MIB:.0f} MiB against {np.median(cnn) / MIB:.0f} MiB"
    return f"; net ({kinds.pop()}) {_compared(cnn, gnn, 'less', 'more')}: {means}"


def _prediction(pair: Pair) -> str:
    gnn, cnn = pair.column("predict_s_per_mpx")
    if np.isnan([*gnn, *cnn]).any():
        return ""
    means = f"{seconds(float(np.median(gnn)))} against {seconds(float(np.median(cnn)))} per megapixel"
    only_gnn, only_cnn = pair.column("predict_only_s_per_mpx")
    bare = _factor(median_ratio(only_cnn, only_gnn).value, "faster", "slower") if (only_gnn > 0).all() else ""
    compared = _compared(cnn, gnn, "faster", "slower")
    without = f" (without them {bare})" if bare else ""
    return f"In prediction, superpixels included, the GNN is {compared}: {means}{without}."


def _compared(slow: NDArray[np.float64], fast: NDArray[np.float64], better: str, worse: str) -> str:
    """Median ratio with its interval, as `14 times faster (95 % interval 13 to 15)`; turned round if below 1."""
    estimate = median_ratio(slow, fast)
    flipped = estimate.value < 1
    if flipped:
        estimate = median_ratio(fast, slow)
    text = f"{estimate.value:.3g} times {worse if flipped else better}"
    if not estimate.has_interval:
        return f"{text} (one pair, no interval)"
    interval = f"95 % interval {estimate.low:.3g} to {estimate.high:.3g}"
    return f"{text} ({interval})" if estimate.excludes(1) else f"{text} ({interval}: no clear difference)"


def _factor(value: float, better: str, worse: str) -> str:
    return f"{value:.3g} times {better}" if value >= 1 else f"{1 / value:.3g} times {worse}"


# ------------------------------------------------------------------------------------------------------ caveats


def _seeds(pair: Pair, differences: NDArray[np.float64]) -> list[str]:
    """What the number of seeds allows."""
    needed = pairs_needed(0.05)
    if pair.seeds < needed:
        few = f"{count(pair.seeds, 'paired seed')}: no sign-flip test can give p < 0.05 with fewer than {needed}"
        inside = ", and the intervals of time and memory are missing" if pair.seeds == 1 else ""
        images = "; the interval of the score covers the choice of images only" if pair.seeds == 1 else ""
        return [f"{few}{inside}{images}. Run at least {needed} seeds for a test, ten for a headline."]
    known = ~np.isnan(differences).all(axis=1)
    p = sign_flip_test(np.nanmean(differences[known], axis=1))
    return [f"Sign-flip test of the difference in Dice over {count(int(known.sum()), 'paired seed')}: p = {p:.2g}."]


def _images(differences: NDArray[np.float64]) -> list[str]:
    """What the number of test images allows: over few, the t distribution is all there is."""
    known = ~np.isnan(differences).all(axis=0)
    means = 100 * np.nanmean(differences[:, known], axis=0)
    if len(means) >= FEW_IMAGES or len(means) == 0:
        return []
    if len(means) == 1:
        return ["One test image: nothing is said about other images."]
    lower = int((means < 0).sum())
    return [
        f"Only {len(means)} test images: the interval is wide for that reason and takes differences between images to "
        f"be normally distributed; seen were {means.min():+.1f} to {means.max():+.1f} points, the GNN below the CNN on "
        f"{lower} of {len(means)}."
    ]


def _choice(runs: pd.DataFrame, pair: Pair) -> list[str]:
    """How the two configurations were picked."""
    tried = {
        name: len(counted(runs[runs["pipeline"] == name])[["arm", "superpixel_size"]].drop_duplicates())
        for name in ("superpixel_gnn", "tiled_cnn")
    }
    gnn, cnn = tried["superpixel_gnn"], tried["tiled_cnn"]
    names = f"{pair.gnn['arm'].iloc[0]}{at(pair.gnn['superpixel_size'].iloc[0])}", str(pair.cnn["arm"].iloc[0])
    chosen_on = f"{names[0]} was chosen among {gnn} on validation images" if gnn > 1 else f"{names[0]} was the only one"
    other = f"{names[1]} among {cnn}" if cnn > 1 else f"{names[1]} was the only one of its kind"
    uneven = " Trying more configurations favours the arm that tried them." if gnn != cnn else ""
    return [f"Configurations: {chosen_on}; {other}. Test images took no part in the choice.{uneven}"]


def _alike(pair: Pair) -> list[str]:
    """Whether the two were run by one code, with one budget, undisturbed."""
    runs = pd.concat([pair.gnn, pair.cnn])
    found = []
    commits = runs["git_commit"].dropna().nunique()
    if commits > 1:
        found.append(f"The compared runs come from {commits} versions of the code.")
    budgets = [c for c in ("training.seconds", "training.epochs") if c in runs and len(set(map(str, runs[c]))) > 1]
    if budgets:
        found.append(f"The compared runs differ in their budget ({', '.join(budgets)}).")
    contended = int(runs["contended"].sum())
    if contended:
        found.append(
            f"{contended} of the {len(runs)} compared runs shared the machine (contended): times are too long."
        )
    return found


def left_out(runs: pd.DataFrame) -> list[str]:
    """The runs that do not count, by reason."""
    invalid = int(((runs["status"] == "ok") & runs["invalid"]).sum())
    failed = runs[runs["status"] != "ok"]["status"].value_counts().sort_index()
    found = [f"{count(invalid, 'run')} flagged invalid {_is(invalid)} left out."] if invalid else []
    if len(failed):
        named = ", ".join(f"{count} {status}" for status, count in failed.items())
        found.append(
            f"{count(int(failed.sum()), 'run')} did not finish ({named}) and {_is(int(failed.sum()))} listed below."
        )
    return found


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
