"""Cost against the size of an image: the points of `experiment=scale`, each a measured run, and what follows of them.

Sizes grow along two axes. With more field the objects keep their size and there are more of them; with more
magnification the same field has more pixels, and its objects and superpixels grow with them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.arms import RIVALS
from bench.config import InputError
from bench.tables import speed
from bench.tables.comparison import uses_superpixels
from bench.tables.convergence import read_number
from bench.tables.memory import measure_memory
from bench.tables.memory_law import MemoryLaw, fit_memory_law
from bench.tables.names import format_size, name_arm
from bench.tables.units import GIB

EXPERIMENT = "scale"
FIELD, MAGNIFICATION = "more field", "more magnification"
AXES = (FIELD, MAGNIFICATION)
LIMITS = (2, 4, 8, 16, 24)  # GiB
UNTILED, TILED, REDUCED = "untiled", "in tiles", "at reduced resolution"
RATES = ("prepare_s_per_mpx", "predict_s_per_mpx", "predict_only_s_per_mpx", "train_s")
NUMBERS = (
    "megapixels", "magnification", "superpixel_size", "nodes", "dice", "val_score", *RATES, "seconds_to_equal",
    "training_bytes", "training_net_bytes", "prediction_bytes", "prediction_net_bytes", "peak_bytes",
)  # fmt: skip
SIZES = NUMBERS[:4]  # known of a run that failed, too
COLUMNS = ["dataset", "machine", "axis", "line", "pipeline", "status", *NUMBERS, "memory_kind", "contended", "run_id"]
INVALID = "invalid"  # instead of the status of a run whose numbers may not be shown


def is_scale(runs: pd.DataFrame) -> "pd.Series[bool]":
    """Return which runs are points of cost against size: they are no runs of one comparison."""
    if "experiment" not in runs:
        return pd.Series(False, index=runs.index)
    return runs["experiment"] == EXPERIMENT


def make_scale_points(runs: pd.DataFrame, stages: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run of the experiment and axis that it lies on, by axis, line and size.

    A run that failed has its status, size and line, and no numbers, and so has one that is flagged invalid. The
    smallest image lies on both axes where it is the field that the other one magnifies.

    Args:
        runs: Rows of `list_configurations`.
        stages: The table `stages`.
        history: The table `history`.

    Returns:
        `COLUMNS`: megapixels of an image; superpixel_size at magnification 1; nodes of an image; seconds to prepare a
        megapixel to learn from, and to predict one of a test image (predict_s_per_mpx includes all that is made of it,
        predict_only_s_per_mpx what follows the superpixels); seconds_to_equal, superpixels included,
        to the lower of the best validation scores of both rivals at that size; peaks in bytes of training and of
        prediction, whole and above what was loaded before (net), and peak_bytes, the larger of the two whole ones;
        contended, whether the run shared the machine, so that its times are too long.
    """
    used = runs[is_scale(runs)]
    if used.empty:
        return pd.DataFrame(columns=COLUMNS)
    points = pd.DataFrame([_point(run) for run in used.to_dict("records")])
    points = points.merge(measure_memory(stages), on="run_id", how="left")
    points["peak_bytes"] = points[["training_bytes", "prediction_bytes"]].max(axis=1)
    measured = [name for name in NUMBERS if name in points and name not in SIZES]
    points.loc[points["status"] == INVALID, measured] = np.nan
    points = pd.concat([points[_is_on(points, axis)].assign(axis=axis) for axis in AXES])
    points["seconds_to_equal"] = _find_equal_times(points, used, history)
    order = ["dataset", "machine", "axis", "line", "megapixels"]
    return points.sort_values(order, kind="stable").reset_index(drop=True).reindex(columns=COLUMNS)


def _point(run: Mapping[Any, Any]) -> dict[str, Any]:
    """What a run says of itself."""
    times = read_number(run, "dataset.magnification", 1.0)
    images = read_number(run, "dataset.images_test", 1.0)
    size = (
        read_number(run, "superpixels.superpixel_size") / times**2 if uses_superpixels(str(run["pipeline"])) else np.nan
    )
    pixels = read_number(run, "dataset.pixels_test") / images
    return {
        "run_id": run["run_id"],
        "dataset": str(run["dataset"]).split(" ")[0],
        "machine": run["machine"],
        "pipeline": run["pipeline"],
        "line": _name_line(run, size, pixels),
        "status": INVALID if run["status"] == "ok" and run["invalid"] else run["status"],
        "contended": bool(run["contended"]),
        "megapixels": pixels / 1e6,
        "magnification": times,
        "superpixel_size": size,
        "nodes": read_number(run, "num_nodes") / read_number(run, "superpixels.views", 1.0),  # of one segmentation
        "dice": read_number(run, "dice"),
        "val_score": read_number(run, "val_score"),
        **{name: read_number(run, name) for name in RATES},
    }


def _name_line(run: Mapping[Any, Any], size: float, pixels: float) -> str:
    """The name of the curve that a run belongs to: the arm, and which of its kinds."""
    name = name_arm(str(run["pipeline"]))
    if run["pipeline"] != RIVALS[1]:
        return name + format_size(size)
    if read_number(run, "pipeline.scale", 1.0) > 1:
        return f"{name} {REDUCED}"
    return f"{name} {UNTILED if read_number(run, 'pipeline.crop_size') ** 2 >= pixels else TILED}"


def _is_on(points: pd.DataFrame, axis: str) -> "pd.Series[bool]":
    """Which points lie on an axis: those of magnification 1 on both, if magnified ones show that field."""
    plain = points["magnification"] == 1
    if axis == FIELD:
        return plain
    fields = set((points["megapixels"] / points["magnification"] ** 2)[~plain].round(9))
    return ~plain | points["megapixels"].round(9).isin(fields)


def _find_equal_times(points: pd.DataFrame, runs: pd.DataFrame, history: pd.DataFrame) -> list[float]:
    """For each point the seconds to the score that both rivals reached at its size; NaN where it never did."""
    by_id = {str(run_id): group for run_id, group in runs.groupby("run_id")}
    found = dict.fromkeys(range(len(points)), np.nan)
    rows = points.reset_index(drop=True)
    for _, group in rows.groupby(["dataset", "machine", "axis", "megapixels"]):
        best = group[group["line"].str.contains(TILED) | (group["pipeline"] == RIVALS[0])]
        scores = best.groupby("pipeline")["val_score"].max()
        if len(scores.dropna()) < len(RIVALS):
            continue
        target = np.array([scores.min()])
        for index, run_id in group["run_id"][group["status"] == "ok"].items():
            reached = speed.reach(by_id[str(run_id)], history, target)
            found[int(str(index))] = float(reached.seconds.min())
    return list(found.values())


# ------------------------------------------------------------------------------------------------------ what fits


@dataclass(frozen=True)
class Fit:
    """How large an image of a line may be within some memory, as far as runs show it.

    Attributes:
        limit: GiB.
        largest: Megapixels of the largest measured image that fits; NaN where none does.
        too_large: Megapixels of the smallest measured one that does not; NaN where all do.
    """

    limit: float
    largest: float
    too_large: float


def find_fits(points: pd.DataFrame) -> list[Fit]:
    """Find for each of `LIMITS` what fits, of the points of one line and axis. A run out of memory fits nowhere."""
    kept = points[(points["status"] == "ok") & points["peak_bytes"].notna()]
    gone = points[points["status"].isin(("out_of_memory", "oom_suspected", "host_oom"))]
    found = []
    for limit in LIMITS:
        fits = kept["peak_bytes"] <= limit * GIB
        too_large = pd.concat([kept["megapixels"][~fits], gone["megapixels"]]).min()
        below = kept["megapixels"][fits]
        if not pd.isna(too_large):
            below = below[below < too_large]
        found.append(Fit(limit, float(below.max()), float(too_large)))
    return found


# -------------------------------------------------------------------------------------------------- laws of memory


@dataclass(frozen=True)
class LineLaw:
    """The law of one arm's memory in one phase, or why there is none; `size` is that of a line's superpixels."""

    dataset: str
    machine: str
    line: str
    phase: str
    kind: str
    size: float
    law: MemoryLaw | None
    reason: str


def fit_lines(points: pd.DataFrame) -> list[LineLaw]:
    """Fit a law to the peaks of training and of prediction for each arm, from all of its superpixel sizes and axes.

    Lines that share an arm and differ in the size of their superpixels share a law: that is what tells pixels from
    nodes. The U-Net's lines have laws of their own.
    """
    return [
        law
        for _, group in points.groupby(["dataset", "machine"])
        for phase in ("training", "prediction")
        for law in _fit_phase(group, phase)
    ]


def _fit_phase(points: pd.DataFrame, phase: str) -> Iterator[LineLaw]:
    graph = points["superpixel_size"].notna()
    family = points["pipeline"].where(graph, points["line"])
    for _, group in points.groupby(family):
        column = f"{phase}_bytes"
        used = group[(group["status"] == "ok") & group[column].notna()].drop_duplicates("run_id")
        law, reason = None, ""
        try:
            if len(set(used["memory_kind"])) > 1:
                raise InputError("the peaks are of several kinds, which follow no common law")
            law = fit_memory_law(
                (1e6 * used["megapixels"]).tolist(), used["nodes"].fillna(0).tolist(), used[column].tolist()
            )
        except InputError as error:
            reason = str(error)
        first = group.iloc[0]
        kind = str(used["memory_kind"].iloc[0]) if len(used) else ""
        for line, members in group.groupby("line"):
            size = float(members["superpixel_size"].iloc[0])
            yield LineLaw(first["dataset"], first["machine"], str(line), phase, kind, size, law, reason)


def tabulate_laws(laws: list[LineLaw]) -> pd.DataFrame:
    """Return the laws as a table: coefficients in bytes, error on sizes left out, or the reason why there is none."""
    rows = [
        {
            "dataset": one.dataset, "machine": one.machine, "line": one.line, "phase": one.phase,
            "memory_kind": one.kind, "superpixel_size": one.size,
            "constant_bytes": one.law.constant if one.law else np.nan,
            "bytes_per_pixel": one.law.per_pixel if one.law else np.nan,
            "bytes_per_node": one.law.per_node if one.law else np.nan,
            "held_out_error": one.law.error if one.law else np.nan,
            "largest_measured_mpx": max(one.law.sizes) / 1e6 if one.law else np.nan,
            "reason": one.reason,
        }
        for one in laws
    ]  # fmt: skip
    columns = ["dataset", "machine", "line", "phase", "memory_kind", "superpixel_size", "constant_bytes",
               "bytes_per_pixel", "bytes_per_node", "held_out_error", "largest_measured_mpx", "reason"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
