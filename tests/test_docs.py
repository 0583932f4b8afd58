"""README and docs hold what they promise: every command composes, every setting exists, every link leads somewhere."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from support import folder_sets
from support.documents import DOCUMENTS, list_anchors, read_blocks, read_commands, read_links, read_settings
from support.source import ROOT

from bench import cli
from bench.config import FolderConfig, InputError
from bench.datasets.registry import load
from bench.settings import list_settings
from bench.settings import read_settings as read_verb_settings
from bench.sweeps.overrides import list_choices, list_known_settings

if TYPE_CHECKING:
    from support.fill_docs import REFERENCE, fill_pages, read_tables
    from support.settings_page import PAGE, build_page

    from bench.sweeps.compose import CONF, compose, prepare_words
    from bench.sweeps.experiments import expand_experiment
    from bench.sweeps.launch import compose_launcher, split_words


PLACEHOLDERS = ("path/to/folder",)  # folders of images and masks that the reader has
PYTHON = ("python", "-m", "bench")
OTHERS = ("name", "banded", "metadata")  # a placeholder, arguments of functions
LONGEST = 150  # lines of README.md


def make_folder(root: Path, words: list[str]) -> Path:
    """A tiny data set with masks such as the settings of a command expect."""
    folder_sets.make(root)
    if any("128:1" in word for word in words):
        for path in (root / "masks").iterdir():
            folder_sets.write(path, folder_sets.classes() * np.uint8(128))
    return root


def check_verb(verb: str, words: list[str]) -> None:
    """Read the settings of a verb. Raises InputError."""
    own, chosen = cli.split_dataset_words(words) if cli.VERBS[verb].reads_dataset else (words, [])
    if words != ["--help"]:
        read_verb_settings(cli.VERBS[verb].load()[1], own, verb)
        prepare_words(chosen)


def check_run(words: list[str], tmp_path: Path) -> None:
    """Compose a run of a command line; load the user's data set, as a sweep does before it starts.

    All runs of every experiment are composed in `test_cli`.
    """
    folder = make_folder(tmp_path / "set", words)
    words = [word.replace(place, str(folder)) for word in words for place in PLACEHOLDERS]
    what, how = split_words(prepare_words(words))
    jobs = compose(what)
    compose_launcher(how, "", None)
    assert jobs
    for data in [job.config.dataset for job in jobs if isinstance(job.config.dataset, FolderConfig)][:1]:
        assert len(load(data).test) == 1


@pytest.mark.parametrize("words", read_commands(), ids=" ".join)
def test_every_command_is_one(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setattr("bench.sweeps.compose.expand_experiment", lambda *given: expand_experiment(*given)[:1])
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(rest) <= set(targets)
    elif program == "source":
        assert rest == [".venv/bin/activate"]
    else:
        assert tuple(words[:3]) == PYTHON, f"a command that no test knows: {words}"
        arguments = words[3:]
        if arguments and arguments[0] in cli.VERBS:
            check_verb(arguments[0], arguments[1:])
        elif arguments:
            check_run(arguments, tmp_path)


def test_a_command_with_a_misspelt_setting_would_be_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="superpixel_size"):
        check_run(["superpixels.superpixelsize=30"], tmp_path)
    with pytest.raises(InputError, match="imag"):
        check_verb("predict", ["run=a", "imag=b", "out=c"])


def test_every_setting_that_is_named_exists() -> None:
    choices = list_choices([CONF])
    verbs = {setting.name for verb in cli.VERBS.values() for setting in list_settings(verb.load()[1])}
    added = {"linknet_resnet18", "le"}  # what docs/add-your-own.md adds; its own tests compose them
    settings = list(read_settings())
    assert len(settings) > 30
    for document, name, value in settings:
        assert name in {*list_known_settings(), *choices, *verbs, *OTHERS}, f"{document}: {name}"
        if name in choices and value:
            assert {*value.split(",")} <= {*choices[name], *added}, f"{document}: {name}={value}"


def test_links_lead_somewhere() -> None:
    links = [(document, *link) for document in DOCUMENTS for link in read_links(document)]
    assert len(links) > 15
    for document, target, anchor in links:
        assert target.exists(), f"{document.name}: {target}"
        assert anchor is None or anchor in list_anchors(target), f"{document.name}: #{anchor}"


def test_the_page_of_settings_is_what_the_dataclasses_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == build_page(), "write it again: python -m tests.support.settings_page"


def test_numbers_in_the_text_are_those_of_the_tables() -> None:
    pages = fill_pages()
    assert {page.name for page in pages} == {"README.md", "results.md", "benchmarks.md"}
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: fill it again: make docs"


def test_a_table_is_of_one_version() -> None:
    folders = sorted(path.parent.name for path in REFERENCE.glob("*/tables"))
    assert len(folders) > 3
    for folder in folders:
        assert read_tables(folder).runs["git_commit"].nunique() == 1, folder


def test_every_setting_of_a_run_is_explained() -> None:
    assert not [line for line in build_page().splitlines() if line.endswith("|  |")]


def test_readme_is_short_and_its_answer_is_marked() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert text.count("<!-- answer -->") == text.count("<!-- /answer -->") == 1
    for command in ("make bench", "make test"):
        assert text.index(command) < text.index("<!-- answer -->")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_superpixel_size_is_said_to_be_an_area(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not re.search(r"\d px\b", text), "write pixels; of superpixels: 30 pixels (about 5 x 5)"
    first = re.search(r"superpixels of (\d+) pixels", text, re.IGNORECASE)
    assert first is None or re.match(r" \(.*\d x \d", text[first.end() :])


def test_the_examples_of_splits_are_json() -> None:
    text = (ROOT / "docs" / "your-images.md").read_text(encoding="utf-8")
    example = re.search(r"`(\{\"train\".*?\})`", text)
    assert example is not None
    assert set(json.loads(example[1].replace(", ...]", "]").replace("[...]", "[]"))) == {
        *("train", "val", "test", "excluded")
    }


def test_the_lines_that_merge_masks_of_objects_give_a_set_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block, _] = read_blocks(ROOT / "docs" / "your-images.md", "python")
    monkeypatch.chdir(tmp_path)
    for n in range(5):
        folder, pixels = tmp_path / "path" / "to" / "cells" / f"c{n}", np.zeros((3, 8, 64), np.uint8)
        pixels[0, 2:4, 2:4] = pixels[1, 5:7, 5 : 9 + n] = pixels[2, 2:4, 20:24] = 255
        folder_sets.write(folder / "images" / f"c{n}.png", folder_sets.picture(n, (8, 64)))
        for number, mask in enumerate(pixels[: 2 + n % 2]):
            folder_sets.write(folder / "masks" / f"{number}.png", mask)
    exec(block.text, {})
    splits = load(FolderConfig(root="merged", mask_values="foreground"))
    assert (len(splits.train), splits.task.num_classes) == (3, 2)
    numbers = {path.name: np.unique(np.asarray(Image.open(path))).tolist() for path in Path("merged/masks").iterdir()}
    assert numbers == {f"c{n}.png": list(range(3 + n % 2)) for n in range(5)}


def test_the_lines_of_pandas_read_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    [_, block] = read_blocks(ROOT / "docs" / "your-images.md", "python")
    assert len(block.text.splitlines()) == 7
    tables = ROOT / "results" / "reference" / "quick" / "tables"
    exec(block.text.replace("results/headline/tables", tables.as_posix()), {})
    printed = capsys.readouterr().out
    assert {"tiled_cnn", "superpixel_gnn", "4.0"} <= set(printed.split())
