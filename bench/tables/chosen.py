"""Which configuration stands for each arm: chosen on validation images, never on test images."""

import pandas as pd

from bench.tables.comparison import counted


def best_configuration(runs: pd.DataFrame) -> pd.DataFrame:
    """The counted runs of the configuration with the highest mean validation Dice; the larger superpixels on ties.

    `runs` are rows of `configurations` of one pipeline, data set and machine. `val_dice` where scored, else the
    score that picked the checkpoint. Empty if nothing counts.
    """
    used = counted(runs)
    if used.empty:
        return used
    best_val = pd.to_numeric(used["best_val_score"], errors="coerce")
    score = used["val_dice"].fillna(best_val).groupby([used["arm"], used["superpixel_size"]], dropna=False).mean()
    ranked = score.rename("score").reset_index().sort_values(["score", "superpixel_size"], na_position="first")
    best = ranked.iloc[-1]
    of_arm = used.loc[used["arm"] == str(best["arm"])]
    return of_arm.loc[same_size(of_arm["superpixel_size"], float(best["superpixel_size"]))]


def same_size(sizes: "pd.Series[float]", size: float) -> "pd.Series[bool]":
    """Where a superpixel size is the given one; NaN (a pixel arm) equals NaN."""
    return sizes.isna() if pd.isna(size) else sizes == size


def chosen(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs that stand for each pipeline of one data set and machine, by pipeline.

    The controls that share superpixels with the GNN (`superpixel_mlp`, `oracle`) are taken at the GNN's superpixel
    size where they were run at it, because only there they say what the graph adds and what the ceiling is.
    """
    found = {}
    for pipeline, group in runs.groupby("pipeline"):
        best = best_configuration(group)
        if not best.empty:
            found[str(pipeline)] = best
    gnn = found.get("superpixel_gnn")
    for control in {"superpixel_mlp", "oracle"} & set(found):
        if gnn is not None:
            group = runs[runs["pipeline"] == control]
            alike = best_configuration(group[same_size(group["superpixel_size"], gnn["superpixel_size"].iloc[0])])
            found[control] = found[control] if alike.empty else alike
    return found
