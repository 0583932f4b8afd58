"""The comparison as text: the cells that are printed, in the terminal and in reports."""

import math
import re
import textwrap
from typing import Any

import pandas as pd

from bench.config import FEWEST_TEST_IMAGES
from bench.tables.breakeven import Crossing
from bench.tables.decomposition import LevelLoss
from bench.tables.names import format_extent, name_arm
from bench.tables.units import MIB

COLUMNS = {  # heading -> (column, format, what it means)
    "arm": ("arm", "{}", "the pipeline, and where it ran in several ways its settings other than the defaults"),
    "dice": (
        "dice",
        "{:.3f}",
        "macro Dice over the classes, pooled over the test images, mean over n seeds [least, greatest]",
    ),
    "px": ("superpixel_size", "{:g}", "pixels per superpixel asked for, an area"),
    "n": ("seeds", "{:.0f}", "seeds counted"),
    "acc.": ("accuracy", "{:.3f}", "share of test pixels given their true class"),
    "bnd F1": ("boundary_f1", "{:.3f}", "boundary F1, macro, pooled over the test images"),
    "ceiling": ("oracle_dice", "{:.3f}", "Dice of the majority labelling of these superpixels"),
    "nodes": ("num_nodes", "{:.0f}", "superpixels obtained, of all segmentations of a test image, mean"),
    "prep s": ("prepare_s", "seconds", "seconds to build superpixels and graphs (or tiles) of train and val"),
    "train s": ("train_s", "seconds", "seconds of the whole training: prep, init, warm-up, steps, validation"),
    "s/Mpx": (
        "predict_s_per_mpx",
        "seconds",
        "seconds to predict a megapixel of the test images, superpixels included",
    ),
    "MiB": ("peak_memory_mib", "{:.0f}", "peak memory in training, MiB, of the kind named with the table"),
    "param.": ("parameters_text", "{}", "learned numbers"),
}
WIDTH = 120  # columns of a terminal
_NOTES = """\
dice, acc., bnd F1: macro, pooled over the test images, mean over n seeds [least, greatest]; px: pixels per superpixel,
{size}; ceiling: dice of majority labels of the superpixels; prep s, train s: superpixels included, train contains \
prep; s/Mpx: prediction of a megapixel, superpixels included; MiB: peak memory in training"""


def explain_column(heading: str, volumes: bool) -> str:
    """Return what a column means, in a table of images or of volumes."""
    text = COLUMNS[heading][2]
    return f"pixels per superpixel asked for, {_explain_size(volumes)}" if heading == "px" else text


def _explain_size(volumes: bool) -> str:
    """Return what a number of pixels per superpixel is, as in `an area: 30 are about 5 x 5`."""
    extent = format_extent(30, volumes).strip(" ()")
    return f"a volume: 30 are {extent} where voxels are cubes" if volumes else f"an area: 30 are {extent}"


def format_table(frame: pd.DataFrame) -> str:
    """Return the comparison as plain text of at most 120 columns: one block per data set and machine."""
    groups = frame.groupby(["dataset", "machine"], dropna=False)
    blocks = [_block(str(dataset), str(machine), group) for (dataset, machine), group in groups]
    if not blocks:
        return "No run has finished yet."
    sizes = " and ".join(map(_explain_size, sorted(set(frame["spatial_axes"] == 3))))
    return "\n\n".join([*blocks, textwrap.fill(_NOTES.format(size=sizes), WIDTH)])


def _block(dataset: str, machine: str, group: pd.DataFrame) -> str:
    rows = group.to_dict("records")
    cells = [display_row(row) for row in rows]
    table = [list(cells[0]), *[list(row.values()) for row in cells]]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    gap = "  " if sum(widths) + 2 * len(widths) <= WIDTH + 2 else " "
    widths[0] = min(widths[0], max(14, WIDTH - sum(widths[1:]) - len(gap) * len(widths[1:])))
    notes = [*list_oddities(rows), *(f"! {remark}" for remark in warn_of_few_images(rows))]
    lines = [gap.join(_align(cell, widths[i], i) for i, cell in enumerate(row)) for row in table]
    title = f"{dataset}   {machine or 'unknown machine'}   peak memory: {list_memory_kinds(group)}"
    return "\n".join(line[:WIDTH].rstrip() for line in [title, *lines, *notes])


def list_oddities(rows: list[dict[Any, Any]]) -> list[str]:
    """Return a line for each row that has runs which failed, were left out or had company."""
    odd = [row for row in rows if not re.fullmatch(r"\d+ ok", row["statuses"])]
    return [f"! {row['statuses']}: {name_row(row)}" for row in odd]


def warn_of_few_images(rows: list[dict[Any, Any]]) -> list[str]:
    """Return a line where the test split is too small for its scores to say anything of other images."""
    images = max((row["test_images"] for row in rows if not pd.isna(row["test_images"])), default=math.nan)
    if not images < FEWEST_TEST_IMAGES:
        return []
    number = f"{images:.0f} test image{'s'[: images != 1]}"
    few = f"{number}: scores say little about other images"
    return [f"{few}; {FEWEST_TEST_IMAGES} are the fewest for a verdict on the score"]


def name_row(row: dict[Any, Any]) -> str:
    """Return a configuration as the table has it: the arm, and its superpixel size."""
    size = row["superpixel_size"]
    return str(row["arm"]) if pd.isna(size) else f"{row['arm']} at {size:g} px"


def name_for_readers(row: dict[Any, Any]) -> str:
    """Return a configuration by the arm's name for readers, and its superpixel size."""
    return name_row(row | {"arm": name_arm(str(row["arm"]))})


def list_memory_kinds(frame: pd.DataFrame) -> str:
    """Return the kinds of peak memory in some rows, as words."""
    return ", ".join(sorted(frame["peak_memory_kind"].dropna().unique())) or "not measured"


def _align(cell: str, width: int, column: int) -> str:
    if len(cell) > width:
        cell = cell[: width - 1] + "…"
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def make_arms_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison with the columns that are printed, under their printed names, numbers in full.

    `px` is empty for an arm without superpixels, `runs` counts runs by how they ended.
    """
    columns = {heading: column for heading, (column, _, _) in COLUMNS.items()}
    columns |= {"param.": "parameters", "runs": "statuses"}
    whole = frame.assign(peak_memory_mib=frame["peak_memory_bytes"] / MIB) if len(frame) else frame
    named = {"dataset": "dataset", "machine": "machine"} | columns
    return pd.DataFrame({heading: whole[column] for heading, column in named.items() if column in whole})


def display_row(row: dict[Any, Any]) -> dict[str, str]:
    """Return one row of the comparison as the texts that are printed, by heading; empty where not measured."""
    row = {
        **row,
        "peak_memory_mib": row["peak_memory_bytes"] / MIB,
        "parameters_text": _count(row["parameters"]),
    }
    cells = {
        heading: "" if pd.isna(row[column]) else _format(row[column], form)
        for heading, (column, form, _) in COLUMNS.items()
    }
    return cells | {"dice": _with_range(row)}


def _format(value: Any, form: str) -> str:
    if form != "seconds":
        return form.format(value)
    return "<0.01" if 0 < value < 0.01 else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def format_seconds(value: float) -> str:
    """Return seconds with three digits and no powers of ten."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _count(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.1f}k" if value >= 1e3 else f"{value:.0f}"


def _with_range(row: dict[Any, Any]) -> str:
    if math.isnan(row["dice"]):
        return ""
    if row["seeds"] < 2:
        return f"{row['dice']:.3f}"
    low, high = (f"{row[column]:.3f}".removeprefix("0") for column in ("dice_low", "dice_high"))
    return f"{row['dice']:.3f} [{low}, {high}]"


def format_outcome(crossing: Crossing) -> str:
    """Return a crossing in words, from the GNN's side, with its interval where runs were redrawn."""
    if crossing.outcome in ("always", "never"):
        share = "" if not crossing.share < 0.995 else f" ({crossing.share:.0%} of redrawn runs)"
        return f"the GNN {crossing.outcome} takes less time{share}"
    low, x, high = (_format_crossing(value, crossing) for value in (crossing.low, crossing.x, crossing.high))
    interval = "" if math.isnan(crossing.low) or low == high else f" [{low}, {high}]"
    if crossing.outcome == "up to":
        return f"the GNN takes less time up to {x}{interval}"
    return f"the GNN takes less time from {'the first' if x == '1' else x} on{interval}"


def _format_crossing(value: float, crossing: Crossing) -> str:
    """Three digits, of whole numbers the first one on the GNN's side; in words what an end at 0 or infinity means."""
    if value in (0, math.inf):
        return "always" if (value == 0) == (crossing.outcome == "from") else "never"
    if math.isnan(value) or not crossing.quantity.whole:
        return f"{value:.3g}"
    return f"{math.ceil(value) if crossing.outcome == 'from' else math.floor(value)}"


def format_points(step: LevelLoss) -> str:
    """Return a loss in points of Dice as a change, with its interval."""
    estimate = step.points
    interval = f" [{-estimate.high:+.1f}, {-estimate.low:+.1f}]" if estimate.has_interval else ""
    return f"{-estimate.value:+.1f} points{interval}"
