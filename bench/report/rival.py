"""Rivals of any kind beside the graph network: the best with a scorecard, those that ran elsewhere by score alone."""

from collections.abc import Mapping

import pandas as pd

from bench.arms import external_arms
from bench.report.pair import Pair, pair_by_seed
from bench.report.scorecard import Line, compare_scores, make_scorecard, summarise_lines
from bench.report.words import count
from bench.tables.names import name_configuration
from bench.tables.rivals import find_rival

REACHED = "reached the {}'s validation score soonest"
CLOSEST = "came closest to the {}'s validation score, which none reached"


def describe_rival(
    pair: Pair, runs: pd.DataFrame, scores: pd.DataFrame, history: pd.DataFrame
) -> tuple[str, tuple[Line, ...]]:
    """Say which configuration of any other arm reaches the score of `pair.first` soonest, and compare the two.

    Args:
        pair: The two rivals of the question.
        runs: Rows of `list_configurations` of one data set and machine.
        scores: The table `scores`.
        history: The table `history`.

    Returns:
        A sentence, and the scorecard of that configuration beside `pair.first`: empty where it is `pair.second`
        itself, or they have no seed in common.
    """
    found = find_rival(runs, history, pair.first)
    if found is None:
        return "", ()
    ours, name = pair.names[0], name_configuration(found.runs.iloc[0].to_dict())
    if found.runs["seed"].nunique() == 1 < pair.seeds:
        name = f"{name} (one seed, of which the soonest may be a lucky one)"
    among = f"of {count(found.tried, 'configuration')} of other arms that converged"
    which = REACHED if found.reached else CLOSEST
    if set(found.runs["run_id"]) & set(pair.second["run_id"]):
        if found.tried == 1:
            return "", ()
        return f"Best rival of any kind: {among}, the {name} itself {which.format(ours)}.", ()
    against = pair_by_seed(found.runs, pair.first)
    lines = make_scorecard(against, runs, scores, history) if against.seeds else ()
    rest = (
        f"; compared with the {ours} it {summarise_lines(lines)}"
        if any(line.short or line.unclear for line in lines)
        else ""
    )
    return f"Best rival of any kind: {among}, the {name} {which.format(ours)}{rest}.", lines


def describe_external(pair: Pair, stand_ins: Mapping[str, pd.DataFrame], scores: pd.DataFrame) -> tuple[str, ...]:
    """Say how the masks of each program that ran elsewhere score beside those of `pair.first`.

    Its one set of masks stands beside every seed. What it cost is compared with nothing, as it was not measured here.

    Args:
        pair: The two rivals of the question.
        stand_ins: The runs that stand for each arm, as `choose_configurations` returns them.
        scores: The table `scores`.

    Returns:
        A sentence or two for each program.
    """
    notes = []
    for name, runs in stand_ins.items():
        if name.split(" ")[0] in external_arms():
            newest = runs.sort_values("started").iloc[[-1] * pair.seeds]
            line = compare_scores(Pair(newest, pair.first), scores)
            notes.append(f"{name_configuration(newest.iloc[0].to_dict())}: {line.text}")
    return tuple(notes)
