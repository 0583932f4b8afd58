"""The report: what a result folder shows, as `report.md` and a self-contained `report.html`, from the tables alone."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.config import InputError
from bench.files import write_atomically
from bench.plots.all import plot_all
from bench.plots.style import Plotted
from bench.report.card import write_cards
from bench.report.content import Report, describe_not_drawn, gather
from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.report.verdict import Verdict
from bench.tables.collect import Tables, frame_to_csv
from bench.tables.comparison import list_configurations, summarize_arms
from bench.tables.folders import FoldersConfig, choose_folders, read_folder_tables
from bench.tables.scale import fit_lines, make_scale_points, tabulate_laws
from bench.tables.speed import tabulate_speed
from bench.tables.text import format_table, make_arms_table

__all__ = ["main", "write_report"]

WIDTH = 120  # characters of a printed line, where it holds no command to be copied


def write_report(
    results_dir: Path, tables: Tables, plotted: Sequence[Plotted] | None = None, folders: Sequence[Path] = ()
) -> list[Path]:
    """Write `report.md` (figures beside it in `figures/`) and `report.html` (all inside).

    Args:
        results_dir: Results folder to write to.
        tables: All tables.
        plotted: The figures; drawn if not given.
        folders: Those with the run directories, where it is not `results_dir` itself.

    Returns:
        The paths of both.
    """
    plotted = plot_all(results_dir, tables, folders) if plotted is None else plotted
    folders = folders or (results_dir,)
    return _render(gather(results_dir.resolve().name, tables, plotted, folders), results_dir, folders)


def _render(report: Report, results_dir: Path, folders: Sequence[Path]) -> list[Path]:
    paths = [results_dir / "report.md", results_dir / "report.html"]
    write_atomically(paths[0], render_markdown(report))
    write_atomically(paths[1], render_html(report, folders))
    return paths


def main(settings: FoldersConfig) -> int:
    """Collect, draw, write, print verdict and table. Returns the exit code. Raises InputError.

    Beside the weights of each run lies its `model_card.md`. Beside the tables they are made of lie
    `tables/comparison.csv`, the same with the printed columns' names as `tables/arms.csv`, and the curves of time to
    score as `tables/speed.csv`; of the experiment `scale` its points as `tables/scale.csv` and the laws of memory as
    `tables/memory_law.csv`.
    """
    try:
        folders, results_dir = choose_folders(settings)
        tables = read_folder_tables(folders, results_dir)
        plotted = plot_all(results_dir, tables, folders)
        report = gather(results_dir.resolve().name, tables, plotted, folders)
        paths = _render(report, results_dir, folders)
        runs = list_configurations(tables)
        compared = summarize_arms(runs)
        kept = {
            "comparison": compared,
            "arms": make_arms_table(compared),
            "speed": tabulate_speed(runs, tables.history),
        }
        points = make_scale_points(runs, tables.stages, tables.history)
        if len(points):
            kept |= {"scale": points, "memory_law": tabulate_laws(fit_lines(points))}
        if [folder.resolve() for folder in folders] == [results_dir.resolve()]:  # others are not written to
            write_cards(results_dir)
        for name, frame in kept.items():
            write_atomically(results_dir / "tables" / f"{name}.csv", frame_to_csv(frame))
    except OSError as error:
        raise InputError(f"cannot write {error.filename or 'below results_dir'}: {error.strerror}") from error
    for section in report.sections:
        print("\n".join(_verdict_lines(section.verdict)) + "\n")
    print(format_table(compared))
    _print_rest(tables, plotted, paths, results_dir)
    return 0


def _verdict_lines(verdict: Verdict) -> list[str]:
    """The first sentence, the scorecard and the best rival."""
    lines = [f"{verdict.heading}: {verdict.first}", *(f"  {line.title}: {line.text}" for line in verdict.lines)]
    return [*lines, f"  {verdict.rival}"] if verdict.rival else lines


def _print_rest(tables: Tables, plotted: Sequence[Plotted], paths: Sequence[Path], results_dir: Path) -> None:
    print()
    for unfinished in tables.unfinished:
        print(f"left out: runs/{unfinished.directory}: {unfinished.why}")
    for group in dict.fromkeys(figure.group for figure in plotted):
        if left_out := describe_not_drawn([figure for figure in plotted if figure.group == group]):
            print(textwrap.fill(f"{group}: {left_out}", WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    print(f"tables:  {results_dir / 'tables'}")
    print(f"figures: {results_dir / 'figures'}")
    print(f"report:  {' '.join(str(path) for path in paths)}")
