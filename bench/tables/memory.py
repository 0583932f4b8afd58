"""Peak memory of training and of prediction by run: of the whole process, and net of what was loaded before."""

import pandas as pd

from bench.tables.columns import TRAINING_STAGES

ALLOCATED = "allocated on the GPU"
RESIDENT = "resident above what was loaded before"
WITH_WORKERS = "resident above what was loaded before, worker processes included"
_TREE = "cpu_rss_tree"  # the kind of peak of a run whose worker processes count


def measure_memory(stages: pd.DataFrame) -> pd.DataFrame:
    """Return the peaks of training and of prediction of each run, each with the preparation of its images.

    Net is the peak of the allocator on a GPU; without one what was resident, by worker processes too, above the least
    with which a stage of training began.

    Args:
        stages: The table `stages`.

    Returns:
        A row per run: run_id, memory_kind, training_bytes, training_net_bytes, prediction_bytes, prediction_net_bytes,
        net_kind.
    """
    columns = (
        *("peak_memory_bytes", "gpu_allocated_peak_bytes", "peak_rss_bytes", "peak_rss_tree_bytes"),
        "rss_start_bytes",
    )
    known = {name: pd.to_numeric(stages[name], errors="coerce") for name in columns if name in stages}
    rows = stages[["run_id", "stage", "split"]].assign(**known).reindex(columns=["run_id", "stage", "split", *columns])
    tree = stages.get("peak_memory_kind", pd.Series("", index=stages.index)).eq(_TREE)
    rows["resident"] = rows["peak_rss_tree_bytes"].where(tree & rows["peak_rss_tree_bytes"].notna(), rows[columns[2]])
    rows = rows.assign(memory_kind=stages.get("peak_memory_kind"), tree=tree)
    by_run, test = rows.groupby("run_id"), rows["split"] == "test"
    loaded = rows[~test].groupby("run_id")["rss_start_bytes"].min()
    phases = {
        "training": rows["stage"].isin(TRAINING_STAGES) & ~test,
        "prediction": rows["stage"].isin(("prepare", "predict")) & test,
    }
    found = {"memory_kind": by_run["memory_kind"].first()}
    kind = by_run["tree"].any().map({True: WITH_WORKERS, False: RESIDENT})
    for name, within in phases.items():
        peaks = rows[within].groupby("run_id")[["peak_memory_bytes", "gpu_allocated_peak_bytes", "resident"]].max()
        allocated = peaks["gpu_allocated_peak_bytes"]
        found[f"{name}_bytes"] = peaks["peak_memory_bytes"]
        found[f"{name}_net_bytes"] = allocated.fillna(peaks["resident"] - loaded.reindex(peaks.index))
        if name == "training":
            kind = kind.mask(allocated.notna().reindex(kind.index, fill_value=False), ALLOCATED)
    return pd.DataFrame(found).assign(net_kind=kind).rename_axis("run_id").reset_index()
