"""What a report says, gathered from the tables once, for both ways of writing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.plots.all import split_groups, split_points
from bench.plots.style import KINDS, Plotted
from bench.report.parts import ReportPart, make_answers
from bench.report.scale import Study, make_scale_parts
from bench.report.speed import make_speed_parts
from bench.report.structures import make_structures_part
from bench.report.verdict import Verdict, reach_verdict
from bench.report.words import count
from bench.tables.collect import Tables, select_current
from bench.tables.comparison import list_configurations, summarize_arms
from bench.tables.frontier import MEMORY, TRAINING, explain_too_few, select_contenders, select_costed, select_like_peaks
from bench.tables.names import is_volume
from bench.tables.scale import is_scale, make_scale_points
from bench.tables.statistics import pareto_membership
from bench.tables.text import COLUMNS, display_row, list_memory_kinds, name_for_readers, name_row, warn_of_few_images

_COMPARED = ("score_vs", "learning_curves")


@dataclass(frozen=True)
class Row:
    """One row of the comparison: what is printed, and what a column sorts by, both by heading."""

    cells: dict[str, str]
    keys: dict[str, float | str]


@dataclass(frozen=True)
class Section:
    """One data set on one machine."""

    verdict: Verdict
    memory_kinds: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]  # that belong beside the table
    front: tuple[str, ...]
    pictures: tuple[Plotted, ...]  # test images
    compared: tuple[Plotted, ...]  # the figures of the comparison
    answers: tuple[ReportPart, ...]  # time to the same score, frontier, break-even ...
    ends: tuple[ReportPart, ...]  # what did not run, what is flagged, machine
    not_drawn: str  # one sentence; empty where all was drawn
    commands: tuple[str, ...]
    runs: pd.DataFrame

    @property
    def volumes(self) -> bool:
        """Whether the images have three spatial axes."""
        return is_volume(self.runs.iloc[0].to_dict())


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
    studies: tuple[Study, ...]  # of cost against size
    sections: tuple[Section, ...]
    unfinished: tuple[tuple[str, str], ...]


def gather(title: str, tables: Tables, plotted: Sequence[Plotted], folders: Sequence[Path] = ()) -> Report:
    """Gather one section per data set and machine: they are never averaged over.

    Args:
        title: Of the report.
        tables: All tables.
        plotted: All figures, drawn or not.
        folders: Results folders in which run directories may lie, for what only these hold.
    """
    runs = list_configurations(tables)
    frame = summarize_arms(runs)
    sections = tuple(
        _section(group, heading, frame, tables, [figure for figure in plotted if figure.group == suffix], folders)
        for group, suffix, heading in split_groups(runs)
    )
    studies = _studies(runs, tables, plotted)
    return Report(title, studies, sections, tuple((item.directory, item.why) for item in tables.unfinished))


def _studies(runs: pd.DataFrame, tables: Tables, plotted: Sequence[Plotted]) -> tuple[Study, ...]:
    """What was measured against the size of an image, of each data set and machine."""
    found = []
    for points, suffix, heading in split_points(make_scale_points(runs, tables.stages, tables.history)):
        used = runs[is_scale(runs) & runs["run_id"].isin(points["run_id"])]
        figures = [figure for figure in plotted if figure.group == suffix]
        parts = (*make_scale_parts(points, find_memory(used), figures), *_ends(used, tables))
        found.append(Study(f"{heading}: cost against size", parts, describe_not_drawn(figures)))
    return tuple(found)


def find_memory(runs: pd.DataFrame) -> float:
    """Return the bytes of memory that runs of one machine had: of its GPU where they were on it; NaN if not known."""
    on_gpu = runs["peak_memory_kind"].fillna("").str.startswith("gpu").any()
    column = "machine.gpu_memory_bytes" if on_gpu else "machine.memory_bytes"
    known = pd.to_numeric(runs[column], errors="coerce").dropna() if column in runs else pd.Series(dtype="float64")
    return float(known.min())


def _section(
    runs: pd.DataFrame,
    heading: str,
    frame: pd.DataFrame,
    tables: Tables,
    figures: Sequence[Plotted],
    folders: Sequence[Path],
) -> Section:
    dataset, machine = runs["dataset"].iloc[0], runs["machine"].iloc[0]
    drawn = [figure for figure in figures if figure.png is not None]
    rows = frame[(frame["dataset"] == dataset) & (frame["machine"] == machine)]
    structures = [part for part in [make_structures_part(runs, tables.scores)] if part is not None]
    return Section(
        reach_verdict(heading, runs, tables.scores, tables.history),
        "; ".join(f"{kind} ({KINDS.get(kind, kind)})" for kind in list_memory_kinds(rows).split(", ")),
        tuple(_row(row) for row in rows.to_dict("records")),
        tuple(warn_of_few_images(rows.to_dict("records"))),
        describe_front(runs) if explain_too_few(runs) else (),  # else the table of the frontier says it
        tuple(figure for figure in drawn if figure.name.startswith("panels")),
        tuple(figure for figure in drawn if figure.name.startswith(_COMPARED)),
        (*make_speed_parts(runs, tables, drawn, folders), *make_answers(runs, tables, figures), *structures),
        _ends(runs, tables),
        describe_not_drawn(figures),
        tuple(dict.fromkeys(runs.sort_values("started")["command"].dropna())) if "command" in runs else (),
        runs,
    )


def _row(row: dict[Any, Any]) -> Row:
    cells = display_row(row) | {"runs": str(row["statuses"])}
    keys: dict[str, float | str] = {
        "runs": float(row["runs"]),
        "MiB": row["peak_memory_bytes"],
        "param.": row["parameters"],
    }
    for heading, (column, _, _) in COLUMNS.items():
        keys.setdefault(heading, row.get(column, ""))
    return Row(cells, {heading: "" if pd.isna(key) else key for heading, key in keys.items()})


def describe_front(runs: pd.DataFrame) -> tuple[str, ...]:
    """Return how often each configuration is on the front of Dice against memory and against training time.

    Runs are drawn anew with replacement; what is there in neither all nor none of the draws was run too few times. A
    configuration all of whose runs shared the machine says so beside its time.
    """
    found = []
    for cost, name in ((MEMORY, "peak memory"), (TRAINING, "training time")):
        used = select_contenders(runs)
        learned = select_like_peaks(used) if cost is MEMORY else used
        if cost is MEMORY and len(set(learned["peak_memory_kind"].dropna())) > 1:
            continue
        known = select_costed(learned, cost)
        configurations_of = list(known.groupby(["arm", "superpixel_size"], dropna=False))
        if len(configurations_of) < 2:  # of one alone it says nothing
            continue
        members = pareto_membership(
            [group[cost.column].to_numpy(np.float64) for _, group in configurations_of],
            [group["dice"].to_numpy(np.float64) for _, group in configurations_of],
        )
        names = [
            name_for_readers({"arm": arm, "superpixel_size": size})
            + f" ({{share}}, {count(len(group), 'run')}"
            + (", shared machine)" if cost is TRAINING and group["contended"].any() else ")")
            for (arm, size), group in configurations_of
        ]
        shares = sorted(zip(-members, names, strict=True))
        listed = ", ".join(text.format(share=f"{-share:.0%}") for share, text in shares if -share >= 0.05)
        found.append(f"On the front of Dice against {name} (share of redrawn runs): {listed}.")
    return tuple(found)


def _ends(runs: pd.DataFrame, tables: Tables) -> tuple[ReportPart, ...]:
    """What every report closes with, as far as there is something to say."""
    replaced = len(tables.runs) - len(select_current(tables.runs))
    earlier = (
        f"{replaced} earlier runs of the same settings, code and data in this folder were run again: the newest counts."
    )
    parts = (
        ReportPart("What did not run", headings=("run", "status", "why"), rows=list_failures(runs)),
        ReportPart("Flagged runs", headings=("run", "what is said of it"), rows=list_flagged(runs)),
        ReportPart("Machine and versions", (earlier,) if replaced else (), ("fact", "value"), list_machine_facts(runs)),
    )
    return tuple(part for part in parts if part.rows)


def describe_not_drawn(figures: Sequence[Plotted]) -> str:
    """Return one sentence that names the figures that lack their data, by reason; empty where none does."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if figure.skipped:
            found.setdefault(figure.skipped, []).append(figure.kind)
    reasons = [f"{', '.join(kinds)} ({why})" for why, kinds in found.items()]
    return f"Not drawn: {'; '.join(reasons)}." if reasons else ""


def list_machine_facts(runs: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Return machine and versions; a fact that is not the same in all runs shows all its values."""
    columns = [str(column) for column in runs if str(column).startswith("machine.")]
    facts = [(column.removeprefix("machine."), _values(runs[column])) for column in columns]
    facts.append(("code version (commit)", _values(runs["git_commit"])))
    facts.append(("share of a run that is not measured", describe_harness_share(runs)))
    return tuple((name, value) for name, value in facts if value)


def _values(column: "pd.Series[Any]") -> str:
    return "; ".join(sorted({_value(value) for value in column.dropna()}))


def _value(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def describe_harness_share(runs: pd.DataFrame) -> str:
    """Return what the harness itself takes of a run's time: interpreter, libraries, loading, scoring, writing."""
    columns = ("harness_seconds", "process_seconds")
    if any(column not in runs for column in columns):
        return ""
    harness, whole = (pd.to_numeric(runs[column], errors="coerce") for column in columns)
    shares = (harness / whole)[whole > 0].dropna()
    if shares.empty:
        return ""
    return (
        f"{shares.median():.0%} (median of {len(shares)} runs, {shares.min():.0%} to {shares.max():.0%}; "
        f"{harness.median():.3g} s): interpreter, libraries, loading, scoring, writing"
    )


def list_failures(runs: pd.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Return every run that did not end well: what it was, how it ended, why."""
    failed = runs[runs["status"] != "ok"].to_dict("records")
    return tuple((_run_name(run), str(run["status"]), _join_values(run, "reason", "flags")) for run in failed)


def list_flagged(runs: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Return every finished run with flags, and all of them."""
    odd = runs[(runs["status"] == "ok") & runs["flags"].fillna("").ne("")].to_dict("records")
    return tuple((_run_name(run), _join_values(run, "flags")) for run in odd)


def _run_name(run: dict[Any, Any]) -> str:
    return f"{name_row(run)}, seed {run['seed']} ({run['run_id']})"


def _join_values(run: dict[Any, Any], *columns: str) -> str:
    return "; ".join(str(run[column]) for column in columns if not pd.isna(run[column]) and run[column])
