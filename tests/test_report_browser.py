"""The report in a real browser: it opens without a word on the console, sorts by mouse and keyboard, and slides."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Browser, find_browser
from support.results import make_results, make_run

if TYPE_CHECKING:
    from bench.report.command import write_report
    from bench.tables.collect import collect


EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium or Chrome on this machine")
COLUMN = "[...document.querySelectorAll('table.sortable tbody tr')].map(row => row.cells[{}].dataset.key)"
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_results(tmp_path_factory.mktemp("browser") / "results", seeds=2, sizes=(50, 200), panels=True)
    make_run(folder, "superpixel_gnn", 0, 400, run_id="x", run_key="x", status="timeout", reason="<b>after 10 s")
    make_run(folder, "tiled_cnn", 1, run_id="y", run_key="y", flags="contended: others computed")
    return write_report(folder, collect(folder))[1]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert EXECUTABLE is not None
    with Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(started: Browser, page: Path) -> Browser:
    started.said.clear()
    started.open(page)
    return started


def numbers(keys: list[str]) -> list[float]:
    """The keys that were measured, in the order of the rows."""
    return [float(key) for key in keys if key]


def click(browser: Browser, column: int) -> Any:
    return browser.run(f"document.querySelectorAll('table.sortable th button')[{column}].click()")


def test_it_opens_silently_and_asks_for_nothing_else(browser: Browser, page: Path) -> None:
    assert browser.said == []
    wanted = {address for address in browser.requested() if not address.startswith("data:")}
    assert wanted == {page.resolve().as_uri()}
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("document.images.length") > 10
    with pytest.raises(AssertionError):
        browser.run("nothing.at.all")  # the test hears what a page throws


def test_a_press_on_a_heading_sorts_and_a_second_one_turns_round(browser: Browser) -> None:
    before = numbers(browser.run(COLUMN.format(1)))
    click(browser, 1)
    rising = numbers(browser.run(COLUMN.format(1)))
    assert rising == sorted(before) != before
    state = "[...document.querySelectorAll('table.sortable th')].map(head => head.getAttribute('aria-sort'))"
    assert browser.run(state)[1] == "ascending"
    click(browser, 1)
    assert numbers(browser.run(COLUMN.format(1))) == rising[::-1]
    assert [found for found in browser.run(state) if found] == ["descending"]


def test_what_was_not_measured_stays_last_and_words_sort_as_words(browser: Browser) -> None:
    for _ in range(2):
        click(browser, 2)  # superpixel size, empty for pixel arms
        keys = browser.run(COLUMN.format(2))
        assert "" in keys
        assert all(not key for key in keys[keys.index("") :])
    click(browser, 0)
    arms = browser.run(COLUMN.format(0))
    assert arms == sorted(arms)


def test_it_sorts_by_keyboard(browser: Browser) -> None:
    for key, code in (("Enter", 13), (" ", 32)):
        browser.run("document.querySelectorAll('table.sortable th button')[1].focus()")
        before = browser.run(COLUMN.format(1))
        browser.press(key, code)
        assert browser.run(COLUMN.format(1)) != before
    assert browser.run("document.activeElement.tagName") == "BUTTON"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) != "none"


def test_the_slider_moves_the_edge_by_keyboard_too(browser: Browser) -> None:
    edge = "getComputedStyle(document.querySelector('.slider .over')).clipPath"
    assert "50%" in browser.run(edge)
    browser.run(
        "const bar = document.querySelector('.slider input'); bar.value = 20; bar.dispatchEvent(new Event('input'))"
    )
    assert "80%" in browser.run(edge)
    browser.run("document.querySelector('.slider input').focus()")
    browser.press("ArrowRight", 39)
    assert "79%" in browser.run(edge)
    assert browser.said == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_but_tables_scrolls_sideways(started: Browser, page: Path, width: int) -> None:
    started.open(page, width)
    assert started.run("document.documentElement.scrollWidth") <= width
    tables = "[...document.querySelectorAll('.wide')].every(box => box.getBoundingClientRect().right <= innerWidth)"
    assert started.run(tables)
    shapes = "[...document.querySelectorAll('table.sortable td')].map(cell => cell.offsetHeight / cell.offsetWidth)"
    assert started.run(f"Math.max(...{shapes})") < 3  # no column is so narrow that it reads from top to bottom


def test_it_prints_every_row_and_command(browser: Browser) -> None:
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        clipped = "[...document.querySelectorAll('.wide')].filter(box => getComputedStyle(box).overflowX !== 'visible')"
        assert browser.run(f"{clipped}.length") == 0
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert browser.run("document.querySelector('details pre').checkVisibility()")
        pdf = base64.b64decode(browser.call("Page.printToPDF")["data"])
        assert pdf.startswith(b"%PDF")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_what_did_not_run_is_there_as_text(browser: Browser) -> None:
    text = browser.run("document.body.innerText")
    assert "What did not run" in text
    assert "<b>after 10 s" in text
    assert "contended: others computed" in text
