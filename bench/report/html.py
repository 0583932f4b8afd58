"""The report as one HTML file that opens offline: styles, script and pictures are inside, nothing is fetched."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.plots.style import Plotted
from bench.report.content import Report, Row, Section
from bench.report.parts import ReportPart
from bench.report.scale import Study
from bench.report.scorecard import Line
from bench.report.sliders import Slider, make_sliders
from bench.tables.text import COLUMNS

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render_html(report: Report, folders: Sequence[Path]) -> str:
    """Return the whole page; `folders` hold the run directories.

    Every text from a table is escaped, and the page's policy forbids it to load anything.
    """
    body = [f"<h1>{escape(report.title)}</h1>", *(_study(study) for study in report.studies)]
    body += [_section(section, folders) for section in report.sections]
    if report.unfinished:
        rows = [(f"runs/{directory}", why) for directory, why in report.unfinished]
        body.append("<h2>Run directories without a finished run</h2>" + _table(["directory", "why"], rows))
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(report.title)}: GNN against U-Net</title>\n<style>\n{STYLE}</style>\n</head>",
            "<body>\n<main>",
            *body,
            f"</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


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
    parts += [_comparison(section.rows), _list(section.remarks), *(_figure(figure) for figure in section.compared)]
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


def _comparison(rows: Sequence[Row]) -> str:
    """The table whose columns sort by a press on their heading."""
    headings = "".join(
        f'<th scope="col" title="{escape(COLUMNS[heading][2] if heading in COLUMNS else "")}">'
        f'<button type="button">{escape(heading)}</button></th>'
        for heading in rows[0].cells
    )
    body = "".join(f"<tr>{''.join(_cell(row, heading) for heading in row.cells)}</tr>\n" for row in rows)
    legend = "".join(f"<dt>{escape(heading)}</dt><dd>{escape(text)}</dd>" for heading, (_, _, text) in COLUMNS.items())
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
    """Line art as SVG, pictures as PNG; both inside, as images, so that nothing in them can run or clash."""
    raster = figure.name.startswith("panels") or figure.svg is None
    path, kind = (figure.png, "png") if raster else (figure.svg, "svg+xml")
    assert path is not None
    picture = make_data_uri(path.read_bytes(), kind)
    return (
        f'<figure>\n<h4>{escape(figure.title)}</h4>\n<img alt="{escape(figure.title)}" src="{picture}">'
        f"\n<figcaption>{escape(figure.caption)}</figcaption>\n</figure>"
    )


def _sliders(found: Sequence[Slider]) -> str:
    """Prediction over truth; the range input below moves the edge between them."""
    if not found:
        return ""
    boxes = "".join(
        f'<figure class="slider"><div class="pair"><img alt="truth" src="{make_data_uri(s.truth, "jpeg")}">'
        f'<img class="over" alt="{escape(s.arm)}" src="{make_data_uri(s.predicted, "jpeg")}"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="edge between {escape(s.arm)} and truth">'
        f"<figcaption>{escape(s.image)}: {escape(s.arm)} left of the edge, truth right of it</figcaption></figure>"
        for s in found
    )
    return f'<h3>Prediction against truth</h3><div class="sliders">{boxes}</div>'


def make_data_uri(content: bytes, kind: str) -> str:
    """Return an image as text that an `img` shows without fetching anything."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


STYLE = """\
:root { color-scheme: light; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
h3 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
h4 { margin: 1.2rem 0 .3rem; font-size: .95rem; }
.verdict { border-left: 4px solid #0072b2; padding: .1rem 1rem; background: #f3f8fc; font-size: 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e3e3e3; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
th:first-child, td:first-child { white-space: normal; min-width: 7.5rem; max-width: 18rem; overflow-wrap: break-word; }
.text th, .text td { white-space: normal; overflow-wrap: break-word; max-width: 24rem; }
.text th:first-child, .text td:first-child { min-width: 0; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0072b2; }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; color: #555; }
pre { overflow-x: auto; font-size: .75rem; }
dt { font-weight: 600; } dd { margin: 0 0 .3rem 1rem; }
.sliders { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
.slider { margin: 0; --edge: 50%; }
.pair { position: relative; }
.pair img { width: 100%; image-rendering: pixelated; }
.over { position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--edge)) 0 0); }
.pair::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--edge); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 0 1px #000; pointer-events: none; }
.slider input { width: 100%; margin: .3rem 0 0; }
@media (max-width: 40rem) {
  body { font-size: 15px; } .verdict { font-size: 1rem; padding: .1rem .7rem; } ul { padding-left: 1.2rem; }
  th:first-child, td:first-child { overflow-wrap: anywhere; }
  .text th:first-child, .text td:first-child { overflow-wrap: break-word; }
}
@media print {
  main { max-width: none; } .slider input, th button::after { display: none; }
  table { font-size: .65rem; } th, td { padding: .1rem .2rem; white-space: normal; } .wide { overflow: visible; }
}
"""

SCRIPT = """\
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.key;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");  // what was not measured stays last
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => part.open = true));
for (const slider of document.querySelectorAll(".slider")) {
  slider.querySelector("input").addEventListener("input", event =>
    slider.style.setProperty("--edge", event.target.value + "%"));
}
"""
