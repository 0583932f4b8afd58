"""The part of a report on speed at equal score and on memory over time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.plots.style import Plotted
from bench.report.parts import ReportPart
from bench.report.scorecard import FEWEST_SEEDS
from bench.report.words import join_list
from bench.tables import speed
from bench.tables.chosen import choose_configurations, find_sides
from bench.tables.collect import Tables
from bench.tables.footprint import PRODUCT, measure_footprints
from bench.tables.names import name_configuration
from bench.tables.statistics import Estimate
from bench.tables.text import format_seconds

MOST = 8  # rows of the table, and the targets that matter
APART = 0.0005  # two targets closer than that are one row


def make_speed_parts(
    runs: pd.DataFrame, tables: Tables, figures: Sequence[Plotted], folders: Sequence[Path]
) -> tuple[ReportPart, ...]:
    """Return what `runs` of one data set and machine say of time at equal score and of memory over time.

    Args:
        runs: Rows of `list_configurations`.
        tables: All tables.
        figures: The figures that were drawn.
        folders: Results folders in which run directories may lie.
    """
    chosen = choose_configurations(runs)
    stand_ins = {name: chosen[name] for name in find_sides(runs) if name in chosen}
    if len(stand_ins) < 2:
        return ()
    curves, traces = (tuple(f for f in figures if f.name.startswith(k)) for k in ("time_to_score", "memory_trace"))
    memory = _memory_part(stand_ins, tables, folders, traces)
    return tuple(part for part in (_time_part(runs, stand_ins, tables.history, curves), memory) if part is not None)


def _time_part(
    runs: pd.DataFrame, stand_ins: dict[str, pd.DataFrame], history: pd.DataFrame, figures: tuple[Plotted, ...]
) -> ReportPart:
    methods = [speed.select_method(runs, side.iloc[0]) for side in stand_ins.values()]
    ours, theirs = stand_ins.values()
    matter = speed.find_targets(ours, theirs, history)
    marks = dict(zip(map(float, matter), ("converged", "-1 point", "-2 points"), strict=True))
    between = [score for score in speed.make_grid(methods, history, MOST) if not (abs(score - matter) < APART).any()]
    targets = np.array(sorted([*(score for score in marks if score == score), *between], reverse=True))
    first, second = (speed.reach(method, history, targets) for method in methods)
    shown = [targets.tolist(), _cells(first), _cells(second), _ratios(first, second, ours["seed"])]
    rows = tuple((f"{target:.3f}", marks.get(target, ""), *cells) for target, *cells in zip(*shown, strict=True))
    names = [name_configuration(method.iloc[0].to_dict()) for method in methods]
    sentences = (
        "Seconds, superpixels included, to the first validation at a score: the least over all fits of that method, "
        "each with the budget it was planned for. Medians over seeds with 95 % intervals; empty where a seed never "
        "came there. In the second column the targets that matter: what the lower of the two reached when it had "
        "converged, and one and two points less. * marks times of runs that shared the machine. The interval of a "
        "ratio allows for the time between two validations, within which a score was reached.",
    )
    return ReportPart("Time to the same score", sentences, ("validation Dice", "", *names, "ratio"), rows, figures)


def _cells(reached: speed.Reached) -> list[str]:
    marks = ["*" if any(row) else "" for row in reached.contended]
    return [_with_interval(middle) + mark for middle, mark in zip(reached.median(), marks, strict=True)]


def _with_interval(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return ""
    value, low, high = (format_seconds(number) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} s" + (f" [{low}, {high}]" if estimate.has_interval else "")


def _ratios(first: speed.Reached, second: speed.Reached, seeds: Iterable[int]) -> list[str]:
    """The second's time over the first's at each target, over the seeds compared; empty where one never came there."""
    ours, theirs, _ = speed.select_common(first, second, seeds, FEWEST_SEEDS)
    found = [speed.estimate_time_ratio(ours, theirs, target) for target in range(len(ours.targets))]
    return ["" if np.isnan(estimate.value) else _ratio(estimate) for estimate in found]


def _ratio(estimate: Estimate) -> str:
    return f"{estimate.value:.3g}" + (f" [{estimate.low:.3g}, {estimate.high:.3g}]" if estimate.has_interval else "")


# ------------------------------------------------------------------------------------------------- memory over time


def _memory_part(
    stand_ins: dict[str, pd.DataFrame], tables: Tables, folders: Sequence[Path], figures: tuple[Plotted, ...]
) -> ReportPart | None:
    """The figure alone where peaks were not measured, or are of several kinds; nothing without both."""
    runs = pd.concat(list(stand_ins.values()))
    found = measure_footprints(runs, tables.stages, folders).set_index("run_id")
    if found["training_gib_s"].isna().any() or len(set(runs["peak_memory_kind"])) != 1:
        return ReportPart("Memory over time", figures=figures) if figures else None
    rows = tuple(_footprint_row(side, found) for side in stand_ins.values())
    sources = {name: str(found[f"{name}_source"].iloc[0]) for name in ("training", "predict")}
    larger = f" ({PRODUCT} is more than the area would be)" if PRODUCT in sources.values() else ""
    numbers = join_list(str(len(side)) for side in stand_ins.values())
    sentence = (
        f"What is occupied and for how long, gross ({runs['peak_memory_kind'].iloc[0]}), superpixels included: the "
        f"area under memory over time{larger}. Means over {numbers} runs."
    )
    headings = (
        "configuration",
        f"training, GiB s ({sources['training']})",
        f"prediction, GiB s per megapixel ({sources['predict']})",
    )
    return ReportPart("Memory over time", (sentence,), headings, rows, figures)


def _footprint_row(runs: pd.DataFrame, found: pd.DataFrame) -> tuple[str, ...]:
    means = found.loc[runs["run_id"], ["training_gib_s", "predict_gib_s_per_mpx"]].mean()
    cells = ["" if np.isnan(mean) else f"{mean:.3g}" for mean in means]
    return name_configuration(runs.iloc[0].to_dict()), *cells
