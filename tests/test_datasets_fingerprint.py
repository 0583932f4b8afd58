"""A data set is read once per results folder: what is remembered is what was read, and what changed is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets import fingerprint
from bench.datasets.inspection import inspect
from bench.datasets.manifest import ManifestEntry
from bench.datasets.registry import load
from bench.datasets.sample import Splits

if TYPE_CHECKING:
    import zarr


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The stems of the images that are inspected, and the names of the files that are hashed, in order."""
    calls: dict[str, list[str]] = {"inspected": [], "hashed": []}
    hash_source = fingerprint.hash_source

    def count_inspect(entry: ManifestEntry, config: FolderConfig) -> Any:
        calls["inspected"].append(entry.name)
        return inspect(entry, config)

    def count_hash(path: Path) -> str:
        calls["hashed"].append(path.name)
        return hash_source(path)

    monkeypatch.setattr(fingerprint, "inspect", count_inspect)
    monkeypatch.setattr(fingerprint, "hash_source", count_hash)
    return calls


def take(calls: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """What was inspected and hashed since the last time, sorted."""
    taken = sorted(calls["inspected"]), sorted(calls["hashed"])
    for names in calls.values():
        names.clear()
    return taken


def settle(results: Path, **sources: Any) -> Path:
    """Let the fingerprint be as old as if the files had been at rest when they were read; returns its path."""
    [path] = results.glob("fingerprint-*.json")
    content = json.loads(path.read_text())
    for image in content["images"].values():
        for state in image["sources"].values():
            state.update({"seen": state["seen"] + 10**10} | sources)
    path.write_text(json.dumps(content))
    return path


def same(one: Splits, two: Splits) -> None:
    assert (one.task, one.facts, one.notes, one.proposals, one.name) == (
        two.task,
        two.facts,
        two.notes,
        two.proposals,
        two.name,
    )
    for left, right in zip((*one.train, *one.val, *one.test), (*two.train, *two.val, *two.test), strict=True):
        assert left.name == right.name
        np.testing.assert_array_equal(np.asarray(left.image), np.asarray(right.image))
        np.testing.assert_array_equal(np.asarray(left.mask), np.asarray(right.mask))


@pytest.mark.parametrize("normalization", ["per_image", "centred", "dataset", "none"])
def test_what_is_remembered_is_what_was_read(tmp_path: Path, normalization: str) -> None:
    config = FolderConfig(root=str(sets.make(tmp_path / "set", ".tif", (6, 8, 3))), normalization=normalization)
    results = tmp_path / "results" / "sweep"
    plain, first, second = load(config), load(config, results), load(config, results)
    same(plain, first)
    same(first, second)


def test_files_at_rest_are_neither_decoded_nor_hashed_again(tmp_path: Path, counted: dict[str, list[str]]) -> None:
    config, results = FolderConfig(root=str(sets.make(tmp_path / "set"))), tmp_path / "results"
    load(config, results)
    inspected, hashed = take(counted)
    assert (inspected, len(hashed)) == (list("abcde"), 10)
    settle(results)
    load(config, results)
    assert take(counted) == ([], [])
    load(replace(config, normalization="centred", class_names=["x", "y"]), results)
    assert take(counted) == ([], [])


def test_files_that_changed_just_before_they_were_read_are_hashed(
    tmp_path: Path, counted: dict[str, list[str]]
) -> None:
    config, results = FolderConfig(root=str(sets.make(tmp_path / "set"))), tmp_path / "results"
    load(config, results)
    take(counted)
    load(config, results)
    inspected, hashed = take(counted)
    assert (inspected, len(hashed)) == ([], 10)


def test_a_file_that_was_touched_is_hashed_and_one_that_changed_is_read(
    tmp_path: Path, counted: dict[str, list[str]]
) -> None:
    root, results = sets.make(tmp_path / "set"), tmp_path / "results"
    config = FolderConfig(root=str(root))
    content = load(config, results).facts["dataset.content"]
    settle(results)
    take(counted)
    os.utime(root / "images" / "b.png")
    assert load(config, results).facts["dataset.content"] == content
    assert take(counted) == ([], ["b.png"])
    sets.write(root / "images" / "b.png", sets.picture(77))
    os.utime(root / "images" / "b.png", ns=(10**18, 10**18))
    changed = load(config, results)
    assert take(counted)[0] == ["b"]
    assert changed.facts["dataset.content"] != content
    np.testing.assert_array_equal(np.asarray(changed.train[1].image), np.asarray(load(config).train[1].image))


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_of_the_same_size_and_time_is_noticed(tmp_path: Path, keep_times: bool) -> None:
    """As after `cp -p` or `rsync -t`: the time of the change of the file itself still tells."""
    root, results = sets.make(tmp_path / "set", ".tif"), tmp_path / "results"
    config = FolderConfig(root=str(root))
    content = load(config, results).facts["dataset.content"]
    settle(results)
    path = root / "images" / "b.tif"
    before = path.stat()
    sets.write(path, sets.picture(55))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert load(config, results).facts["dataset.content"] != content


def test_a_chunk_of_a_store_is_watched(tmp_path: Path) -> None:
    root, results = sets.make(tmp_path / "set"), tmp_path / "results"
    (root / "images" / "b.png").unlink()
    array: Any = zarr.create_array(root / "images" / "b.zarr", shape=(6, 8), chunks=(3, 4), dtype="uint8")
    array[...] = sets.picture(1)
    config = FolderConfig(root=str(root))
    content = load(config, results).facts["dataset.content"]
    settle(results)
    array[:3, :4] = 7
    assert load(config, results).facts["dataset.content"] != content


def test_new_images_are_read_and_lost_ones_forgotten_by_the_split(
    tmp_path: Path, counted: dict[str, list[str]]
) -> None:
    root, results = sets.make(tmp_path / "set"), tmp_path / "results"
    config = FolderConfig(root=str(root))
    load(config, results)
    settle(results)
    take(counted)
    sets.write(root / "images" / "f.png", sets.picture(9))
    sets.write(root / "masks" / "f.png", sets.classes())
    (root / "splits.json").write_text(json.dumps({"train": ["b", "c", "f"], "val": ["d"], "test": ["e", "a"]}))
    splits = load(config, results)
    assert take(counted)[0] == ["f"]
    assert [sample.name for sample in splits.test] == ["a", "e"]


@pytest.mark.parametrize("settings", [{"ignore_index": 255}, {"mask_values": {0: 0, 1: 1}}, {"max_pixels": 100}])
def test_settings_that_change_what_is_read_have_a_fingerprint_of_their_own(
    tmp_path: Path, settings: dict[str, Any], counted: dict[str, list[str]]
) -> None:
    config, results = FolderConfig(root=str(sets.make(tmp_path / "set"))), tmp_path / "results"
    load(config, results)
    take(counted)
    load(replace(config, **settings), results)
    assert take(counted)[0] == list("abcde")
    assert len(list(results.glob("fingerprint-*.json"))) == 2


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no images": lambda content: content.pop("images"),
    "images of another kind": lambda content: content.update(images=3),
    "an image without a shape": lambda content: next(iter(content["images"].values()))["found"].pop("shape"),
    "a number type that is none": lambda content: next(iter(content["images"].values()))["found"].update(dtype="x"),
    "no sources": lambda content: next(iter(content["images"].values())).pop("sources"),
    "a source without a hash": lambda content: [
        state.pop("sha256") for image in content["images"].values() for state in image["sources"].values()
    ],
}


@pytest.mark.parametrize("damage", [*DAMAGES, "no json"])
def test_a_damaged_fingerprint_is_made_anew(tmp_path: Path, damage: str) -> None:
    config, results = FolderConfig(root=str(sets.make(tmp_path / "set"))), tmp_path / "results"
    first = load(config, results)
    path = settle(results)
    content = json.loads(path.read_text())
    if damage == "no json":
        path.write_text("{")
    else:
        DAMAGES[damage](content)
        path.write_text(json.dumps(content))
    same(first, load(config, results))
    assert json.loads(path.read_text())["summary"]["class_shares"] == {"class_0": 0.5, "class_1": 0.5}


def test_the_summary_says_what_the_images_are(tmp_path: Path) -> None:
    config, results = FolderConfig(root=str(sets.make(tmp_path / "set", ".tif", dtype=np.uint16))), tmp_path / "results"
    facts = load(config, results).facts
    [path] = results.glob("fingerprint-*.json")
    summary = json.loads(path.read_text())["summary"]
    assert summary["dataset.content"] == facts["dataset.content"]
    assert (summary["shapes"], summary["number_types"], summary["channels"]) == ([[6, 8]], ["uint16"], 1)
    pixels = [sets.picture(n, dtype=np.uint16) for n in range(5)]
    assert (summary["lowest"], summary["highest"]) == ([np.min(pixels)], [np.max(pixels)])


def test_a_data_set_that_is_refused_leaves_no_fingerprint(tmp_path: Path) -> None:
    root = sets.make(tmp_path / "set")
    sets.write(root / "images" / "e.png", sets.picture(0))
    with pytest.raises(InputError, match="hold the same pixels"):
        load(FolderConfig(root=str(root)), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match=r"results_dir .*results is a file: choose a folder"):
        load(FolderConfig(root=str(sets.make(tmp_path / "set"))), tmp_path / "results")
