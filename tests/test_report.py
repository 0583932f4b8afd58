"""The report answers from the tables, never says more than they show, and stays one page that fetches nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.results import copy_results, make_results, make_run, score

from bench import cli
from bench.plots.all import groups
from bench.report.command import write_report
from bench.report.content import failures, gather, harness_share
from bench.report.markdown import escape, table
from bench.report.verdict import Verdict, verdict
from bench.tables.collect import Tables, collect
from bench.tables.comparison import configurations

NASTY = '<script>alert("1")</script>|`*_&amp;'


class Page(HTMLParser):
    """Elements with what they would fetch, and whether all that is opened is closed."""

    VOID = frozenset({"meta", "img", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
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


def verdicts(tables: Tables) -> list[Verdict]:
    found = groups(configurations(tables))
    return [verdict(heading, runs, tables.scores, tables.history) for runs, _, heading in found]


def only(folder: Path) -> Verdict:
    [found] = verdicts(collect(folder))
    return found


def text_of(found: Verdict) -> str:
    return " ".join([*found.answer, *found.details, *found.caveats])


def test_the_answer_holds_the_numbers_of_the_tables(folder: Path) -> None:
    found = only(folder)
    differences = [
        [score("superpixel_gnn", seed, 50, image) - score("tiled_cnn", seed, 50, image) for image in range(4)]
        for seed in range(6)
    ]
    points = -100 * np.mean(differences)
    assert len(found.answer) == 3
    assert (
        f"On 4 test images and 6 seeds, the GNN at 50 px per superpixel scores {points:.1f} points less"
        in found.answer[0]
    )
    low, high = (float(text) for text in re.findall(r"seeds and images (\S+) to (\S+?)\)", found.answer[0])[0])
    assert low < -points < high < 0
    assert "its superpixels is 0.985" in found.answer[0]
    gnn, cnn = ([seconds * (1 + 0.05 * s) * 1.1 + 1.5 for s in range(6)] for seconds in (40, 600))
    ratio = np.median([(c + 0.4) / (g + 4.8) for g, c in zip(gnn, cnn, strict=True)])
    assert f"superpixels included, the GNN is {ratio:.3g} times faster" in found.answer[1]
    assert "2.73 times less memory" in found.answer[2]
    assert "resident memory of the process" in found.answer[2]
    assert "p = 0.031" in text_of(found)


def test_too_few_seeds_are_said_with_the_number_needed(tmp_path: Path) -> None:
    found = only(make_results(tmp_path / "three", seeds=3, sizes=(50,)))
    assert "3 paired seeds" in text_of(found)
    assert "at least 6 seeds" in text_of(found)
    alone = only(make_results(tmp_path / "one", seeds=1, sizes=(50,)))
    assert "covers the choice of images only" in text_of(alone)
    assert "one pair, no interval" in alone.answer[1]


def test_without_an_arm_there_is_no_verdict(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn")
    make_run(tmp_path, "tiled_cnn", status="out_of_memory")
    found = only(tmp_path)
    assert found.answer == ("No verdict: there is no finished, valid run of tiled_cnn.",)
    assert "1 out_of_memory" in text_of(found)


def test_unlike_kinds_of_memory_are_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn")
    make_run(tmp_path, "tiled_cnn", peak_memory_kind="gpu_process")
    assert only(tmp_path).answer[2].startswith("Memory is not compared: peaks of memory of different kinds")


def test_a_common_budget_in_seconds_makes_training_time_say_nothing(tmp_path: Path) -> None:
    for pipeline in ("superpixel_gnn", "tiled_cnn"):
        make_run(tmp_path, pipeline, stopped="seconds")
    sentence = only(tmp_path).answer[1]
    assert "same budget of 60 s, so training times say nothing" in sentence
    assert "99 %" in sentence


def test_budgets_of_our_own_choice_are_not_sold_as_a_speed(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", stopped="seconds", training__seconds=60.0)
    make_run(tmp_path, "tiled_cnn", stopped="seconds", training__seconds=600.0)
    sentence = only(tmp_path).answer[1]
    assert sentence.startswith("The GNN was given 60 s of training and the CNN 600 s, so training times say nothing")


def test_seeds_without_a_partner_are_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path, "superpixel_gnn", seed)
    make_run(tmp_path, "tiled_cnn", 1)
    assert "and 1 seed," in only(tmp_path).answer[0]
    make_run(tmp_path / "none", "superpixel_gnn", 0)
    make_run(tmp_path / "none", "tiled_cnn", 1)
    assert "no seed in common" in only(tmp_path / "none").answer[0]


def test_flagged_runs_are_counted_or_left_out_and_said(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 0, run_id="i", run_key="i", flags="invalid: the sampler died")
    make_run(folder, "tiled_cnn", 7, run_id="c", run_key="c", flags="contended: others computed")
    make_run(folder, "superpixel_gnn", 7, 50)
    said = text_of(only(folder))
    assert "1 run flagged invalid is left out" in said
    assert "1 of the 14 compared runs shared the machine" in said
    assert "Indicative only: 1 of these runs" in said


def test_the_order_of_the_controls_is_said_either_way(folder: Path) -> None:
    tables = collect(folder)
    assert "As expected, oracle >= GNN >= MLP holds at 50 px" in text_of(verdicts(tables)[0])
    runs = configurations(tables)
    runs.loc[runs["pipeline"] == "superpixel_mlp", "dice"] = 0.99
    assert "does not hold" in text_of(verdict("", runs, tables.scores, tables.history))
    missing = runs[runs["pipeline"] != "superpixel_mlp"]
    assert "MLP did not run there" in text_of(verdict("", missing, tables.scores, tables.history))


def test_each_data_set_and_machine_has_its_own_verdict(folder: Path) -> None:
    for pipeline in ("superpixel_gnn", "tiled_cnn"):
        make_run(folder, pipeline, run_id=f"other-{pipeline}", machine__id="another")
        make_run(folder, pipeline, run_id=f"data-{pipeline}", dataset="data", dataset__root="there")
    assert len(verdicts(collect(folder))) == 3


def test_images_of_another_data_set_in_the_folder_are_not_counted(tmp_path: Path) -> None:
    for pipeline in ("superpixel_gnn", "tiled_cnn"):
        make_run(tmp_path, pipeline)
        name = f"data-{pipeline}"
        other = make_run(tmp_path, pipeline, run_id=name, run_key=name, dataset="data", dataset__root="there")
        table = other / "scores.csv"
        table.write_text(table.read_text().replace(",00", ",other_00"))  # images with names of their own
    answers = [found.answer[0] for found in verdicts(collect(tmp_path))]
    assert [answer.split(" and ")[0] for answer in answers] == ["On 4 test images"] * 2


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
    assert all(source.startswith("data:image/") for source in page.fetched)
    assert len(page.fetched) > 10
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
    assert [row[1:] for row in failures(section.runs)] == [("timeout", "still running after 10 s")]
    assert failures(section.runs)[0][0].startswith("superpixel_gnn at 50 px, seed 9 (")
    assert [part.title for part in section.ends] == ["What did not run", "Machine and versions"]
    assert all(set(row.cells) == set(row.keys) for row in section.rows)
    assert len(section.commands) == len(section.runs.drop_duplicates("command"))
    assert any("front of Dice against peak memory" in line for line in section.front)


def test_markdown_cells_cannot_break_their_table() -> None:
    assert escape("a|b\n<i>`c`") == "a\\|b &lt;i&gt;\\`c\\`"
    assert table(["x", "dice"], [("1|2", "3")]).splitlines()[1:] == ["| --- | ---: |", "| 1\\|2 | 3 |"]


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


def test_the_summary_answers_in_one_sentence_with_the_numbers_of_the_tables(folder: Path) -> None:
    found = only(folder)
    assert re.fullmatch(
        r"On these 4 test images the GNN at 50 px per superpixel scores (\d\.\d) points less Dice per image "
        r"\(95 % interval "
        r"-\d\.\d to -\d\.\d\) and (\d\.\d) points less pooled over all pixels, "
        r"trains 13\.?\d? times faster \(1\d.\d to 13.\d\), superpixels included, "
        r"and needs 2.73 times less memory \(2.73 to 2.73\); its ceiling at this size is 0.985\.",
        found.summary,
    )
    runs = configurations(collect(folder))
    dice = runs[runs["superpixel_size"].isna() | (runs["superpixel_size"] == 50)].groupby("pipeline")["dice"].mean()
    pooled = 100 * (dice["tiled_cnn"] - dice["superpixel_gnn"])
    assert f"and {pooled:.1f} points less pooled" in found.summary
    low, high = (float(text) for text in re.findall(r"interval (\S+) to (\S+?)\)", found.summary)[0])
    assert low < high < 0


def test_the_summary_never_says_more_than_the_data_shows(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "superpixel_gnn", flags="contended: others computed")
    make_run(tmp_path / "a", "tiled_cnn", peak_memory_kind="gpu_process")
    said = only(tmp_path / "a").summary
    assert "with one seed," in said
    assert "beside other work" in said
    assert "its memory cannot be compared" in said
    make_run(tmp_path / "b", "superpixel_gnn", stopped="seconds")
    make_run(tmp_path / "b", "tiled_cnn", stopped="seconds", gain=-0.0265)
    said = only(tmp_path / "b").summary
    assert "was trained for a time set beforehand (60 s against 60 s)" in said
    assert "may be chance" in said
    make_run(tmp_path / "c", "superpixel_gnn")
    assert only(tmp_path / "c").summary == ""


def test_few_images_are_said_with_their_range(folder: Path) -> None:
    said = text_of(only(folder))
    images = [
        np.mean([score("superpixel_gnn", s, 50, i) - score("tiled_cnn", s, 50, i) for s in range(6)]) for i in range(4)
    ]
    assert "Only 4 test images: the interval is wide for that reason" in said
    assert (
        f"seen were {100 * min(images):+.1f} to {100 * max(images):+.1f} points, the GNN below the CNN on 4 of 4."
        in said
    )


def test_the_share_of_the_harness_stands_with_the_machine(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", 0, harness_seconds=10.0, process_seconds=100.0)
    make_run(tmp_path, "tiled_cnn", 1, harness_seconds=30.0, process_seconds=100.0)
    make_run(tmp_path, "tiled_cnn", 2, status="failed")
    [section] = gather("r", collect(tmp_path), []).sections
    [machine] = [part for part in section.ends if part.title == "Machine and versions"]
    [share] = [value for name, value in machine.rows if name == "share of a run that is not measured"]
    assert share.startswith("20% (median of 2 runs, 10% to 30%; 20 s)")
    assert harness_share(configurations(collect(tmp_path)).drop(columns="process_seconds")) == ""


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
        "Frontier", "Within the other's budget", "Break-even", "Where the accuracy goes", "What the edges do",
    ]  # fmt: skip
    assert section.front == ()
    assert all(len(row) == len(part.headings) for part in section.answers for row in part.rows)
    assert len(parts["Within the other's budget"].rows) == 6
    assert parts["Break-even"].rows[0][0] == "megapixels per image"
    assert parts["What the edges do"].sentences == (
        "The edges of superpixel_gnn at 200 px do nothing: without them fewer than 0.1 % of the validation nodes "
        "change label.",
    )
    markdown, page = (path.read_text() for path in write_report(tmp_path, tables, []))
    for title in parts:
        assert f"### {title}" in markdown
        assert title.replace("'", "&#x27;") in page


def test_times_that_cannot_be_believed_give_no_break_even_but_the_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", epochs=20)
    make_run(tmp_path, "tiled_cnn", epochs=20, flags="contended: others computed")
    [part] = gather("r", collect(tmp_path), []).sections[0].answers
    assert part.sentences == (
        "Not computed: every run of tiled_cnn that counts is flagged as contended, so its times are too long.",
    )
