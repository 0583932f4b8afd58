"""A page of HTML that opens offline: style, script and pictures are inside, and it may load nothing else."""

import base64
from collections.abc import Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render_page(title: str, body: Sequence[str], script: str = "") -> str:
    """Return a whole page of HTML in the style of all reports.

    Args:
        title: Shown by the browser.
        body: Parts of the page, with all texts escaped.
        script: What runs in it.
    """
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>",
            "<body>\n<main>",
            *body,
            "</main>" + (f"\n<script>\n{script}</script>" if script else "") + "\n</body>\n</html>\n",
        ]
    )


def make_data_uri(content: bytes, kind: str) -> str:
    """Return a file as an address that holds it, so that nothing is fetched; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


STYLE = """\
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --faint: #555; --rule: #ccc; --line: #e3e3e3;
  --accent: #0072b2; --box: #f3f8fc; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --paper: #17191c; --faint: #a8a8a8; --rule: #555; --line: #33363a; --accent: #5bb3e8;
    --box: #1d2730; }
}
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
h3 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
h4 { margin: 1.2rem 0 .3rem; font-size: .95rem; }
.verdict { border-left: 4px solid var(--accent); padding: .1rem 1rem; background: var(--box); font-size: 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
th:first-child, td:first-child { white-space: normal; min-width: 7.5rem; max-width: 18rem; overflow-wrap: break-word; }
.text th, .text td { white-space: normal; overflow-wrap: break-word; max-width: 24rem; }
.text th:first-child, .text td:first-child { min-width: 0; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; background: #fff; }
a { color: var(--accent); } code { overflow-wrap: anywhere; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .3rem 1rem; font-size: .9rem; }
.row dd { margin: 0; }
figcaption { font-size: .85rem; color: var(--faint); }
figcaption p { margin: .2rem 0; } figcaption details { margin: .2rem 0; }
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
  main { max-width: none; } .slider input, th button::after, a[download], summary { display: none; }
  h2, h3, h4 { break-after: avoid; } tr, .verdict { break-inside: avoid; }
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
