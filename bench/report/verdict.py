"""The answer in words: what the graph network gives up and saves against its rival, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arms import RIVALS, ceiling_arms, edgeless_arms
from bench.report.pair import Pair, collect_image_scores, pair_by_seed
from bench.report.rival import describe_external, describe_rival
from bench.report.scorecard import Line, make_scorecard, summarise_lines
from bench.report.words import count, join_list, join_sentences
from bench.tables.chosen import choose_configurations, find_sides
from bench.tables.comparison import rank_arm
from bench.tables.convergence import BUDGETS, make_finishing_command, select_converged, select_counted
from bench.tables.names import (
    BY_FOLDER,
    find_family,
    format_extent,
    format_size,
    is_volume,
    label_pipeline,
    name_configuration,
)
from bench.tables.statistics import count_pairs_needed, sign_flip_test

SEEN = 1.5  # widths of an object that a crop should span, to show it and what is around it
FEWEST_FOR_BOOTSTRAP = 6  # test images; below, the interval of the score rests on the t distribution
ENOUGH_IMAGES = 20  # below, it is too narrow where single images decide: one side wrong in a tenth of cases at 10


@dataclass(frozen=True)
class Verdict:
    """What one data set on one machine shows.

    Attributes:
        heading: The data set, and the machine where there are several.
        first: The first sentence: the answer in short, or that there is no verdict, why, and what would give one.
        lines: The scorecard; empty where there is no verdict.
        rival: A sentence on the best rival of any kind; empty where only the two rivals of the question ran.
        rival_lines: Its scorecard beside the graph network.
        notes: What else is seen, and the limits of it all.
    """

    heading: str
    first: str
    lines: tuple[Line, ...] = ()
    rival: str = ""
    rival_lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


def reach_verdict(heading: str, runs: pd.DataFrame, scores: pd.DataFrame, history: pd.DataFrame) -> Verdict:
    """Compare the two rivals, each by the configuration that did best on validation images.

    Args:
        heading: The data set, and the machine where there are several.
        runs: Rows of `list_configurations` of one data set and machine.
        scores: The table `scores`.
        history: The table `history`.

    Returns:
        The verdict. It never says more than the runs show.
    """
    stand_ins, sides = choose_configurations(runs), find_sides(runs)
    missing = [name for name in sides if name not in stand_ins]
    if missing:
        return Verdict(
            heading, _no_verdict(runs, missing), notes=(*list_finishing(runs, missing), *list_left_out(runs))
        )
    pair = pair_by_seed(*(stand_ins[name] for name in sides))
    if pair.seeds == 0:
        labels = _labels(sides, volumes=is_volume(runs.iloc[0].to_dict()))
        why = f"No verdict: {join_list(labels)} have no seed in common, so nothing can be paired"
        return Verdict(
            heading,
            join_sentences([why, *name_undertrained(runs)]),
            notes=(*list_finishing(runs), *list_left_out(runs)),
        )
    lines = make_scorecard(pair, runs, scores, history)
    first, second = collect_image_scores(pair, scores)
    differences = first - second
    notes = (
        *describe_external(pair, stand_ins, scores), *_absent(pair, scores), *_order(stand_ins),
        *_seeds(pair, differences), *_images(pair, differences), *_sources(pair), *_choice(runs, pair), *_crops(pair),
        *_check_alike(pair), *list_finishing(runs), *list_left_out(runs),
    )  # fmt: skip
    first_sentence = join_sentences([_summarise_pair(pair, lines), *name_undertrained(runs)])
    return Verdict(heading, first_sentence, lines, *describe_rival(pair, runs, scores, history), notes)


def _labels(names: Sequence[str], volumes: bool = False) -> list[str]:
    return [label_pipeline(name, volumes) for name in names]


def _summarise_pair(pair: Pair, lines: Sequence[Line]) -> str:
    """The scorecard's answers as one sentence without its stop."""
    ours, theirs = name_configuration(pair.first.iloc[0].to_dict()), name_configuration(pair.second.iloc[0].to_dict())
    if not any(line.short or line.unclear for line in lines):
        return f"no verdict on the {ours} beside the {theirs}: the lines below say why and what would give one"
    first = pair.first.iloc[0].to_dict()
    reach = format_extent(float(first["superpixel_size"]), is_volume(first), first.get("dataset.pixel_lengths"))
    return f"compared with the {theirs}, the {ours}{reach} {summarise_lines(lines)}"


# ----------------------------------------------------------------------------------------------------- undertrained


def _cut(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """The undertrained runs by configuration in the order of tables, each by rising seed."""
    finished = select_counted(runs)
    cut = finished[finished["undertrained"] != ""]
    groups = cut.groupby([cut["arm"].map(rank_arm), "arm", "superpixel_size"], dropna=False)
    return [group.sort_values("seed") for _, group in groups]


def name_undertrained(runs: pd.DataFrame, but: Sequence[str] = ()) -> list[str]:
    """Return a clause that names the configurations with undertrained runs, but for the arms named in `but`.

    Why they are, and the commands that finish them, are left to `list_finishing`.
    """
    groups = [group for group in _cut(runs) if group["pipeline"].iloc[0] not in but]
    names = [f"{count(len(group), 'run')} of the {name_configuration(group.iloc[0].to_dict())}" for group in groups]
    if not names:
        return []
    which = "it" if len(groups) == len(groups[0]) == 1 else "them"
    return [f"left out as undertrained: {join_list(names)} (why, and how to finish {which}, below)"]


def list_finishing(runs: pd.DataFrame, but: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each configuration with undertrained runs: why they are, and how to go on."""
    groups = [group for group in _cut(runs) if group["pipeline"].iloc[0] not in but]
    named = [(name_configuration(group.iloc[0].to_dict()), _explain_undertrained(group)) for group in groups]
    return [f"Undertrained: the {name}: {why}." for name, why in named]


def _explain_undertrained(group: pd.DataFrame) -> str:
    """Why the first run of a configuration is undertrained, the command that would finish it, and for which seeds."""
    run = group.iloc[0].to_dict()
    command = make_finishing_command(run)
    if not command:
        return str(run["undertrained"])
    others = [f"seed={seed}" for seed in group["seed"].iloc[1:]]
    repeated = f", and the same with {join_list(others)}" if others else ""
    return f"{run['undertrained']}; to finish it: {command}{repeated}"


def _no_verdict(runs: pd.DataFrame, missing: Sequence[str]) -> str:
    """Why arms cannot be compared: they were not run, did not end well, or all their runs are undertrained."""
    volumes = any(map(is_volume, runs.to_dict("records")))
    whys = [_missing_clause(runs[runs["pipeline"] == name], name, volumes) for name in missing]
    return join_sentences([f"No verdict: {join_list(whys)}", *name_undertrained(runs, missing)])


def _missing_clause(runs: pd.DataFrame, name: str, volumes: bool) -> str:
    """Of several configurations the one that did best on validation images is worth finishing first."""
    label, groups = label_pipeline(name, volumes), _cut(runs)
    if not groups:
        return f"there is no finished, valid run of the {label} (pipeline={name})"
    number = sum(len(group) for group in groups)
    several = "both" if number == 2 else f"all {number}"
    every = f"{several} runs of the {label} are" if number > 1 else f"the only run of the {label} is"
    best = max(groups, key=lambda group: float(group["val_score"].fillna(-1).mean()))
    which = f"the best, {name_configuration(best.iloc[0].to_dict())}: " if len(groups) > 1 else ""
    return f"{every} undertrained ({which}{_explain_undertrained(best)})"


# ------------------------------------------------------------------------------------------------------------ notes


def _absent(pair: Pair, scores: pd.DataFrame) -> list[str]:
    """Which classes no test image holds."""
    wanted = (scores["run_id"] == pair.first["run_id"].iloc[0]) & (scores["split"] == "test")
    pooled = scores[wanted & (scores["metric"] == "dice") & (scores["image"] == "all") & (scores["class"] != "macro")]
    absent = list(pooled.loc[pd.to_numeric(pooled["value"], errors="coerce").isna(), "class"])
    if not absent:
        return []
    them = (
        "it has no score, and means over the classes leave it"
        if len(absent) == 1
        else ("they have no score, and means over the classes leave them")
    )
    return [f"No test image holds {join_list(absent)}: {them} out."]


def _order(stand_ins: dict[str, pd.DataFrame]) -> list[str]:
    """Whether ceiling >= graph network >= the same without edges holds at the graph network's superpixel size."""
    graph = stand_ins[RIVALS[0]]
    size = graph["superpixel_size"].iloc[0]
    names = (ceiling_arms()[0], RIVALS[0], edgeless_arms()[0])
    alike = {n: r["dice"].mean() for n, r in stand_ins.items() if n in names and r["superpixel_size"].iloc[0] == size}
    if names[0] not in alike and graph["oracle_dice"].notna().any():
        alike[names[0]] = float(graph["oracle_dice"].mean())
    labels, absent = _labels(names), _labels([name for name in names if name not in alike])
    order = " >= ".join(labels)
    if absent:
        why = f"{join_list(absent)} did not converge there, or run"
        return [f"Whether {order} holds{format_size(size)} cannot be said: {why}."]
    top, middle, bottom = (float(alike[name]) for name in names)
    gain = f"edges change the Dice by {100 * (middle - bottom):+.1f} points against the {labels[2]}"
    shown = f"({top:.3f}, {middle:.3f}, {bottom:.3f})"
    verb = "As expected, {} holds" if top >= middle >= bottom else "Unlike expected, {} does not hold"
    return [f"{verb.format(order)}{format_size(size)} {shown}: {gain}."]


def _seeds(pair: Pair, differences: NDArray[np.float64]) -> list[str]:
    """What the number of seeds allows."""
    needed = count_pairs_needed(0.05)
    if pair.seeds < needed:
        few = f"{count(pair.seeds, 'paired seed')}: no sign-flip test can give p < 0.05 with fewer than {needed}"
        return [f"{few}. Run at least {needed} seeds for a test, ten for a headline."]
    known = ~np.isnan(differences).all(axis=1)
    if not known.any():
        return []
    p = sign_flip_test(np.nanmean(differences[known], axis=1))
    return [f"Sign-flip test of the difference in Dice over {count(int(known.sum()), 'paired seed')}: p = {p:.2g}."]


def _images(pair: Pair, differences: NDArray[np.float64]) -> list[str]:
    """What the number of test images allows: over few, the t distribution is all there is."""
    known = ~np.isnan(differences).all(axis=0)
    means = 100 * np.nanmean(differences[:, known], axis=0)
    if len(means) >= ENOUGH_IMAGES or len(means) < 2:
        return []
    if len(means) >= FEWEST_FOR_BOOTSTRAP:
        return [
            f"Over {len(means)} test images the interval comes out too narrow where one or two of them decide the mean."
        ]
    lower = int((means < 0).sum())
    first, second = pair.names
    return [
        f"Only {len(means)} test images: the interval is wide for that reason and takes differences between images to "
        f"be normally distributed; they run from {means.min():+.1f} to {means.max():+.1f} points, the {first} below "
        f"the {second} on {lower} of {len(means)}."
    ]


def _sources(pair: Pair) -> list[str]:
    """Of what the test images are parts: what they say of other images hangs on it."""
    run, found = pair.first.iloc[0].to_dict(), list[str]()
    rule = str(run.get("dataset.split_rule"))
    if str(run.get("dataset.planes")) == "True":
        found.append("The planes of a stack count as one test image: neighbours are too alike to count one by one.")
    if rule.startswith(BY_FOLDER):
        found.append("The images of a folder count as one test image, since whole folders were drawn into the splits.")
    if "testing on strips" in rule:
        found.append(
            "Test images are strips of the images that trained: scores and intervals are about further parts of such "
            "images, and another image may be harder."
        )
    return found


def _choice(runs: pd.DataFrame, pair: Pair) -> list[str]:
    """How the two configurations were picked."""
    used = select_converged(runs)
    families = used["arm"].map(find_family)
    tried = [
        len(used[families == find_family(str(part["arm"].iloc[0]))][["arm", "superpixel_size"]].drop_duplicates())
        for part in (pair.first, pair.second)
    ]
    names = [name_configuration(part.iloc[0].to_dict()) for part in (pair.first, pair.second)]
    picked = [
        f"the {name}, {f'chosen among {number} on validation images' if number > 1 else 'the only one'}"
        for name, number in zip(names, tried, strict=True)
    ]
    uneven = " Trying more configurations favours the arm that tried them." if tried[0] != tried[1] else ""
    return [f"Configurations: {'; '.join(picked)}. Test images took no part in the choice.{uneven}"]


def _crops(pair: Pair) -> list[str]:
    """Whether the crops that the pixel side learned from were small for the objects."""
    found = []
    for part in (pair.first, pair.second):
        run = part.iloc[0].to_dict()
        values = (run.get(name) for name in ("pipeline.crop_size", "pipeline.scale", "dataset.object_width"))
        crop, scale, width = (float("nan" if pd.isna(value) else value) for value in values)
        if crop * scale < SEEN * width:  # False where one is not known
            found.append(
                f"Objects are about {width:.0f} pixels wide on training images, and the {name_configuration(run)} "
                f"learned from crops of {crop * scale:.0f}: larger ones (pipeline.crop_size) may raise its score."
            )
    return found


def _check_alike(pair: Pair) -> list[str]:
    """Whether the two were run by one code, with one budget, and without contention."""
    runs = pair.runs
    found = []
    commits = runs["git_commit"].dropna().nunique()
    if commits > 1:
        found.append(f"The compared runs come from {commits} versions of the code.")
    budgets = [c for c in BUDGETS if c in runs and len(set(map(str, runs[c]))) > 1]
    if budgets:
        found.append(f"The compared runs differ in the ceiling of their work ({', '.join(budgets)}).")
    contended = int(runs["contended"].sum())
    if contended:
        found.append(
            f"{contended} of the {len(runs)} compared runs shared the machine (contended): times are too long."
        )
    return found


def list_left_out(runs: pd.DataFrame) -> list[str]:
    """Return a sentence for each reason other than undertraining for which runs do not count."""
    invalid = int(((runs["status"] == "ok") & runs["invalid"]).sum())
    failed = runs[runs["status"] != "ok"]["status"].value_counts().sort_index()
    found = [f"{count(invalid, 'run')} flagged invalid {_is(invalid)} left out."] if invalid else []
    if len(failed):
        named = ", ".join(f"{number} {status}" for status, number in failed.items())
        found.append(
            f"{count(int(failed.sum()), 'run')} did not finish ({named}) and {_is(int(failed.sum()))} listed below."
        )
    return found


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
