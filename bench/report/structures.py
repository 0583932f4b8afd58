"""The part of a report on thin structures: where superpixels lose them, and how each method holds them together."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.report.parts import ReportPart
from bench.tables.names import format_extent, is_volume
from bench.tables.structures import BLOCKS, KEPT, LOST, list_losses, tabulate_structures
from bench.tables.text import name_for_readers

MOST_CLASSES = 4  # that are shown, those whose centre lines are found least
_MEANING = (
    "clDice is the Dice of centre lines (Shit et al. 2021), which tells how well thin structures hold together; "
    "components are the predicted connected ones over the true ones, above 1 for fragments, below 1 for merged or lost "
    "objects. In brackets the same of the true mask as the method's superpixels, or blocks of pixels, can show it."
)


def make_structures_part(runs: pd.DataFrame, scores: pd.DataFrame) -> ReportPart | None:
    """Make the part; None where no image was small enough to compare centre lines, or no class is but the background.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        scores: The table of scores.
    """
    table = tabulate_structures(runs, scores)
    if table.empty:
        return None
    run = runs.iloc[0].to_dict()
    sentences = [_describe_loss(row, run) for row in list_losses(table).to_dict("records")]
    worst = table.groupby("class")["cl_dice"].max().sort_values(kind="stable").index[:MOST_CLASSES]
    rows = tuple(
        (
            str(row["class"]),
            name_for_readers(row),
            f"{row['runs']}",
            _pair(row, "cl_dice", "{:.3f}"),
            _pair(row, "component_ratio", "{:.3g}"),
        )
        for row in table[table["class"].isin(worst)].to_dict("records")
    )
    headings = ("class", "configuration", "runs", "clDice", "components, predicted over true")
    return ReportPart("Thin structures and fragments", (*sentences, _MEANING), headings, rows)


def _describe_loss(row: Mapping[Any, Any], run: Mapping[Any, Any]) -> str:
    """Say of one class what superpixels of a size, or the blocks of a lower resolution, lose; `run` has the axes."""
    ratio, name, size, volume = row["oracle_component_ratio"], row["class"], row["superpixel_size"], is_volume(run)
    reach = format_extent(size, volume, run.get("dataset.pixel_lengths"))
    painter = (
        f"The {name_for_readers(dict(row))} sees blocks of pixels, which"
        if row["what"] == BLOCKS
        else f"Superpixels of {size:g} {'voxels' if volume else 'pixels'}{reach}"
    )
    losses = [f"lose thin parts of {name}"] if row["oracle_cl_dice"] < LOST else []
    losses += [f"tear {name} apart"] if ratio > KEPT[1] else []
    losses += [f"merge or lose objects of {name}"] if ratio < KEPT[0] else []
    return (
        f"{painter} {' and '.join(losses)}: painted by majorities, the true mask has a clDice of "
        f"{row['oracle_cl_dice']:.3f} and {ratio:.3g} times as many connected components."
    )


def _pair(row: Mapping[Any, Any], measure: str, form: str) -> str:
    """Write a measure, and in brackets that of the ceiling where there is one."""
    value, ceiling = row[measure], row[f"oracle_{measure}"]
    shown = "" if pd.isna(value) else form.format(value)
    return shown if pd.isna(ceiling) else f"{shown} ({form.format(ceiling)})".strip()
