"""The scorecard: score, time to the same score, prediction time and memory of two configurations, a line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.config import FEWEST_TEST_IMAGES
from bench.plots.style import KINDS
from bench.report.pair import Floats, Pair, collect_image_scores
from bench.report.words import (
    count,
    format_duration,
    format_interval,
    format_share,
    format_signed,
    join_list,
    join_sentences,
)
from bench.tables import speed
from bench.tables.statistics import Estimate, estimate_paired_difference, median_ratio
from bench.tables.units import MIB

FEWEST_SEEDS = 3
NEEDED = "needed "


@dataclass(frozen=True)
class Line:
    """One line of the scorecard.

    Attributes:
        title: What is compared.
        short: A clear answer as a clause without a subject, for the first sentence; empty where there is none.
        text: The numbers of both, their ratio or difference with its interval, and the answer in words; or why there is
            none, and what would give one.
        unclear: Whether the question was answered, by no clear difference.
    """

    title: str
    short: str
    text: str
    unclear: bool = False

    @property
    def topic(self) -> str:
        """The title within a sentence."""
        return self.title[0].lower() + self.title[1:]


def summarise_lines(lines: Sequence[Line]) -> str:
    """Return the answers of a scorecard in short, without a subject: clear ones, then unclear ones, then none."""
    clear = _drop_repeated_verb([line.short for line in lines if line.short])
    unclear = [line.topic for line in lines if line.unclear]
    unanswered = [line.topic for line in lines if not line.short and not line.unclear]
    none = f"no clear difference in {join_list(unclear)}" if unclear else ""
    parts = [join_list(clear), none] if clear else [f"showed {none}"] if none else []
    why = f"no answer on {join_list(unanswered)} (why, and what would give one, below)" if unanswered else ""
    return "; ".join(part for part in (*parts, why) if part)


def _drop_repeated_verb(clauses: Sequence[str]) -> list[str]:
    """Leave out `needed` where the clause before has it, too."""
    again = [one.startswith(NEEDED) and two.startswith(NEEDED) for one, two in pairwise(["", *clauses])]
    return [clause.removeprefix(NEEDED) if known else clause for clause, known in zip(clauses, again, strict=True)]


@dataclass(frozen=True)
class Refusal:
    """Why a question is not answered, and what would answer it; nothing of both where it is."""

    why: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.why)

    def __add__(self, other: "Refusal") -> "Refusal":
        return Refusal(self.why + other.why, self.remedy + other.remedy)

    def text(self, seen: str) -> str:
        """Return the refusal as sentences, with what was seen all the same."""
        answer = f"Not answered: {join_list(self.why)}. What would answer it: {join_list(self.remedy)}."
        return f"{answer} Seen were: {seen}." if seen else answer


def make_scorecard(pair: Pair, runs: pd.DataFrame, scores: pd.DataFrame, history: pd.DataFrame) -> tuple[Line, ...]:
    """Compare two configurations of one data set and machine.

    Args:
        pair: The two, at least one seed.
        runs: All rows of `list_configurations` of that data set and machine: fits of the same methods with smaller
            budgets are points of their scores over time.
        scores: The table `scores`.
        history: The table `history`.

    Returns:
        Five lines: score, time to the same score, time of prediction, memory in training and in prediction.
    """
    memory = (_memory(pair, "training", net=True), _memory(pair, "prediction"))
    return compare_scores(pair, scores), _time(pair, runs, history), _prediction(pair), *memory


# ------------------------------------------------------------------------------------------------------------ score


def compare_scores(pair: Pair, scores: pd.DataFrame) -> Line:
    """Return the line on the scores of two configurations over the test images, by the table `scores`."""
    title = "Score when both have converged"
    by_image = collect_image_scores(pair, scores)
    first, second = pair.names
    seen = _describe_pooled(pair)
    if np.isnan(by_image[0]).all():
        return Line(title, "", Refusal(("no test image has a score in both",), ("scores per image",)).text(seen))
    estimate = estimate_paired_difference(100 * (by_image[0] - by_image[1]))
    means = f"{np.nanmean(by_image[0]):.3f} against {np.nanmean(by_image[1]):.3f}"
    span = format_interval(estimate, format_signed)
    refusal = _few_images(by_image[0].shape[1]) + _few_seeds(pair)
    if refusal:
        return Line(title, "", refusal.text(f"per image {means}, {estimate.value:+.1f} points ({span}); {seen}"))
    amount = f"{abs(estimate.value):.1f} points {'less' if estimate.value < 0 else 'more'}"
    if not estimate.excludes(0):
        head = f"no clear difference: the {first} scored {amount} macro Dice per test image than the {second}"
        return Line(title, "", join_sentences([f"{head}, {means} ({span})", seen]), unclear=True)
    head = f"the {first} scored {amount} macro Dice per test image than the {second}, {means} ({span})"
    return Line(title, f"scored {amount} Dice per image", join_sentences([head, seen]))


def _describe_pooled(pair: Pair) -> str:
    """Scores of all test pixels together, as tables have them, and the ceiling."""
    first, second = (float(np.mean(values)) for values in pair.column("dice"))
    ceiling = float(np.mean(pair.column("oracle_dice")[0]))
    top = "" if np.isnan(ceiling) else f", where the majority labelling of its superpixels has {ceiling:.3f}"
    return f"pooled over all test pixels {first:.3f} against {second:.3f}{top}"


def _few_images(images: int) -> Refusal:
    if images >= FEWEST_TEST_IMAGES:
        return Refusal()
    why = f"{count(images, 'test image')} {'says' if images == 1 else 'say'} too little about other images"
    return Refusal((why,), (f"at least {FEWEST_TEST_IMAGES} images in the test split",))


def _few_seeds(pair: Pair) -> Refusal:
    if pair.seeds >= FEWEST_SEEDS:
        return Refusal()
    one, few = "one seed gives no interval", f"{count(pair.seeds, 'seed')} of both are too few"
    return Refusal((one if pair.seeds == 1 else few,), ("three seeds of both (seed=0,1,2)",))


# ------------------------------------------------------------------------------------------------------------- time


def _time(pair: Pair, runs: pd.DataFrame, history: pd.DataFrame) -> Line:
    """Seconds to the targets that matter, superpixels included."""
    title = "Time to the same score"
    methods = [speed.select_method(runs, part.iloc[0]) for part in (pair.first, pair.second)]
    targets = speed.find_targets(pair.first, pair.second, history)
    if np.isnan(targets[0]):
        refusal = Refusal(("validation scores over time were not recorded in every run",), ("runs of both again",))
        return Line(title, "", refusal.text(""))
    first, second = (speed.reach(part, history, targets) for part in methods)
    first, second, uncontended = speed.select_common(first, second, pair.first["seed"], FEWEST_SEEDS)
    where = f"to a validation Dice of {targets[0]:.3f}, the least that a converged run of the two reached,"
    below = [_below(first, second, target, pair.names) for target in range(1, len(targets))]
    return _ratio_line(
        title, f"{where} the", (first.seconds[0], second.seconds[0]), pair.names, "time",
        _refuse_contended(len(first.seeds), uncontended, pair), lead="reached a common score in", more=below,
        estimate=speed.estimate_time_ratio(first, second, 0), most=_at_most(first, second, 0),
    )  # fmt: skip


def _at_most(first: speed.Reached, second: speed.Reached, target: int) -> tuple[str, str]:
    """Words before the seconds of either method that was at a target when it was first validated."""
    ours, theirs = ("at most " if part.at_first[target].any() else "" for part in (first, second))
    return ours, theirs


def _refuse_contended(used: int, uncontended: int, pair: Pair) -> Refusal:
    """Whether times cannot be believed: fewer than three seeds of both ran alone on the machine."""
    if used < FEWEST_SEEDS:
        return _few_seeds(Pair(pair.first[:used], pair.second[:used]))
    if uncontended >= FEWEST_SEEDS:
        return Refusal()
    contended = int(pair.runs["contended"].sum())
    why = f"{contended} of the {len(pair.runs)} compared runs shared the machine, so that times are too long"
    return Refusal((why,), ("the same runs again on a quiet machine (rerun=all)",))


def _below(first: speed.Reached, second: speed.Reached, target: int, names: tuple[str, str]) -> str:
    ours, theirs = first.seconds[target], second.seconds[target]
    if np.isnan([*ours, *theirs]).any() or len(ours) == 0:
        return ""
    most = _at_most(first, second, target)
    seconds = f"{most[0]}{_amount(ours)} against {most[1]}{_amount(theirs)}"
    return (
        f"to {first.targets[target]:.3f}: {seconds}, {_ratio(speed.estimate_time_ratio(first, second, target), names)}"
    )


# --------------------------------------------------------------------------------------------- prediction and memory


def _prediction(pair: Pair) -> Line:
    """Seconds per megapixel of the test images, superpixels included."""
    alone = pair.take_uncontended()
    used = alone if alone.seeds >= FEWEST_SEEDS else pair
    bare = used.column("predict_only_s_per_mpx")
    known = not np.isnan([*bare[0], *bare[1]]).any()
    without = f"without superpixels {_medians(*bare)}" if known else ""
    return _ratio_line(
        "Time per megapixel of prediction", "for a megapixel of the test images, superpixels included, the",
        used.column("predict_s_per_mpx"), pair.names, "time", _refuse_contended(used.seeds, alone.seeds, pair),
        lead="predicted a megapixel in", more=(without,),
    )  # fmt: skip


def _memory(pair: Pair, phase: str, net: bool = False) -> Line:
    """Peak memory in a phase, gross, and net of training where that was measured.

    Peaks are divided only where they are of one kind.

    Args:
        pair: The two configurations.
        phase: "training" or "prediction", each with the preparation of its images.
        net: Whether the net memory is added.

    Returns:
        The line.
    """
    title = f"Memory in {phase}"
    kinds = sorted({*pair.first["peak_memory_kind"].dropna(), *pair.second["peak_memory_kind"].dropna()})
    gross = pair.column("peak_memory_bytes" if phase == "training" else "predict_peak_bytes")
    if len(kinds) > 1:
        why = f"peaks of memory of different kinds are not divided: {join_list(kinds)}"
        return Line(title, "", Refusal((why,), ("both on the same kind of device",)).text(""))
    what = f" ({KINDS.get(kinds[0], kinds[0])})" if kinds else ""
    return _ratio_line(
        title, f"at its peak in {phase}, gross{what}, the", gross, pair.names, f"memory in {phase}", _few_seeds(pair),
        lead=NEEDED.strip(), more=(_net(pair),) if net else (), mib=True,
    )  # fmt: skip


def _net(pair: Pair) -> str:
    """The method's own memory, in so far as it was measured and is of one kind."""
    first, second = pair.column("net_peak_bytes")
    kinds = {*pair.first["net_peak_kind"], *pair.second["net_peak_kind"]}
    if np.isnan([*first, *second]).any() or len(kinds) != 1 or min(*first, *second) <= 0:
        return ""
    means = f"{_amount(first, mib=True)} against {_amount(second, mib=True)}"
    return f"net ({kinds.pop()}) {means}, {_ratio(median_ratio(second, first), pair.names)}"


# ----------------------------------------------------------------------------------------------------------- ratios


def _ratio_line(
    title: str,
    subject: str,
    values: tuple[Floats, Floats],
    names: tuple[str, str],
    noun: str,
    refusal: Refusal,
    *,
    lead: str,
    more: Sequence[str] = (),
    mib: bool = False,
    estimate: Estimate | None = None,
    most: tuple[str, str] = ("", ""),
) -> Line:
    """A line on the ratio second / first of paired positive numbers.

    Args:
        title: Of the line.
        subject: What the numbers are, up to the first arm's name.
        values: Numbers of the first and of the second, (seeds,) each.
        names: What readers call the two.
        noun: What is less or more, such as time.
        refusal: Why the question is not answered; nothing where it is.
        lead: Verb of the clause in the first sentence.
        more: Clauses that follow.
        mib: Whether the numbers are bytes, else seconds.
        estimate: The ratio where it is not `median_ratio` of the numbers.
        most: Words before the amount of either.

    Returns:
        The line, which says that nothing was measured where a number is missing.
    """
    first, second = values
    if len(first) == 0 or np.isnan([*first, *second]).any() or min(*first, *second) <= 0:
        missing = Refusal(
            (f"it was not measured in every run of the {names[0]} and the {names[1]}",), ("runs of both",)
        )
        return Line(title, "", missing.text(""))
    ours, theirs = (before + _amount(part, mib=mib) for before, part in zip(most, values, strict=True))
    amounts = f"{subject} {names[0]} needed {ours} and the {names[1]} {theirs}"
    estimate = estimate or median_ratio(second, first)
    if refusal:
        return Line(title, "", refusal.text("; ".join(part for part in (amounts, *more) if part)))
    text = join_sentences([f"{amounts}, {_ratio(estimate, names)}", *more])
    unclear = not estimate.excludes(1)
    return Line(title, "" if unclear else f"{lead} {_share(estimate.value, noun)}", text, unclear)


def _ratio(estimate: Estimate, names: tuple[str, str]) -> str:
    """`U-Net : GNN = 14.1 (95 % interval 13 to 15), the GNN needed 93 % less`."""
    ratio = f"{names[1]} : {names[0]} = {estimate.value:.3g} ({format_interval(estimate)})"
    if not estimate.has_interval:
        return ratio
    return f"{ratio}, " + (
        f"the {names[0]} needed {format_share(estimate.value)}" if estimate.excludes(1) else "no clear difference"
    )


def _share(ratio: float, noun: str) -> str:
    """`93 % less time`, `2.3 times as much time`."""
    return f"{format_share(ratio)} {noun}"


def _medians(first: Floats, second: Floats) -> str:
    return f"{_amount(first)} against {_amount(second)}"


def _amount(values: NDArray[np.float64], mib: bool = False) -> str:
    middle = float(np.exp(np.median(np.log(values))))  # as of ratios: of an even number the geometric mean of two
    return f"{middle / MIB:.0f} MiB" if mib else format_duration(middle)
