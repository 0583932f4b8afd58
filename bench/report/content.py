"""What a report says, gathered from the tables once, for both ways of writing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.arms import contending_arms
from bench.plots.all import groups
from bench.plots.style import KINDS, Plotted
from bench.report.parts import Part, answers
from bench.report.speed import speed_parts
from bench.report.verdict import Verdict, verdict
from bench.tables.collect import Tables, current
from bench.tables.comparison import comparison, configurations
from bench.tables.convergence import trained
from bench.tables.frontier import too_few
from bench.tables.statistics import pareto_membership
from bench.tables.text import COLUMNS, display_row, few_images, memory_kinds, reader_name, row_name

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
    answers: tuple[Part, ...]  # time to the same score, frontier, break-even ...
    ends: tuple[Part, ...]  # what did not run, what is flagged, machine
    not_drawn: str  # one sentence; empty where all was drawn
    commands: tuple[str, ...]
    runs: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
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
    frame = comparison(tables)
    sections = tuple(
        _section(group, heading, frame, tables, [figure for figure in plotted if figure.group == suffix], folders)
        for group, suffix, heading in groups(configurations(tables))
    )
    return Report(title, sections, tuple((item.directory, item.why) for item in tables.unfinished))


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
    return Section(
        verdict(heading, runs, tables.scores, tables.history),
        "; ".join(f"{kind} ({KINDS.get(kind, kind)})" for kind in memory_kinds(rows).split(", ")),
        tuple(_row(row) for row in rows.to_dict("records")),
        tuple(few_images(rows.to_dict("records"))),
        front(runs) if too_few(runs) else (),  # else the table of the frontier says it
        tuple(figure for figure in drawn if figure.name.startswith("panels")),
        tuple(figure for figure in drawn if figure.name.startswith(_COMPARED)),
        (*speed_parts(runs, tables, drawn, folders), *answers(runs, tables, figures)),
        _ends(runs, tables),
        not_drawn(figures),
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


def front(runs: pd.DataFrame) -> tuple[str, ...]:
    """How often each learning configuration is on the front of Dice against memory and against training time.

    Runs are drawn anew with replacement; what is there in neither all nor none of the draws was run too few times.
    """
    found = []
    learned = trained(runs[runs["pipeline"].isin(contending_arms())])
    for column, cost in (("peak_memory_bytes", "peak memory"), ("train_s", "training time")):
        if column == "peak_memory_bytes" and len(set(learned["peak_memory_kind"].dropna())) > 1:
            continue
        known = learned[learned["dice"].notna() & learned[column].notna()]
        if known.empty:
            continue
        configurations_of = list(known.groupby(["arm", "superpixel_size"], dropna=False))
        members = pareto_membership(
            [group[column].to_numpy(np.float64) for _, group in configurations_of],
            [group["dice"].to_numpy(np.float64) for _, group in configurations_of],
        )
        names = [
            f"{reader_name({'arm': arm, 'superpixel_size': size})} ({{share}}, {len(group)} run{'s'[: len(group) > 1]})"
            for (arm, size), group in configurations_of
        ]
        shares = sorted(zip(-members, names, strict=True))
        listed = ", ".join(name.format(share=f"{-share:.0%}") for share, name in shares if -share >= 0.05)
        found.append(f"On the front of Dice against {cost} (share of redrawn runs): {listed}.")
    return tuple(found)


def _ends(runs: pd.DataFrame, tables: Tables) -> tuple[Part, ...]:
    """What every report closes with, as far as there is something to say."""
    replaced = len(tables.runs) - len(current(tables.runs))
    earlier = (
        f"{replaced} earlier runs of the same settings, code and data in this folder were run again: the newest counts."
    )
    parts = (
        Part("What did not run", headings=("run", "status", "why"), rows=failures(runs)),
        Part("Flagged runs", headings=("run", "what is said of it"), rows=flagged(runs)),
        Part("Machine and versions", (earlier,) if replaced else (), ("fact", "value"), machine_facts(runs)),
    )
    return tuple(part for part in parts if part.rows)


def not_drawn(figures: Sequence[Plotted]) -> str:
    """Return one sentence that names the figures that lack their data, by reason; empty where none does."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if figure.skipped:
            found.setdefault(figure.skipped, []).append(figure.kind)
    reasons = [f"{', '.join(kinds)} ({why})" for why, kinds in found.items()]
    return f"Not drawn: {'; '.join(reasons)}." if reasons else ""


def machine_facts(runs: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Machine and versions; a fact that is not the same in all runs shows all its values."""
    columns = [str(column) for column in runs if str(column).startswith("machine.")]
    facts = [(column.removeprefix("machine."), _values(runs[column])) for column in columns]
    facts.append(("code version (commit)", _values(runs["git_commit"])))
    facts.append(("share of a run that is not measured", harness_share(runs)))
    return tuple((name, value) for name, value in facts if value)


def _values(column: "pd.Series[Any]") -> str:
    return "; ".join(sorted({_value(value) for value in column.dropna()}))


def _value(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def harness_share(runs: pd.DataFrame) -> str:
    """What the harness itself takes of a run's time: interpreter, libraries, loading, scoring, writing."""
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


def failures(runs: pd.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Every run that did not end well: what it was, how it ended, why."""
    failed = runs[runs["status"] != "ok"].to_dict("records")
    return tuple((_run_name(run), str(run["status"]), _said(run, "reason", "flags")) for run in failed)


def flagged(runs: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Every finished run with flags, and all of them."""
    odd = runs[(runs["status"] == "ok") & runs["flags"].fillna("").ne("")].to_dict("records")
    return tuple((_run_name(run), _said(run, "flags")) for run in odd)


def _run_name(run: dict[Any, Any]) -> str:
    return f"{row_name(run)}, seed {run['seed']} ({run['run_id']})"


def _said(run: dict[Any, Any], *columns: str) -> str:
    return "; ".join(str(run[column]) for column in columns if not pd.isna(run[column]) and run[column])
