"""The report as Markdown for a repository; figures are links into `figures/`."""

import re
from collections.abc import Sequence

from bench.plots.style import Plotted
from bench.report.content import Report, Section
from bench.report.parts import ReportPart
from bench.report.scale import Study
from bench.report.scorecard import Line
from bench.tables.text import COLUMNS, explain_column


def render_markdown(report: Report) -> str:
    """Return the whole report."""
    parts = [f"# {escape(report.title)}", *(_study(study) for study in report.studies)]
    parts += [_section(section) for section in report.sections]
    if report.unfinished:
        rows = [(f"runs/{directory}", why) for directory, why in report.unfinished]
        parts += ["## Run directories without a finished run", format_markdown_table(["directory", "why"], rows)]
    return "\n\n".join(parts) + "\n"


def _study(study: Study) -> str:
    parts = [f"## {escape(study.heading)}", *(line for part in study.parts for line in _part(part))]
    return "\n\n".join([*parts, *([escape(study.not_drawn)] if study.not_drawn else [])])


def _section(section: Section) -> str:
    """Scorecard, pictures, then the tables with their figures."""
    verdict = section.verdict
    parts = [f"## {escape(verdict.heading)}", *_scorecard(verdict.first, verdict.lines)]
    parts += _scorecard(verdict.rival, verdict.rival_lines) if verdict.rival else []
    parts += [line for figure in section.pictures for line in _figure(figure)]
    parts += [format_bullets([*verdict.notes, *section.front])] if section.front or verdict.notes else []
    parts += [f"### Comparison (peak memory: {escape(section.memory_kinds)})", _comparison(section)]
    parts += [line for figure in section.compared for line in _figure(figure)]
    parts += [line for part in section.answers for line in _part(part)]
    parts += [escape(section.not_drawn)] if section.not_drawn else []
    parts += [line for part in section.ends for line in _part(part)]
    parts += ["### Commands", fence("\n".join(section.commands))] if section.commands else []
    return "\n\n".join(parts)


def _scorecard(first: str, lines: Sequence[Line]) -> list[str]:
    """A sentence and a line per question."""
    listed = "\n".join(f"- **{line.title}.** {escape(line.text)}" for line in lines)
    return [f"**{escape(first)}**", *([listed] if listed else [])]


def fence(text: str) -> str:
    """Return text as a code block whose fence is longer than any run of backticks in it, so that it cannot end it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _part(part: ReportPart) -> list[str]:
    """Figures first, then the table."""
    lines = [f"### {escape(part.title)}", *(escape(sentence) for sentence in part.sentences)]
    lines += [line for figure in part.figures for line in _figure(figure)]
    return [*lines, format_markdown_table(part.headings, part.rows)] if part.rows else lines


def _figure(figure: Plotted) -> list[str]:
    assert figure.png is not None
    title = escape(figure.title)
    seen = f"{title}. {escape(figure.words)}" if figure.words else title
    data = f" [Data](figures/{figure.table.name})." if figure.table else ""
    return [f"#### {title}", f"![{seen}](figures/{figure.png.name})", escape(figure.caption) + data]


def _comparison(section: Section) -> str:
    headings = list(section.rows[0].cells)
    rows = [tuple(row.cells.values()) for row in section.rows]
    meaning = "; ".join(f"{heading}: {explain_column(heading, section.volumes)}" for heading in COLUMNS)
    remarks = [format_bullets(section.remarks)] if section.remarks else []
    return "\n\n".join([format_markdown_table(headings, rows), *remarks, f"{escape(meaning)}."])


def format_markdown_table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table; the first column left, numbers right."""
    ruler = ["---", *("---:" if heading in COLUMNS else "---" for heading in headings[1:])]
    lines = [headings, ruler, *rows]
    return "\n".join(
        "| " + " | ".join(cell if line is ruler else escape(cell) for cell in line) + " |" for line in lines
    )


def format_bullets(items: Sequence[str]) -> str:
    """Return a list of items."""
    return "\n".join(f"- {escape(item)}" for item in items)


def escape(text: str) -> str:
    """Return text from a table as it is: no mark-up, no HTML, on one line."""
    flat = " ".join(text.split())
    safe = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", safe)
