"""Memory over time within one run, its stages shaded, from the samples that the meter kept."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.arms import contending_arms
from bench.config import InputError
from bench.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Annotated,
    NoDataError,
    make_figure,
)
from bench.tables.chosen import choose_shown
from bench.tables.comparison import rank_arm
from bench.tables.folders import find_run_file
from bench.tables.footprint import load_trace
from bench.tables.names import find_family, name_arm
from bench.tables.units import MIB

_STAGES = {
    "prepare": SKY, "init": YELLOW, "warmup": PURPLE, "train": ORANGE, "validate": GREEN, "predict": GREY,
    "inspect": BLUE, "fork": VERMILION,
}  # fmt: skip
_LINES = {  # column -> label, colour, line
    "gpu_process_bytes": ("GPU, process", VERMILION, "-"),
    "gpu_used_bytes": ("GPU, whole device", VERMILION, ":"),
    "rss_tree_bytes": ("resident, process and children", BLACK, ":"),
    "rss_bytes": ("resident, process", BLACK, "-"),
}


def draw_kept_traces(folders: Sequence[Path], runs: pd.DataFrame) -> Annotated:
    """Draw the trace of each learning arm's chosen configuration; the note says which files cannot be drawn.

    Args:
        folders: Results folders in which run directories may lie, at least one.
        runs: Rows of `list_configurations` of one data set and machine.

    Returns:
        The figure, of the least seed of each arm whose trace can be read.

    Raises:
        NoDataError: No arm has such a run.
    """
    found: dict[str, pd.DataFrame] = {}
    unread: list[str] = []
    for pipeline, group in sorted(choose_shown(runs).items(), key=lambda item: rank_arm(item[0])):
        if pipeline.split(" ")[0] not in contending_arms():
            continue
        trace = _load_first(folders, group.sort_values("seed"), unread)
        if trace is not None:
            found[name_arm(find_family(str(group["arm"].iloc[0])))] = trace
    if not found:
        raise NoDataError(unread[0] if unread else "no learning arm has a finished run")
    return Annotated(plot_memory_trace(found), f"Left out: {'; '.join(unread)}." if unread else "")


def _load_first(folders: Sequence[Path], runs: pd.DataFrame, unread: list[str]) -> pd.DataFrame | None:
    """Return the trace of the first run whose file can be read; `unread` receives why those before it cannot."""
    for run_id in map(str, runs["run_id"]):
        try:
            return load_trace(find_run_file(folders, run_id, "memory_trace.csv"))
        except InputError as error:
            unread.append(str(error))
    return None


def plot_memory_trace(traces: dict[str, pd.DataFrame]) -> Figure:
    """Draw one panel per arm, each with a time axis of its own; memory on one scale."""
    figure, first = make_figure(7.0, 0.9 + 1.9 * len(traces))
    first.remove()
    panels = figure.subplots(len(traces), 1, squeeze=False, sharey=True)[:, 0]
    highest = max(float(trace[column].max()) for trace in traces.values() for column in _LINES if column in trace) / MIB
    for axes, (title, trace) in zip(panels, traces.items(), strict=True):
        _shade(axes, trace)
        _lines(axes, trace)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set(ylabel="MiB", xlim=(0, trace["seconds"].iloc[-1]))
        axes.set_ylim(0, 1.08 * highest)
    panels[-1].set_xlabel("seconds since the meter started")
    _legend(figure)
    return figure


def _lines(axes: Axes, trace: pd.DataFrame) -> None:
    for column, (label, color, line) in _LINES.items():
        if column in trace and trace[column].notna().any():
            known = trace[trace[column].notna()]
            axes.plot(known["seconds"], known[column] / MIB, line, color=color, linewidth=1.1, label=label)


def _shade(axes: Axes, trace: pd.DataFrame) -> None:
    """One coloured span per uninterrupted stage."""
    stage = trace["stage"].fillna("")
    seconds = trace["seconds"]
    starts = [0, *(i for i in range(1, len(stage)) if stage.iloc[i] != stage.iloc[i - 1]), len(stage) - 1]
    for start, end in pairwise(starts):
        name = str(stage.iloc[start])
        if name in _STAGES and end > start:
            color = _STAGES[name]
            axes.axvspan(seconds.iloc[start], seconds.iloc[end], color=color, alpha=0.3, linewidth=0, label=name)


def _legend(figure: Figure) -> None:
    """Every line and stage once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True)) | found
    columns = min(5, max(1, len(found)))
    figure.legend(handles=list(found.values()), labels=list(found), loc="outside upper center", ncols=columns)
