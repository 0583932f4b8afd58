"""The report answers from the tables, never says more than they show, and stays one page that fetches nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results import copy_results, make_results, make_run

from bench import cli

if TYPE_CHECKING:
    from bench.report.command import write_report
    from bench.report.content import describe_harness_share, gather, list_failures
    from bench.report.markdown import escape, format_markdown_table
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations


NASTY = '<script>alert("1")</script>|`*_&amp;'


class Page(HTMLParser):
    """Elements with what they would fetch, and whether all that is opened is closed."""

    VOID = frozenset({"meta", "img", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.shown: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.shown += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("template"), seeds=6, sizes=(50, 100), panels=True)


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copy_results(template, tmp_path / "results")


def test_the_page_fetches_nothing_runs_only_its_own_script_and_escapes_the_tables(folder: Path) -> None:
    make_run(folder, "superpixel_gnn", 0, 50, run_id="n", run_key="n", status="failed", reason=NASTY, model=NASTY)
    make_run(folder, "tiled_cnn", 3, run_id="m", run_key="m", machine__cpu=NASTY, command=NASTY)
    (folder / "runs" / "<b>broken").mkdir()
    paths = write_report(folder, collect(folder))
    assert [path.name for path in paths] == ["report.md", "report.html"]
    text = paths[1].read_text()
    page = Page(text)
    assert page.open == []
    assert page.scripts == 1
    assert all(source.startswith("data:image/") for source in page.shown)
    assert all(link.startswith("data:text/csv;base64,") for link in page.links)
    assert len(page.shown) > 10
    assert len(page.links) > 5
    assert "alert(" in text
    assert '<script>alert("1")' not in text
    assert "&lt;b&gt;broken" in text
    markdown = paths[0].read_text()
    assert "<script>" not in markdown.split("```sh")[0]
    assert all((folder / link).exists() for link in re.findall(r"\]\((figures/[^)]+)\)", markdown))


def test_the_same_tables_give_the_same_report(folder: Path) -> None:
    tables = collect(folder)
    first = [path.read_bytes() for path in write_report(folder, tables, [])]
    assert [path.read_bytes() for path in write_report(folder, tables, [])] == first


def test_sections_hold_every_row_and_every_odd_run(folder: Path) -> None:
    make_run(folder, "superpixel_gnn", 9, 50, status="timeout", reason="still running after 10 s")
    [section] = gather("r", collect(folder), []).sections
    assert len(section.rows) == 2 + 3 * 2
    assert [row[1:] for row in list_failures(section.runs)] == [("timeout", "still running after 10 s")]
    assert list_failures(section.runs)[0][0].startswith("superpixel_gnn at 50 px, seed 9 (")
    assert [part.title for part in section.ends] == ["What did not run", "Machine and versions"]
    assert all(set(row.cells) == set(row.keys) for row in section.rows)
    assert len(section.commands) == len(section.runs.drop_duplicates("command"))
    assert any("front of Dice against peak memory" in line for line in section.front)


def test_markdown_cells_cannot_break_their_table() -> None:
    assert escape("a|b\n<i>`c`") == "a\\|b &lt;i&gt;\\`c\\`"
    assert format_markdown_table(["x", "dice"], [("1|2", "3")]).splitlines()[1:] == ["| --- | ---: |", "| 1\\|2 | 3 |"]


def test_the_command_collects_draws_and_prints(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.report.command.plot_all", lambda *_: [])
    assert cli.main(["report", f"results_dir={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "report.html" in printed
    assert "points less" in printed
    assert cli.main(["report", "results_dir=/nowhere/at/all"]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_share_of_the_harness_stands_with_the_machine(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0, harness_seconds=10.0, process_seconds=100.0)
    make_run(tmp_path, "tiled_cnn", 1, harness_seconds=30.0, process_seconds=100.0)
    make_run(tmp_path, "tiled_cnn", 2, status="failed")
    [section] = gather("r", collect(tmp_path), []).sections
    [machine] = [part for part in section.ends if part.title == "Machine and versions"]
    [share] = [value for name, value in machine.rows if name == "share of a run that is not measured"]
    assert share.startswith("20% (median of 2 runs, 10% to 30%; 20 s)")
    assert describe_harness_share(list_configurations(collect(tmp_path)).drop(columns="process_seconds")) == ""


def test_frontier_budgets_break_even_and_edges_are_parts_with_their_numbers(tmp_path: Path) -> None:
    for seed in range(2):
        for size in (50, 200):
            edges = {"edge_message_share": 0.5, "edge_flip_share": 0.0001 if size == 200 else 0.2}
            make_run(tmp_path, "superpixel_gnn", seed, size, epochs=20, **edges)  # type: ignore[arg-type]
            make_run(tmp_path, "superpixel_mlp", seed, size)
            make_run(tmp_path, "oracle", seed, size)
        for name, gain in (("small", -0.01), ("large", 0.0)):
            row = {"run_id": f"{name}{seed}", "run_key": f"{name}{seed}", "pipeline__model__encoder_name": name}
            make_run(tmp_path, "tiled_cnn", seed, epochs=20, gain=gain, **row)  # type: ignore[arg-type]
    tables = collect(tmp_path)
    [section] = gather("r", tables, []).sections
    parts = {part.title: part for part in section.answers}
    assert list(parts) == [
        "Time to the same score", "Memory over time", "Frontier", "Within the other's budget", "Break-even",
        "Where the accuracy goes", "What the edges do",
    ]  # fmt: skip
    assert section.front == ()
    assert all(len(row) == len(part.headings) for part in section.answers for row in part.rows)
    assert len(parts["Within the other's budget"].rows) == 6
    assert parts["Break-even"].rows[0][0] == "megapixels per image"
    assert parts["What the edges do"].sentences == (
        "The edges of GNN at 200 px do nothing: without them fewer than 0.1 % of the validation pixels change class.",
    )
    markdown, page = (path.read_text() for path in write_report(tmp_path, tables, []))
    for title in parts:
        assert f"### {title}" in markdown
        assert title.replace("'", "&#x27;") in page


def test_times_that_cannot_be_believed_give_no_break_even_but_the_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", epochs=20)
    make_run(tmp_path, "tiled_cnn", epochs=20, flags="contended: others computed")
    *_, part = gather("r", collect(tmp_path), []).sections[0].answers
    assert part.sentences == (
        "Not computed: every run of tiled_cnn that counts is flagged as contended, so its times are too long.",
    )


def test_the_times_at_the_targets_that_matter_stand_in_the_table_and_in_the_scorecard_alike(folder: Path) -> None:
    [section] = gather("r", collect(folder), []).sections
    [part] = [part for part in section.answers if part.title == "Time to the same score"]
    marked = {row[1]: row for row in part.rows if row[1]}
    assert list(marked) == ["converged", "-1 point", "-2 points"]
    text = section.verdict.lines[1].text
    for row in marked.values():
        gnn, unet = (cell.split(" s")[0] for cell in row[2:4])
        assert f"to {row[0]}: {gnn} s against {unet} s" in text or f"of {row[0]}, " in text
        assert gnn
        assert unet
        assert row[4].split(" ")[0] in text
    assert [row[0] for row in part.rows] == sorted((row[0] for row in part.rows), reverse=True)
