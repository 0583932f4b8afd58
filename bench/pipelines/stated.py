"""The costs of an arm that ran elsewhere, as its user states them in a CSV file."""

import csv
import io
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from bench.config import InputError, require, require_one_of
from bench.files import read_text
from bench.learning.fitlog import StatedCost

COLUMNS = ("stage", "seconds", "peak_memory_bytes", "peak_memory_kind")
STAGES = ("prepare", "train", "predict")
KINDS = ("gpu_process", "gpu_allocator", "cpu_rss", "cpu_rss_tree")  # those that `bench.measure.stages` writes


def read_costs(path: Path) -> tuple[StatedCost, ...]:
    """Read a file of costs: the columns `COLUMNS`, a row for each stage of which something is known.

    Args:
        path: The file. `prepare` and `train` are those of the training and validation images together, `predict` is
            that of all test images. An empty cell is what is not known.

    Returns:
        The rows in their order.

    Raises:
        InputError: The file cannot be read, a column is missing or unknown, a stage stands there twice, or a value is
            no positive number.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path)))
        rows, columns = list(reader), tuple(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"pipeline.costs = {path} cannot be read as CSV: {error}") from error
    require(
        sorted(columns) == sorted(COLUMNS),
        f"{path} has the columns {', '.join(columns) or 'of none'}: it must have {','.join(COLUMNS)}",
    )
    require(len(rows) > 0, f"{path} states no cost: give a row for one of the stages {', '.join(STAGES)}")
    costs = tuple(read_cost(row, f"{path}, line {line}") for line, row in enumerate(rows, start=2))
    for cost in costs:
        times = sum(other.stage == cost.stage for other in costs)
        require(times == 1, f"{path} states the stage {cost.stage} {times} times: give one row for it")
    return costs


def read_cost(row: Mapping[Any, Any], place: str) -> StatedCost:
    """Read one row.

    Args:
        row: Texts by column.
        place: File and line, for messages.

    Returns:
        The cost of a stage.

    Raises:
        InputError: A value cannot be used, or none is given.
    """
    require(
        None not in row and None not in row.values(),
        f"{place}: a row must have {len(COLUMNS)} values, {','.join(COLUMNS)}",
    )
    texts = {name: str(row[name]).strip() for name in COLUMNS}
    require_one_of(f"{place}: stage", texts["stage"], STAGES)
    seconds, peak = (read_positive(texts[name], f"{place}: {name}") for name in ("seconds", "peak_memory_bytes"))
    require(
        seconds is not None or peak is not None, f"{place}: give seconds or peak_memory_bytes, or leave the row out"
    )
    kind = texts["peak_memory_kind"] or None
    require(
        (peak is None) == (kind is None),
        f"{place}: peak_memory_bytes and peak_memory_kind ({', '.join(KINDS)}) belong together, got {peak} and {kind}",
    )
    if kind is not None:
        require_one_of(f"{place}: peak_memory_kind", kind, KINDS)
    return StatedCost(texts["stage"], seconds, None if peak is None else int(peak), kind)


def read_positive(text: str, place: str) -> float | None:
    """Return a positive number, None for an empty text. Raises `InputError` naming `place` for anything else."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    require(isfinite(value) and value > 0, f"{place} must be a positive number, or empty where not known, got {text!r}")
    return value
