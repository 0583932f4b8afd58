"""Both arms' frontiers: what each configuration costs and scores, which are not beaten, and the best in a budget."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arms import contending_arms, external_arms
from bench.tables.chosen import find_sides
from bench.tables.comparison import rank_arm
from bench.tables.convergence import select_timed, select_trained
from bench.tables.names import find_family, find_network, is_volume, label_pipeline
from bench.tables.statistics import Estimate, estimate_paired_difference, mean_interval, pareto_front, pareto_membership
from bench.tables.units import MIB

FEWEST_CONFIGURATIONS = 2  # configurations of each rival: a front of one point is a point
TOLERANCE = 1.05  # two runs with the same budget differ by as much
CONFIGURATION = ["pipeline", "arm", "superpixel_size"]


@dataclass(frozen=True)
class Cost:
    """What is paid: a column of `list_configurations`, its name, and its unit in tables (`scale` divides by it)."""

    column: str
    name: str
    unit: str
    scale: float = 1.0


MEMORY = Cost("peak_memory_bytes", "peak memory in training", "MiB", MIB)
TRAINING = Cost("train_s", "training time, superpixels included", "s")
PREDICTION = Cost("predict_s_per_mpx", "prediction time per megapixel, superpixels included", "s/Mpx")
COSTS = (MEMORY, TRAINING, PREDICTION)


def select_costed(runs: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    """Return the runs whose cost is known and counts: of times those of `select_timed`, of memory all."""
    known = runs[runs[cost.column].notna()]
    return known if cost is MEMORY else select_timed(known)


def select_contenders(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the trained runs of methods, those that ran elsewhere at the costs that their users state.

    A ceiling sees the truth, and a threshold has no cost worth a front.
    """
    used = select_trained(runs)
    return used[used["pipeline"].isin([*contending_arms(), *external_arms()]) & used["dice"].notna()]


def explain_too_few(runs: pd.DataFrame) -> str:
    """Return why these runs of one data set and machine make no frontier; empty if they do."""
    used = select_contenders(runs)
    sides = find_sides(runs)
    tried = {name: len(used[used["pipeline"] == name][CONFIGURATION].drop_duplicates()) for name in sides}
    if min(tried.values()) >= FEWEST_CONFIGURATIONS:
        return ""
    counts = " and ".join(f"{count} of {name}" for name, count in tried.items())
    needed = f"at least {FEWEST_CONFIGURATIONS} finished, valid configurations of each rival"
    return f"a frontier needs {needed}; there are {counts}"


def make_points(runs: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    """Return one row per configuration and kind of memory of one data set and machine, by arm and rising cost.

    Columns: pipeline, arm, superpixel_size, kind (of memory; empty for times), runs, val_dice; cost (in `cost.unit`)
    and dice, means over runs, with `*_low` and `*_high`, 95 % intervals of the mean (NaN for one run); on_front (not
    beaten by any other configuration), on_own_front (by none of its arm), share and own_share: in how many of the
    redrawn runs (bootstrap within each configuration) that holds; contended, whether the cost is a time of runs that
    shared the machine. A point is of the runs of `select_costed`. Memory of different kinds is kept apart.
    """
    used = select_costed(select_contenders(runs), cost)
    used = used.assign(kind=used["peak_memory_kind"].fillna("") if cost is MEMORY else "", rank=used["arm"].map(_rank))
    found = [_kind(group, cost) for _, group in used.groupby("kind")]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _rank(arm: str) -> int:
    return rank_arm(arm)


def _kind(used: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    groups = list(used.groupby(["rank", *CONFIGURATION, "kind"], dropna=False, sort=True))
    rows = pd.DataFrame([_point(key, group, cost) for key, group in groups])
    costs = [group[cost.column].to_numpy(np.float64) for _, group in groups]
    scores = [group["dice"].to_numpy(np.float64) for _, group in groups]
    rows["on_front"], rows["share"] = pareto_front(rows["cost"], rows["dice"]), pareto_membership(costs, scores)
    for _, own in rows.groupby(rows["arm"].map(find_family)):
        index = list(own.index)
        rows.loc[index, "on_own_front"] = pareto_front(own["cost"], own["dice"])
        rows.loc[index, "own_share"] = pareto_membership([costs[i] for i in index], [scores[i] for i in index])
    rows["on_own_front"] = rows["on_own_front"].astype(bool)
    return rows.sort_values(["rank", "cost"]).drop(columns="rank").reset_index(drop=True)


def _point(key: tuple[Hashable, ...], group: pd.DataFrame, cost: Cost) -> dict[str, object]:
    rank, pipeline, arm, size, kind = key
    row: dict[str, object] = {"rank": rank, "pipeline": pipeline, "arm": arm, "superpixel_size": size, "kind": kind}
    row |= {"runs": len(group), "val_dice": average_validation_score(group), "contended": _has_contended(group, cost)}
    for name, values in (("cost", group[cost.column] / cost.scale), ("dice", group["dice"])):
        estimate = mean_interval(values)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _has_contended(runs: pd.DataFrame, cost: Cost) -> bool:
    return cost is not MEMORY and bool(runs["contended"].any())


def average_validation_score(runs: pd.DataFrame) -> float:
    """Return the mean validation score of some runs; NaN where none has one."""
    return float(runs["val_score"].mean())


# ------------------------------------------------------------------------------------------------- within a budget


@dataclass(frozen=True)
class Within:
    """One question of the kind "the best U-Net within the GNN's memory", and its answer.

    `budget` is what the giver's best configuration costs (mean over the runs of `select_costed`, in `cost.unit`).
    `taker` is the best configuration of the other arm that costs no more (up to `TOLERANCE`), empty if there is none;
    `taken` is what it costs, NaN without one, and `least` the least that one of that arm costs. `names` are what
    readers call the arms of taker and giver, `contended` whether their costs are times of runs that shared the machine.
    `difference` is taker minus giver in test Dice over all runs, paired by seed.
    """

    cost: Cost
    kind: str
    giver: pd.DataFrame
    taker: pd.DataFrame
    names: tuple[str, str]
    budget: float
    taken: float
    least: float
    contended: tuple[bool, bool]
    difference: Estimate


def search_budgets(runs: pd.DataFrame) -> list[Within]:
    """Find, for every cost, the best of each rival within what the other's best one costs; best by validation score.

    `runs` are of one data set and machine. Where a rival ran with several kinds of memory, its best is sought within
    each kind that both have.
    """
    used, sides = select_contenders(runs), find_sides(runs)
    found = []
    for cost in COSTS:
        known = used[used[cost.column].notna()]
        kinds = known["peak_memory_kind"].fillna("") if cost is MEMORY else pd.Series("", index=known.index)
        for kind, group in known.groupby(kinds):
            arms = {name: _select_side(group, name) for name in sides}
            if all(len(arm) for arm in arms.values()):
                found += [_within(cost, str(kind), arms, giver) for giver in sides]
    return found


def _within(cost: Cost, kind: str, arms: dict[str, pd.DataFrame], giver: str) -> Within:
    [taker] = [name for name in arms if name != giver]
    given = _best(arms[giver])
    budget = float(select_costed(given, cost)[cost.column].mean())
    costs = arms[taker][cost.column].where(arms[taker].index.isin(select_costed(arms[taker], cost).index))
    means = costs.groupby([arms[taker][name] for name in CONFIGURATION], dropna=False).transform("mean")
    taken = _best(arms[taker][means <= TOLERANCE * budget])
    takes = float(means.loc[taken.index].mean())
    names = tuple(_label(side, arms[side]) for side in (taker, giver))
    contended = [_has_contended(select_costed(side, cost), cost) for side in (taken, given)]
    return Within(
        cost=cost,
        kind=kind,
        giver=given,
        taker=taken,
        names=(names[0], names[1]),
        budget=budget / cost.scale,
        taken=takes / cost.scale,
        least=float(means.min()) / cost.scale,
        contended=(contended[0], contended[1]),
        difference=_difference(taken, given),
    )


def _select_side(runs: pd.DataFrame, pipeline: str) -> pd.DataFrame:
    """The runs of a pipeline's own network at any resolution; those of its other varieties where it did not run."""
    plain = runs[runs["arm"].map(find_network) == pipeline]
    return runs[runs["pipeline"] == pipeline] if plain.empty else plain


def _label(pipeline: str, runs: pd.DataFrame) -> str:
    return label_pipeline(pipeline, is_volume(runs.iloc[0].to_dict()))


def _best(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the configuration with the highest validation score; of equals the first by name."""
    groups = [group for _, group in runs.groupby(CONFIGURATION, dropna=False, sort=True)]
    scores = [average_validation_score(group) for group in groups]
    if not scores or np.isnan(scores).all():
        return runs.iloc[:0]
    return groups[int(np.nanargmax(scores))]


def _difference(taken: pd.DataFrame, given: pd.DataFrame) -> Estimate:
    """Test Dice of one configuration minus another's over the seeds that both have; NaN if they have none."""
    ours, theirs = (runs.groupby("seed")["dice"].mean() for runs in (taken, given))
    differences: NDArray[np.float64] = (ours - theirs).dropna().to_numpy(np.float64)
    if len(differences) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    return estimate_paired_difference(differences.reshape(-1, 1))


def select_like_peaks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without those that ran elsewhere and whose kind of memory no run measured here has."""
    external = runs["pipeline"].isin(external_arms())
    return runs[~external | runs["peak_memory_kind"].isin(runs[~external]["peak_memory_kind"].dropna())]


def list_families(found: pd.DataFrame) -> list[str]:
    """Return the families of arms among some points in the order of `bench.arms.ARMS`, others after them by name."""
    return sorted(sorted(set(found["arm"].map(find_family))), key=rank_arm)


# --------------------------------------------------------------------------------------------------------- one table


def make_frontier(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every configuration's points for every cost, with `cost_name`, `unit` and a `mark`.

    The mark is a letter for those that their own arm does not beat at some cost, by which figures and texts call them;
    empty for the others. Empty if there are too few configurations (`explain_too_few`).
    """
    if explain_too_few(runs):
        return pd.DataFrame()
    found = pd.concat([make_points(runs, cost).assign(cost_name=cost.name, unit=cost.unit) for cost in COSTS])
    found = found.reset_index(drop=True)
    names = found[CONFIGURATION].assign(rank=found["arm"].map(_rank), size=found["superpixel_size"].fillna(0.0))
    keys = list(names[["rank", "arm", "size"]].itertuples(index=False, name=None))
    best = sorted({key for key, kept in zip(keys, found["on_own_front"], strict=True) if kept})
    marks = {key: _letters(number) for number, key in enumerate(best)}
    return found.assign(mark=[marks.get(key, "") for key in keys])


def _letters(number: int) -> str:
    """0: a, 25: z, 26: aa, as spreadsheets count."""
    head, last = divmod(number, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + last)
