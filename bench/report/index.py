"""`python -m bench index results_dir=results`: one page that lists results folders with what each of them shows."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath

import pandas as pd

from bench.config import InputError, require
from bench.files import write_atomically
from bench.plots.all import split_groups
from bench.report.page import render_page
from bench.report.scorecard import Line
from bench.report.verdict import Verdict, reach_verdict
from bench.report.words import count, join_list
from bench.tables.comparison import list_configurations
from bench.tables.folders import read_folder

NAME = "index.html"
REPORTS = ("report.html", "report.md")  # the first that is there is linked
DEPTH = 4  # levels of folders that are looked through
HIDDEN = (".", "superseded")  # how names of folders begin that hold no results to be read


@dataclass
class IndexConfig:
    """Settings of `python -m bench index`."""

    results_dir: str = "results"  # a folder that holds results folders, at any depth, or several, separated by commas
    output: str | None = None  # page to be made; null: index.html in the folder, of several in the one around them all

    def __post_init__(self) -> None:
        require(self.results_dir != "", "say which folder: results_dir=FOLDER or results_dir=FOLDER,FOLDER")
        require(
            self.output is None or self.output.endswith((".html", ".htm")),
            f"output must be a page, such as {NAME}, got {self.output}",
        )


@dataclass(frozen=True)
class Entry:
    """A results folder as the page lists it.

    Attributes:
        folder: The folder.
        started: Day of the first and of the last run, as one text; empty where there is none.
        commits: Versions of the code that the runs come from.
        runs: Runs in the tables.
        verdicts: One for each data set and machine.
        problem: Why nothing can be said of it; empty where something can.
    """

    folder: Path
    started: str = ""
    commits: tuple[str, ...] = ()
    runs: int = 0
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""


def main(settings: IndexConfig) -> int:
    """Write the page and print where it is. Returns the exit code. Raises InputError."""
    folders = find_results_folders([Path(part) for part in settings.results_dir.split(",") if part])
    page = Path(settings.output) if settings.output else choose_place(settings.results_dir) / NAME
    require(page.parent.is_dir(), f"{page.parent} is not a folder: make it first")
    entries = [read_entry(folder) for folder in folders]
    try:
        write_atomically(page, render_index(entries, page.parent))
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror}") from error
    print(f"{page}: {count(len(entries), 'results folder')}")
    for entry in entries:
        if entry.problem:
            print(f"{entry.folder}: {entry.problem}")
    return 0


def choose_place(results_dir: str) -> Path:
    """Return the folder that was given, or the one around several."""
    parts = [part for part in results_dir.split(",") if part]
    return Path(parts[0]) if len(parts) == 1 else Path(os.path.commonpath([Path(part).resolve() for part in parts]))


def find_results_folders(places: Sequence[Path]) -> list[Path]:
    """Return the results folders among folders and below them, each once, by name.

    Raises:
        InputError: A place is no folder, or there is no results folder at all.
    """
    for place in places:
        require(place.is_dir(), f"results_dir {place} is not a folder")
    found = {folder.resolve(): folder for place in places for folder in _walk(place, DEPTH)}
    named = ", ".join(map(str, places))
    require(len(found) > 0, f"{named} holds no results folder, one with runs/ or tables/runs.csv: make some runs first")
    return sorted(found.values())


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """The folder itself, where it holds results; else those below it."""
    if (folder / "runs").is_dir() or (folder / "tables" / "runs.csv").is_file():
        yield folder
    elif depth:
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.is_symlink() and not below.name.startswith(HIDDEN):
                yield from _walk(below, depth - 1)


def read_entry(folder: Path) -> Entry:
    """Read a results folder, without writing to it, and reach its verdicts."""
    try:
        tables = read_folder(folder)
    except InputError as error:
        return Entry(folder, problem=f"cannot be read: {error}")
    if tables.runs.empty:
        return Entry(folder, problem="no run has finished")
    runs = list_configurations(tables)
    verdicts = [
        reach_verdict(heading, group, tables.scores, tables.history) for group, _, heading in split_groups(runs)
    ]
    commits = tuple(sorted(str(commit) for commit in runs["git_commit"].dropna().unique()))
    return Entry(folder, describe_days(runs["started"]), commits, len(tables.runs), tuple(verdicts))


def describe_days(started: "pd.Series[str]") -> str:
    """Return the days on which the first and the last run started, once where they are the same."""
    days = sorted(str(value)[:10] for value in started.dropna())
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


# ------------------------------------------------------------------------------------------------------------- page


def render_index(entries: Sequence[Entry], place: Path) -> str:
    """Return the page; `place` is the folder in which it will lie, from which its links lead to the reports."""
    return render_page("Results", [f"<h1>Results</h1>\n<p>{count(len(entries), 'results folder')}.</p>",
                                   *(_entry(entry, place) for entry in entries)])  # fmt: skip


def _entry(entry: Entry, place: Path) -> str:
    name = os.path.relpath(entry.folder.resolve(), place.resolve()).replace(os.sep, "/")
    report = next((report for report in REPORTS if (entry.folder / report).is_file()), None)
    shown = escape(entry.folder.resolve().name if name == "." else name)
    title = f'<a href="{escape(link_to(f"{name}/{report}"))}">{shown}</a>' if report else shown
    facts = [count(entry.runs, "run"), entry.started, _commits(entry.commits)] if entry.runs else []
    parts = [f"<section>\n<h2>{title}</h2>", f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>"]
    parts += [_verdict(verdict) for verdict in entry.verdicts]
    rest = entry.problem or ("" if entry.verdicts else "cost against size: the report says what it shows")
    parts += [f"<p>{escape(rest)}</p>"] if rest else []
    if report is None and not entry.problem:
        command = f"python -m bench report results_dir={entry.folder}"
        parts.append(f"<p>It has no report yet: <code>{escape(command)}</code></p>")
    return "\n".join(part for part in parts if part != "<p></p>") + "\n</section>"


def _commits(commits: Sequence[str]) -> str:
    return f"commit{'s'[: len(commits) > 1]} {join_list(commits)}" if commits else ""


def _verdict(verdict: Verdict) -> str:
    """The data set, the first sentence, and the scorecard in a row."""
    answers = [(line.title, shorten(line)) for line in verdict.lines]
    cells = "".join(f"<div><dt>{escape(title)}</dt><dd>{escape(answer)}</dd></div>" for title, answer in answers)
    row = f'<dl class="row">{cells}</dl>' if cells else ""
    first = f'<div class="verdict"><p><strong>{escape(verdict.first)}</strong></p>{row}</div>'
    return f"<h3>{escape(verdict.heading)}</h3>\n{first}"


def shorten(line: Line) -> str:
    """Return the answer of a line of the scorecard in a few words."""
    return line.short or ("no clear difference" if line.unclear else "not answered")


def link_to(path: str) -> str:
    """Return a relative path with `/` as a link: what means something in an address is escaped."""
    return PurePosixPath(f"/{path}").as_uri().removeprefix("file:///")
