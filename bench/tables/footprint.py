"""Memory over time: the area under a run's memory while it trains, and while it predicts, in GiB s."""

import io
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.config import InputError
from bench.tables.columns import TRAINING_STAGES
from bench.tables.folders import find_run_file
from bench.tables.units import GIB

COVERED = 0.8  # of the stages' seconds, at least, must be stood for by samples for a trace to be believed
TRACE, PRODUCT = "area under the samples", "peak x time"
_READINGS = {"gpu_process": "gpu_process_bytes", "cpu_rss": "rss_bytes", "cpu_rss_tree": "rss_tree_bytes"}
_PREDICTION = ("prepare", "predict")


def load_trace(path: Path) -> pd.DataFrame:
    """Read a `memory_trace.csv`.

    Returns:
        `seconds` since the meter was opened, `stage` and `split` (empty between stages), and byte columns.

    Raises:
        InputError: It is missing, cannot be read, is cut off, lacks one of these columns, or holds words where numbers
            belong.
    """
    if not path.exists():
        raise InputError(f"{path.parent.name} kept no memory_trace.csv")
    try:
        content = path.read_bytes()
        trace = pd.read_csv(io.BytesIO(content))
    except (ValueError, OSError) as error:
        raise InputError(f"{path.name} of {path.parent.name} cannot be read ({error})") from error
    if not content.endswith(b"\n"):
        raise InputError(f"{path.name} of {path.parent.name} is cut off: its last row does not end")
    if not {"seconds", "stage"} <= set(trace) or set(trace).isdisjoint(_READINGS.values()) or len(trace) < 2:
        raise InputError(f"{path.name} of {path.parent.name} holds no samples with seconds, stages and bytes")
    for column in trace.columns.drop(["stage", "split"], errors="ignore"):
        if not pd.api.types.is_numeric_dtype(trace[column]):
            raise InputError(f"{path.name} of {path.parent.name} holds words under {column}, where numbers belong")
    return trace


def measure_footprints(runs: pd.DataFrame, stages: pd.DataFrame, folders: Sequence[Path]) -> pd.DataFrame:
    """Measure memory over time of some runs, all in one way, so that they may be compared.

    The way is the area under the samples if every run's trace covers the stages, else the product of peak and time,
    which is larger. Training and prediction are judged apart.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        stages: The table `stages`.
        folders: Results folders in which run directories may lie.

    Returns:
        One row per run: run_id, training_gib_s, predict_gib_s_per_mpx, both with superpixels included and NaN where
        not measured, and how each was found: training_source and predict_source, `TRACE` or `PRODUCT`.
    """
    areas = pd.DataFrame([_areas(run, folders) for run in runs.to_dict("records")], columns=["training", "predict"])
    rows = _products(runs, stages)
    traced = {name: bool(areas[name].notna().all()) for name in areas}
    if traced["training"]:
        rows["training_gib_s"] = areas["training"]
    if traced["predict"]:
        rows["predict_gib_s_per_mpx"] = areas["predict"] / rows["megapixels"]
    sources = {f"{name}_source": TRACE if found else PRODUCT for name, found in traced.items()}
    return rows.assign(**sources).drop(columns="megapixels")


def _areas(run: Mapping[Hashable, Any], folders: Sequence[Path]) -> dict[str, float]:
    """GiB s under a run's samples; NaN where they do not cover what was measured."""
    unknown = {"training": np.nan, "predict": np.nan}
    try:
        trace = (
            load_trace(find_run_file(folders, str(run["run_id"]), "memory_trace.csv")) if folders else pd.DataFrame()
        )
    except InputError:
        return unknown
    column = _READINGS.get(str(run["peak_memory_kind"]), "")
    if column not in trace or "split" not in trace:
        return unknown
    test = trace["split"] == "test"
    training, predict = (trace["stage"].isin(names) for names in (TRAINING_STAGES, _PREDICTION))
    predicted = run["predict_s_per_mpx"] * run["test_megapixels"]
    return {
        "training": integrate_memory(trace[column], trace["seconds"], training & ~test, run["train_s"]),
        "predict": integrate_memory(trace[column], trace["seconds"], predict & test, predicted),
    }


def integrate_memory(
    memory: "pd.Series[float]", seconds: "pd.Series[float]", within: "pd.Series[bool]", measured: float
) -> float:
    """Return the area under samples within some stages: their mean memory times the seconds that the stages took.

    A sample stands for the time half-way to its neighbours, so that stages shorter than the time between two samples
    count by chance and without bias.

    Args:
        memory: Bytes at each sample.
        seconds: When each was taken, ascending.
        within: Whether it lies in one of the stages.
        measured: Seconds that the stages took.

    Returns:
        GiB s; NaN where the samples stand for less than `COVERED` of the measured seconds, or for more than all of
        them by as much.
    """
    known = memory.notna()
    values, times = (part[known].to_numpy(np.float64) for part in (memory, seconds))
    inside = within[known].to_numpy(np.bool_)
    if not inside.any():
        return float("nan")
    bounds = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, times[-1:]])
    weights = np.diff(bounds)[inside]
    if not COVERED <= weights.sum() / measured <= 1 / COVERED:
        return float("nan")
    return float(np.average(values[inside], weights=weights) * measured / GIB)


def _products(runs: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """Peak times seconds of each run, by the rows' order, and the megapixels of its test images."""
    test = stages[(stages["split"] == "test") & stages["stage"].isin(_PREDICTION)]
    known = test["peak_memory_bytes"] if "peak_memory_bytes" in test else pd.Series(np.nan, test.index)
    by_run = test.assign(peak=pd.to_numeric(known, errors="coerce")).groupby("run_id")["peak"].max()
    peaks = by_run.reindex(runs["run_id"]).to_numpy(np.float64)
    training = pd.to_numeric(runs["peak_memory_bytes"], errors="coerce").to_numpy(np.float64)
    return pd.DataFrame({
        "run_id": runs["run_id"].to_numpy(),
        "training_gib_s": training * runs["train_s"].to_numpy(np.float64) / GIB,
        "predict_gib_s_per_mpx": peaks * runs["predict_s_per_mpx"].to_numpy(np.float64) / GIB,
        "megapixels": runs["test_megapixels"].to_numpy(np.float64),
    })  # fmt: skip
