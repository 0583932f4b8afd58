"""The report as one HTML file that opens offline: styles, script and pictures are inside, nothing is fetched."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from bench.plots.style import Plotted
from bench.report.content import Report, Row, Section
from bench.report.page import SCRIPT, make_data_uri, render_page
from bench.report.parts import ReportPart
from bench.report.scale import Study
from bench.report.scorecard import Line
from bench.report.sliders import Slider, make_sliders
from bench.tables.text import COLUMNS, explain_column

QUALITY = 85  # of pictures, of 100


def render_html(report: Report, folders: Sequence[Path]) -> str:
    """Return the whole page; `folders` hold the run directories.

    Every text from a table is escaped, and the page's policy forbids it to load anything.
    """
    body = [f"<h1>{escape(report.title)}</h1>", *(_study(study) for study in report.studies)]
    body += [_section(section, folders) for section in report.sections]
    if report.unfinished:
        rows = [(f"runs/{directory}", why) for directory, why in report.unfinished]
        body.append("<h2>Run directories without a finished run</h2>" + _table(["directory", "why"], rows))
    return render_page(f"{report.title}: GNN against U-Net", body, SCRIPT)


def _study(study: Study) -> str:
    parts = [f"<section>\n<h2>{escape(study.heading)}</h2>", *(_part(part) for part in study.parts)]
    parts += [f"<p>{escape(study.not_drawn)}</p>"] if study.not_drawn else []
    return "\n".join(parts) + "\n</section>"


def _section(section: Section, folders: Sequence[Path]) -> str:
    """Scorecard, pictures, then the tables with their figures."""
    verdict = section.verdict
    parts = [f"<section>\n<h2>{escape(verdict.heading)}</h2>", _scorecard(verdict.first, verdict.lines)]
    parts += [_scorecard(verdict.rival, verdict.rival_lines)] if verdict.rival else []
    parts += [*(_figure(figure) for figure in section.pictures), _sliders(make_sliders(folders, section.runs))]
    parts.append(_list([*verdict.notes, *section.front]))
    parts.append(f"<h3>Comparison</h3>\n<p>Peak memory: {escape(section.memory_kinds)}.</p>")
    parts += [_comparison(section), _list(section.remarks), *(_figure(figure) for figure in section.compared)]
    parts += [_part(part) for part in section.answers]
    parts += [f"<p>{escape(section.not_drawn)}</p>"] if section.not_drawn else []
    parts += [_part(part) for part in section.ends]
    parts.append(_commands(section.commands))
    return "\n".join(part for part in parts if part) + "\n</section>"


def _scorecard(first: str, lines: Sequence[Line]) -> str:
    """A sentence and a line per question."""
    rows = "".join(f"<dt>{escape(line.title)}</dt><dd>{escape(line.text)}</dd>" for line in lines)
    listed = f"<dl>{rows}</dl>" if rows else ""
    return f'<div class="verdict"><p><strong>{escape(first)}</strong></p>{listed}</div>'


def _part(part: ReportPart) -> str:
    """Figures first, then what they say."""
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in part.sentences)
    table = _table(part.headings, part.rows) if part.rows else ""
    return f"<h3>{escape(part.title)}</h3>\n{sentences}{''.join(map(_figure, part.figures))}{table}"


def _list(notes: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>" if notes else ""


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    lines, count = escape("\n".join(commands)), f"{len(commands)} run{'s'[: len(commands) > 1]}"
    return f"<h3>Commands</h3><details><summary>{count}</summary><pre>{lines}</pre></details>"


def _comparison(section: Section) -> str:
    """The table whose columns sort by a press on their heading."""
    rows, meanings = section.rows, {heading: explain_column(heading, section.volumes) for heading in COLUMNS}
    headings = "".join(
        f'<th scope="col" title="{escape(meanings.get(heading, ""))}">'
        f'<button type="button">{escape(heading)}</button></th>'
        for heading in rows[0].cells
    )
    body = "".join(f"<tr>{''.join(_cell(row, heading) for heading in row.cells)}</tr>\n" for row in rows)
    legend = "".join(f"<dt>{escape(heading)}</dt><dd>{escape(text)}</dd>" for heading, text in meanings.items())
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{headings}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
        f"<details><summary>What the columns mean</summary><dl>{legend}</dl></details>"
    )


def _cell(row: Row, heading: str) -> str:
    return f'<td data-key="{escape(str(row.keys[heading]))}">{escape(row.cells[heading])}</td>'


def _table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="text"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(figure: Plotted) -> str:
    """Line art as SVG, pictures as WebP; both inside, as images, so that nothing in them can run or clash."""
    assert figure.png is not None
    if figure.name.startswith("panels") or figure.svg is None:
        picture = _compress(figure.png)
    else:
        picture = make_data_uri(figure.svg.read_bytes(), "image/svg+xml")
    seen = f"{figure.title}. {figure.words}" if figure.words else figure.title
    return (
        f'<figure>\n<h4>{escape(figure.title)}</h4>\n<img alt="{escape(seen)}" src="{picture}">'
        f"\n<figcaption>{escape(figure.caption)}{_data(figure)}</figcaption>\n</figure>"
    )


def _compress(path: Path) -> str:
    """A picture in a fifth of its bytes; `figures/` holds it as it was drawn."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=4)
    return make_data_uri(buffer.getvalue(), "image/webp")


def _data(figure: Plotted) -> str:
    """What is seen in words, to be opened, and the link that saves what is drawn as a CSV file."""
    words = f"<details><summary>In words</summary><p>{escape(figure.words)}</p></details>" if figure.words else ""
    if figure.table is None:
        return words
    content = make_data_uri(figure.table.read_bytes(), "text/csv")
    return f'{words}<a download="{escape(figure.table.name)}" href="{content}">Data of this figure (CSV)</a>'


def _sliders(found: Sequence[Slider]) -> str:
    """Prediction over truth; the range input below moves the edge between them."""
    if not found:
        return ""
    boxes = "".join(
        f'<figure class="slider"><div class="pair"><img alt="truth" src="{make_data_uri(s.truth, "image/webp")}">'
        f'<img class="over" alt="{escape(s.arm)}" src="{make_data_uri(s.predicted, "image/webp")}"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="edge between {escape(s.arm)} and truth">'
        f"<figcaption>{escape(s.image)}: {escape(s.arm)} left of the edge, truth right of it</figcaption></figure>"
        for s in found
    )
    return f'<h3>Prediction against truth</h3><div class="sliders">{boxes}</div>'
