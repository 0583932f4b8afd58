"""The index of results folders: each folder once, with its verdict, and links that lead to the reports."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import Browser, find_browser
from support.results import make_results, make_run

from bench import cli

if TYPE_CHECKING:
    from bench.report.index import Entry, find_results_folders, link_to, read_entry, render_index

EXECUTABLE = find_browser()


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results folders, one within another folder, one with a report; a broken one; and what is none."""
    folder = tmp_path_factory.mktemp("index") / "all results"
    make_results(folder / "one", seeds=6, sizes=(50,))
    (folder / "one" / "report.html").write_text("<!doctype html><title>one</title>")
    make_run(folder / "deep" / "50 % <b>", "superpixel_gnn", 0, started="2026-02-03T00:00:00+00:00", git_commit="def")
    make_run(folder / "deep" / "50 % <b>", "tiled_cnn", 0, started="2026-01-02T00:00:00+00:00")
    (folder / "empty" / "runs" / "killed").mkdir(parents=True)
    (folder / "notes").mkdir()
    make_results(folder / ".hidden", seeds=1, sizes=(50,))
    return folder


@pytest.fixture(scope="module")
def page(parent: Path) -> Path:
    assert cli.run_verb("index", [f"results_dir={parent}"]) == 0
    return parent / "index.html"


def test_every_results_folder_is_found_once(parent: Path) -> None:
    found = find_results_folders([parent, parent / "one"])
    assert [folder.relative_to(parent).as_posix() for folder in found] == ["deep/50 % <b>", "empty", "one"]
    assert find_results_folders([parent / "one"]) == [parent / "one"]


def test_a_folder_shows_its_verdict_days_and_commits(page: Path, parent: Path) -> None:
    text = unescape(page.read_text(encoding="utf-8"))
    [one, deep] = [read_entry(parent / name) for name in ("one", "deep/50 % <b>")]
    assert len(one.verdicts) == 1
    assert one.verdicts[0].lines
    assert one.verdicts[0].first in text
    for line in one.verdicts[0].lines:
        assert f"<dt>{line.title}</dt>" in text
    assert f"<dd>{one.verdicts[0].lines[0].short}</dd>" in text
    assert (deep.started, deep.commits) == ("2026-01-02 to 2026-02-03", ("abc", "def"))
    assert "2 runs · 2026-01-02 to 2026-02-03 · commits abc and def" in text
    assert one.verdicts[0].heading == "made_up"
    assert one.verdicts[0] != deep.verdicts[0]


def test_links_lead_to_reports_and_a_missing_report_has_its_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert links == ["one/report.html"]
    assert (page.parent / links[0]).is_file()
    assert "report results_dir=" in text
    assert "<b>" not in text
    assert "<script" not in text


def test_a_report_in_markdown_is_linked_where_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.md").write_text("# a")
    assert 'href="a/report.md"' in render_index([Entry(tmp_path / "a", runs=1)], tmp_path)
    (tmp_path / "a" / "report.html").write_text("a")
    assert 'href="a/report.html"' in render_index([Entry(tmp_path / "a", runs=1)], tmp_path)


def test_what_means_something_in_an_address_is_escaped() -> None:
    assert link_to("../a b/50%#1?/report.html") == "../a%20b/50%25%231%3F/report.html"


def test_a_folder_without_a_finished_run_says_so(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run has finished" in page.read_text(encoding="utf-8")
    assert cli.run_verb("index", [f"results_dir={page.parent}", f"output={page.parent / 'again.html'}"]) == 0
    printed = capsys.readouterr().out
    assert "again.html: 3 results folders" in printed
    assert "empty: no run has finished" in printed


def test_reading_writes_nothing_into_the_folders(parent: Path, page: Path) -> None:
    assert page.is_file()
    assert sorted(path.name for path in (parent / "one").iterdir()) == ["report.html", "runs"]


def test_several_folders_have_their_page_around_them(parent: Path, page: Path) -> None:
    before = page.read_bytes()
    assert cli.run_verb("index", [f"results_dir={parent / 'one'},{parent / 'empty'}"]) == 0
    assert "2 results folders" in page.read_text(encoding="utf-8")
    page.write_bytes(before)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["results_dir=/nowhere/at/all"], "is not a folder"),
        (["results_dir="], "say which folder"),
        (["output=page.txt"], "output must be a page"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["index", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_place_without_results_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["index", f"results_dir={tmp_path}"]) == 2
    assert "holds no results folder" in capsys.readouterr().err


@pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_on_a_telephone_by_day_and_by_night(page: Path, tmp_path: Path, scheme: str) -> None:
    assert EXECUTABLE is not None
    with Browser(EXECUTABLE, tmp_path / "profile") as browser:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(page, width=390)
        assert browser.said == []
        assert browser.run("document.documentElement.scrollWidth") <= 390
        paper = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
