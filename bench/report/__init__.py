"""The report: what a result folder shows, as `report.md` and a self-contained `report.html`, from the tables alone."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config import InputError
from bench.plots import Plotted, plot_all
from bench.report.content import gather
from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.tables import Tables, collect, comparison, format_table, results_dir_of
from bench.tables.store import write_atomically

__all__ = ["main", "write_report"]


def write_report(results_dir: Path, tables: Tables, plotted: Sequence[Plotted] | None = None) -> list[Path]:
    """Write `report.md` (figures beside it in `figures/`) and `report.html` (all inside). Draws what is not given."""
    report = gather(results_dir.resolve().name, tables, plot_all(results_dir, tables) if plotted is None else plotted)
    paths = [results_dir / "report.md", results_dir / "report.html"]
    write_atomically(paths[0], render_markdown(report))
    write_atomically(paths[1], render_html(report, results_dir))
    return paths


def main(overrides: list[str]) -> int:
    """`python -m bench report results_dir=...`: collect, draw, write, print table and verdict. The exit code.

    The comparison is kept beside the tables it is made of, as `tables/comparison.csv`.
    """
    try:
        results_dir = results_dir_of(overrides, "report")
        tables = collect(results_dir)
        plotted = plot_all(results_dir, tables)
        paths = write_report(results_dir, tables, plotted)
        compared = comparison(tables)
        write_atomically(results_dir / "tables" / "comparison.csv", compared.to_csv(index=False, lineterminator="\n"))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {error.filename or 'below results_dir'}: {error.strerror}", file=sys.stderr)
        return 2
    print(format_table(compared))
    for section in gather(results_dir.name, tables, plotted).sections:
        print("\n" + "\n".join([section.verdict.heading + ":", *section.verdict.answer]))
    _print_rest(tables, plotted, paths, results_dir)
    return 0


def _print_rest(tables: Tables, plotted: Sequence[Plotted], paths: Sequence[Path], results_dir: Path) -> None:
    print()
    for unfinished in tables.unfinished:
        print(f"left out: runs/{unfinished.directory}: {unfinished.why}")
    for figure in plotted:
        if figure.skipped:
            print(f"not drawn: {figure.name}: {figure.skipped}")
    print(f"tables:  {results_dir / 'tables'}")
    print(f"figures: {results_dir / 'figures'}")
    print(f"report:  {' '.join(str(path) for path in paths)}")
