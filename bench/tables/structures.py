"""How thin structures hold together: clDice and connected components of each method, and of its ceiling."""

import pandas as pd

from bench.tables.comparison import rank_arm
from bench.tables.convergence import select_counted, select_trained

MEASURES = ("cl_dice", "component_ratio", "oracle_cl_dice", "oracle_component_ratio")
LOST = 0.9  # of a ceiling's clDice: below it, centre lines are lost before anything was learned
KEPT = (0.8, 1.25)  # a ceiling's components over the true ones; outside they are merged and lost, or torn apart
SUPERPIXELS, BLOCKS = "superpixels", "blocks"  # what a ceiling is of


def tabulate_structures(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Tabulate clDice and components of the test images by method and class, means over the runs that count.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        scores: The table of scores.

    Returns:
        A row per arm, superpixel size and class other than the background, in the order of the arms: arm, pipeline,
        superpixel_size, class, runs and `MEASURES`, NaN where an arm has no ceiling; empty where nothing was compared.
    """
    trained = select_trained(runs)
    wanted = scores[(scores["split"] == "test") & (scores["image"] == "all") & scores["metric"].isin(MEASURES)]
    used = select_counted(runs) if trained.empty else trained
    wanted = wanted[(wanted["class"] != "macro") & wanted["run_id"].isin(used["run_id"])]
    found = wanted.pivot_table(index=["run_id", "class"], columns="metric", values="value").reindex(columns=[*MEASURES])
    keys = ["arm", "pipeline", "superpixel_size", "class"]
    found = (
        found.dropna(subset=["cl_dice", "component_ratio"], how="all")
        .reset_index()
        .merge(used[["run_id", *keys[:-1]]], on="run_id")
    )
    if found.empty:
        return found.assign(runs=0)
    grouped = found.groupby(keys, dropna=False)
    table = grouped[[*MEASURES]].mean().assign(runs=grouped.size()).reset_index()
    ranks = table["arm"].map(rank_arm)
    return table.assign(rank=ranks).sort_values(["class", "rank", "arm", "superpixel_size"]).drop(columns="rank")


def list_losses(table: pd.DataFrame) -> pd.DataFrame:
    """List where the true mask, painted by majorities, loses thin structures.

    Args:
        table: As `tabulate_structures` returns it.

    Returns:
        A row per thing that paints and class: `what` (`SUPERPIXELS` or `BLOCKS`, of a lower resolution), `arm` (the
        first that has them), superpixel_size, class, oracle_cl_dice, oracle_component_ratio.
    """
    columns = ["what", "arm", "superpixel_size", "class", "oracle_cl_dice", "oracle_component_ratio"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    ratio = table["oracle_component_ratio"]
    lost = table[(table["oracle_cl_dice"] < LOST) | (ratio < KEPT[0]) | (ratio > KEPT[1])]
    lost = lost.assign(what=lost["superpixel_size"].isna().map({True: BLOCKS, False: SUPERPIXELS}))
    painters = lost["superpixel_size"].where(lost["what"] == SUPERPIXELS, lost["arm"])
    return lost.assign(painter=painters).drop_duplicates(["what", "painter", "class"])[columns]
