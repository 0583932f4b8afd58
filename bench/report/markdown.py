"""The report as Markdown for a repository; figures are links into `figures/`."""

import re
from collections.abc import Sequence

from bench.report.content import Report, Section
from bench.tables.text import COLUMNS


def render_markdown(report: Report) -> str:
    """The whole report."""
    parts = [f"# {escape(report.title)}", *(_section(section) for section in report.sections)]
    if report.unfinished:
        rows = [(f"runs/{directory}", why) for directory, why in report.unfinished]
        parts += ["## Run directories without a finished run", table(["directory", "why"], rows)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    verdict = section.verdict
    parts = [f"## {escape(verdict.heading)}", escape(" ".join(verdict.answer))]
    parts += [escape(" ".join(verdict.details))] if verdict.details else []
    parts += [bullets([*verdict.caveats, *section.front])] if section.front or verdict.caveats else []
    parts += [f"### Comparison (peak memory: {escape(section.memory_kinds)})", _comparison(section)]
    for figure in section.figures:
        if figure.png is not None:
            parts += [f"### {escape(figure.title)}", f"![{escape(figure.title)}](figures/{figure.png.name})"]
            parts.append(escape(figure.caption))
    skipped = [f"{figure.title}: {figure.skipped}" for figure in section.figures if figure.skipped]
    parts += ["### Figures that were not drawn", bullets(skipped)] if skipped else []
    if section.oddities:
        parts += ["### Runs that failed or carry a flag", table(["run", "status", "why"], section.oddities)]
    parts += ["### Machine and versions", table(["fact", "value"], section.machine)]
    parts += ["### Commands", "```sh\n" + "\n".join(section.commands) + "\n```"] if section.commands else []
    return "\n\n".join(parts)


def _comparison(section: Section) -> str:
    headings = list(section.rows[0].cells)
    rows = [tuple(row.cells.values()) for row in section.rows]
    meaning = "; ".join(f"{heading}: {text}" for heading, (_, _, text) in COLUMNS.items() if heading != "arm")
    return table(headings, rows) + "\n\n" + escape(meaning) + "."


def table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; the first column left, numbers right."""
    ruler = ["---", *("---:" if heading in COLUMNS else "---" for heading in headings[1:])]
    lines = [headings, ruler, *rows]
    return "\n".join(
        "| " + " | ".join(cell if line is ruler else escape(cell) for cell in line) + " |" for line in lines
    )


def bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {escape(item)}" for item in items)


def escape(text: str) -> str:
    """Text from a table as it is: no mark-up, no HTML, on one line."""
    flat = " ".join(text.split())
    safe = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", safe)
