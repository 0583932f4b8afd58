"""The best rival of any kind beside the graph network, with the same scorecard as for the two of the question."""

import pandas as pd

from bench.report.pair import Pair, pair_by_seed
from bench.report.scorecard import Line, make_scorecard, summarise_lines
from bench.report.words import count
from bench.tables.names import name_configuration
from bench.tables.rivals import find_rival


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
    among = f"of {count(found.tried, 'configuration')} of other arms that converged"
    which = "reached the {}'s score soonest" if found.reached else "came closest to the {}'s score, which none reached"
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
