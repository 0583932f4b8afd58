"""Where the accuracy goes between the pixel network and a classifier of superpixels, and whether edges matter."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arms import ARMS, RIVALS, ceiling_arms, edgeless_arms
from bench.config import IDLE_FLIPS, InputError
from bench.tables.chosen import choose_best, choose_configurations, find_sides
from bench.tables.convergence import select_converged, select_trained
from bench.tables.names import is_volume, label_pipeline
from bench.tables.statistics import Estimate, mean_interval

GRAPH = ARMS[RIVALS[0]].label
EDGELESS = ARMS[edgeless_arms()[0]].label


def _explain_steps(pixels: str) -> dict[tuple[str, str], tuple[str, str]]:
    """What the difference from one level to the next is due to, and how it is seen, for the label of a pixel arm."""
    voted = f"{pixels} voted"
    return {
        (pixels, voted): ("superpixels", f"the {pixels}'s own mask, voted onto the superpixels"),
        (voted, GRAPH): ("model", f"same superpixels, the {GRAPH}'s labels instead of the {pixels}'s votes"),
        (pixels, GRAPH): (
            "superpixels and model",
            f"not told apart: the {pixels}'s mask was not voted onto these superpixels",
        ),
        (GRAPH, EDGELESS): ("missing context", "the same network without edges"),
    }


@dataclass(frozen=True)
class LevelLoss:
    """A loss in points of Dice from one level to the next.

    The interval is over seeds and there only if both levels have the same ones; `seeds` counts those in common.
    """

    name: str
    meaning: str
    points: Estimate
    seeds: int


@dataclass(frozen=True)
class Decomposition:
    """Levels of test Dice by falling expectation, and the steps between them.

    `levels` holds one number per run. `ceiling` is the ceiling arm's Dice on the same superpixels, `size` their
    pixels asked for, `colours` the colour of the arm of each level. On volumes the first two levels are called after
    the tiled network that stands for them.
    """

    size: float
    ceiling: float
    levels: dict[str, NDArray[np.float64]]
    steps: tuple[LevelLoss, ...]
    colours: dict[str, str]


def decompose(runs: pd.DataFrame) -> Decomposition:
    """Split the difference between the pixel network and the network without edges into steps.

    Args:
        runs: Rows of `list_configurations` of one data set and machine; the GNN is the one that did best on validation
            images.

    Raises:
        InputError: The pixel network, or ceiling and network without edges on the very superpixels of that GNN, did not
            run.
    """
    found, sides = choose_configurations(runs), find_sides(runs)
    absent = [name for name in sides if name not in found]
    if absent:
        raise InputError(f"there is no valid run of {' and '.join(absent)} that converged")
    gnn, cnn = (found[name] for name in sides)
    alike = select_converged(runs)[_same_superpixels(select_converged(runs), gnn.iloc[0])]
    edgeless, ceiling_arm = edgeless_arms()[0], ceiling_arms()[0]
    controls = {name: choose_best(alike[alike["pipeline"] == name]) for name in (edgeless, ceiling_arm)}
    absent = [name for name, rows in controls.items() if rows.empty]
    if absent:
        raise InputError(f"{' and '.join(absent)} did not run on the superpixels of the chosen GNN")
    pixels = label_pipeline(sides[1], is_volume(cnn.iloc[0].to_dict()))
    levels = _pixel_levels(cnn, gnn.iloc[0], pixels) | {
        GRAPH: gnn.set_index("seed")["dice"],
        EDGELESS: controls[edgeless].set_index("seed")["dice"],
    }
    names = list(levels)
    steps = tuple(_step(a, b, levels, _explain_steps(pixels)[a, b]) for a, b in pairwise(names))
    ceiling = float(controls[ceiling_arm]["dice"].mean())
    values = {name: np.asarray(level.to_numpy(), np.float64) for name, level in levels.items()}
    arms = {GRAPH: ARMS[sides[0]], EDGELESS: ARMS[edgeless]}
    colours = {name: arms.get(name, ARMS[sides[1]]).colour for name in names}
    return Decomposition(float(gnn["superpixel_size"].iloc[0]), ceiling, values, steps, colours)


def _same_superpixels(runs: pd.DataFrame, run: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which runs have every superpixel setting of one run, or had their mask voted onto such superpixels."""
    same = pd.Series(True, index=runs.index)
    for column in [str(column) for column in runs if str(column).startswith("superpixels.")]:
        voted = column.replace("superpixels.", "voted.")
        own = runs[column].where(runs[column].notna(), runs[voted]) if voted in runs else runs[column]
        same &= own.isna() if pd.isna(run[column]) else own == run[column]
    return same


def _pixel_levels(cnn: pd.DataFrame, gnn: "pd.Series[Any]", pixels: str) -> dict[str, "pd.Series[float]"]:
    """The pixel network's score, and that of its mask voted onto the GNN's superpixels where a run has one."""
    voted = cnn[_same_superpixels(cnn, gnn) & cnn["voted_dice"].notna()]
    if voted.empty:
        return {pixels: cnn.set_index("seed")["dice"]}
    by_seed = voted.set_index("seed")
    return {pixels: by_seed["dice"], f"{pixels} voted": by_seed["voted_dice"]}


def _step(above: str, below: str, levels: dict[str, "pd.Series[float]"], words: tuple[str, str]) -> LevelLoss:
    """Difference of the means, so that the steps add up; with an interval where both have the same seeds, as pairs."""
    upper, lower = (levels[name].groupby(level=0).mean() for name in (above, below))
    value = 100 * float(levels[above].mean() - levels[below].mean())
    common = set(upper.index) & set(lower.index)
    if not common == set(upper.index) == set(lower.index):
        return LevelLoss(*words, Estimate(value, math.nan, math.nan), len(common))
    return LevelLoss(*words, mean_interval(100 * (upper - lower)), len(common))


# ------------------------------------------------------------------------------------------------ edge ablation


def tabulate_edge_ablation(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per graph configuration whose runs say what their edges did; empty if none does.

    Columns: arm, superpixel_size, runs; message_share, of the messages' mass that does not come from the node itself;
    flip_share, of the pixels of the validation images whose class changes when the edges are removed: means, with the
    least and greatest.
    """
    columns = {"edge_message_share": "message_share", "edge_flip_share": "flip_share"}
    used = select_trained(runs).reindex(columns=[*runs.columns, *(name for name in columns if name not in runs)])
    used = used.assign(**{name: pd.to_numeric(used[name], errors="coerce") for name in columns})
    used = used[used[list(columns)].notna().any(axis=1)]
    rows = []
    for (arm, size), group in used.groupby(["arm", "superpixel_size"], dropna=False):
        row: dict[str, object] = {"arm": arm, "superpixel_size": size, "runs": len(group)}
        for column, name in columns.items():
            values = group[column]
            row |= {name: values.mean(), f"{name}_low": values.min(), f"{name}_high": values.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def list_idle_configurations(ablation: pd.DataFrame) -> list[tuple[str, float]]:
    """Return arm and superpixel size of each configuration whose edges do nothing: hardly a label needs them."""
    if ablation.empty:
        return []
    idle = ablation[ablation["flip_share"] < IDLE_FLIPS]
    return [(str(arm), float(size)) for arm, size in zip(idle["arm"], idle["superpixel_size"], strict=True)]
