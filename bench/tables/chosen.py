"""Which configuration stands for each arm: chosen on validation images, never on test images."""

import pandas as pd

from bench.arms import RIVALS, ceiling_arms, convolving_arms, edgeless_arms, external_arms
from bench.tables.convergence import select_converged, select_counted
from bench.tables.names import find_family


def find_sides(runs: pd.DataFrame) -> tuple[str, str]:
    """Return the pipelines of the two sides of the question: the graph network, and the tiled network.

    On volumes there are several tiled networks (over planes, planes with neighbours, boxes): the one that did best on
    validation images stands for them, so that the graph network is not compared with a weaker one.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
    """
    there = [name for name in convolving_arms() if name in set(runs["pipeline"])]
    if len(there) < 2:  # which is the best of them is no question
        return RIVALS[0], next(iter(there), RIVALS[1])
    stand_ins = choose_configurations(runs)
    scores = {name: stand_ins[name]["val_score"].mean() for name in there if name in stand_ins}
    known = {name: float(score) for name, score in scores.items() if score == score}
    return RIVALS[0], max(known, key=lambda name: known[name]) if known else there[0]


def choose_best(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the configuration with the highest mean validation score; the larger superpixels on ties.

    `runs` are rows of `list_configurations` of one pipeline, data set and machine, those that may be chosen. Empty if
    there are none.
    """
    if len(runs[["arm", "superpixel_size"]].drop_duplicates()) < 2:  # there is no choice
        return runs
    score = runs.groupby(["arm", "superpixel_size"], dropna=False)["val_score"].mean()
    ranked = score.rename("score").reset_index().sort_values(["score", "superpixel_size"], na_position="first")
    best = ranked.iloc[-1]
    of_arm = runs.loc[runs["arm"] == str(best["arm"])]
    return of_arm.loc[match_size(of_arm["superpixel_size"], float(best["superpixel_size"]))]


def match_size(sizes: "pd.Series[float]", size: float) -> "pd.Series[bool]":
    """Return where a superpixel size is the given one; NaN (a pixel arm) equals NaN."""
    return sizes.isna() if pd.isna(size) else sizes == size


def choose_configurations(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the runs that stand for each pipeline of one data set and machine, by pipeline.

    A pretrained network stands beside the one from scratch, and so does one of another architecture or resolution; the
    best of them stands for its arm where the plain one did not run. Each program that ran elsewhere stands for itself.
    Their keys are those of `find_family`.

    Only runs that converged may. The controls that share superpixels with the graph network (the one without edges,
    the ceiling) are taken at its superpixel size where they were run at it, because only there they say what the graph
    adds and what the ceiling is.
    """
    return _choose(select_converged(runs))


def choose_shown(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the same for pictures: of a pipeline of which no run converged, the best of those that finished."""
    used, stand_ins = select_counted(runs), choose_configurations(runs)
    families = {find_family(str(group["arm"].iloc[0])) for group in stand_ins.values()}
    return _choose(used[~used["arm"].map(find_family).isin(families)]) | stand_ins


def _choose(used: pd.DataFrame) -> dict[str, pd.DataFrame]:
    found = {str(family): choose_best(group) for family, group in used.groupby(used["arm"].map(find_family))}
    for pipeline in {family.split(" ")[0] for family in found} - {*found, *external_arms()}:
        varieties = [family for family in found if family.split(" ")[0] == pipeline]
        best = str(choose_best(pd.concat([found[family] for family in varieties]))["arm"].iloc[0])
        found[pipeline] = found.pop(find_family(best))  # a pretrained network alone stands for its arm
    graph = found.get(RIVALS[0])
    for control in {*edgeless_arms(), *ceiling_arms()} & set(found):
        if graph is not None:
            group = used[used["pipeline"] == control]
            alike = choose_best(group[match_size(group["superpixel_size"], graph["superpixel_size"].iloc[0])])
            found[control] = found[control] if alike.empty else alike
    return found
