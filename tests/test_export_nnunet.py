"""Export in nnU-Net's raw layout: what is read back is what went out, and what nnU-Net cannot take is refused."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bench.cli import run_verb
from bench.config import FolderConfig, InputError
from bench.datasets.folder import load_folder
from bench.datasets.sample import Sample, Splits, Task
from bench.export import nnunet
from bench.export.nnunet import name_cases, write_dataset

SHAPES = {2: (11, 13), 3: (4, 6, 7)}
IGNORED = 9


def sample(name: str, axes: int, channels: int = 2) -> Sample:
    rng = np.random.default_rng(len(name) + ord(name[0]))
    mask = rng.integers(0, 3, SHAPES[axes])
    mask.flat[:2] = IGNORED
    return Sample(name, rng.normal(size=(*mask.shape, channels)).astype(np.float32), mask)


def data_set(axes: int = 2, names: tuple[str, ...] = ("sky", "cell", "wall"), ignored: int | None = IGNORED) -> Splits:
    train, val, test = [sample("a", axes), sample("b/x y", axes)], [sample("c", axes)], [sample("d", axes)]
    return Splits("mine", Task(names, 2, axes, ignored), train, val, test, {})


def read_case(folder: Path, part: str, case: str) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    image = [tifffile.imread(folder / f"images{part}" / f"{case}_{channel:04d}.tif") for channel in range(2)]
    return np.stack(image, axis=-1), tifffile.imread(folder / f"labels{part}" / f"{case}.tif")


@pytest.mark.parametrize("axes", SHAPES)
def test_images_and_masks_that_are_read_back_are_those_that_went_out(axes: int, tmp_path: Path) -> None:
    data, shares = data_set(axes), list[float]()
    write_dataset(data, tmp_path / "out", shares.append, band_values=30)
    cases = [("a", "Tr", data.train[0]), ("b_x_y", "Tr", data.train[1]), ("c", "Tr", data.val[0])]
    for case, part, expected in [*cases, ("d", "Ts", data.test[0])]:
        image, labels = read_case(tmp_path / "out", part, case)
        np.testing.assert_array_equal(image, expected.image)
        np.testing.assert_array_equal(np.where(labels == 3, IGNORED, labels), expected.mask)
        assert labels.dtype == np.uint8
    assert shares == [0.25, 0.5, 0.75, 1.0]
    written = sorted(path.name for path in (tmp_path / "out" / "labelsTr").glob("*.tif"))
    assert written == ["a.tif", "b_x_y.tif", "c.tif"]


@pytest.mark.parametrize(("spacing", "written"), [((2.0, 0.5, 0.5), [2.0, 0.5, 0.5]), (None, [1.0, 1.0, 1.0])])
def test_the_length_of_voxels_lies_beside_images_and_labels(
    spacing: tuple[float, ...] | None, written: list[float], tmp_path: Path
) -> None:
    """As nnU-Net's Tiff3DIO looks for it: a JSON file called as the case is, without the number of the channel."""
    data = data_set(3)
    write_dataset(replace(data, task=replace(data.task, spacing=spacing)), tmp_path / "out", lambda _: None)
    for part, cases in (("Tr", ["a", "b_x_y", "c"]), ("Ts", ["d"])):
        for folder in ("images", "labels"):
            for case in cases:
                path = tmp_path / "out" / f"{folder}{part}" / f"{case}.json"
                assert json.loads(path.read_text(encoding="utf-8")) == {"spacing": written}
    write_dataset(data_set(2), tmp_path / "flat", lambda _: None)
    assert not list((tmp_path / "flat").glob("*/*.json"))


@pytest.mark.parametrize("axes", SHAPES)
def test_the_description_counts_labels_and_images_as_nnunet_does(axes: int, tmp_path: Path) -> None:
    write_dataset(data_set(axes), tmp_path / "out", lambda _: None)
    description, splits = (
        json.loads((tmp_path / "out" / name).read_text(encoding="utf-8"))
        for name in ("dataset.json", "splits_final.json")
    )
    assert description["labels"] == {"background": 0, "cell": 1, "wall": 2, "ignore": 3}
    assert description["channel_names"] == {"0": "noNorm", "1": "noNorm"}, "values are those that the arms see"
    assert (description["numTraining"], description["file_ending"]) == (3, ".tif")
    assert description["overwrite_image_reader_writer"] == ("NaturalImage2DIO" if axes == 2 else "Tiff3DIO")
    assert splits == [{"train": ["a", "b_x_y"], "val": ["c"]}]


def test_without_ignored_pixels_there_is_no_label_for_them() -> None:
    assert "ignore" not in nnunet.describe_dataset(data_set(ignored=None))["labels"]


@pytest.mark.parametrize(
    ("names", "wrong"),
    [(("a", "ignore", "b"), "'ignore'"), (("a", "b", "background"), "'background'"), (("a", "b", "b"), "different")],
)
def test_names_that_mean_something_else_to_nnunet_are_refused(names: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        nnunet.describe_dataset(data_set(names=names))


def test_images_that_would_overwrite_one_another_are_refused() -> None:
    with pytest.raises(InputError, match="a b would be exported as a_b"):
        name_cases([sample("a/b", 2), sample("a b", 2)])


def test_the_command_exports_a_folder_that_the_folder_reader_takes_back(tmp_path: Path) -> None:
    from support import folder_sets

    root, out = folder_sets.make(tmp_path / "mine"), tmp_path / "Dataset501_mine"
    words = ["dataset=folder", f"dataset.root={root}", "dataset.normalization=none"]
    assert run_verb("export", [f"out={out}", *words]) == 0
    settings = FolderConfig(root=str(root), normalization="none")
    back = FolderConfig(
        root=str(out), images="imagesTr", masks="labelsTr", image_names=["*_0000"], normalization="none"
    )
    before, after = load_folder(settings), load_folder(back)
    known = {sample.name: sample for sample in (*before.train, *before.val)}
    found = {sample.name: sample for sample in (*after.train, *after.val, *after.test)}
    assert set(found) == set(known)
    for name, again in found.items():
        np.testing.assert_array_equal(np.asarray(again.image), np.asarray(known[name].image))
        np.testing.assert_array_equal(np.asarray(again.mask), np.asarray(known[name].mask))


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["out=nuclei"], "Dataset501_nuclei"),
        (["out=nowhere/Dataset501_a"], "nowhere is not a folder"),
        (["out=Dataset501_a", "format=coco"], "format"),
        (["out=Dataset501_a", "dataset.rot=x"], "dataset.rot"),
        (["out=Dataset501_a", "dataset=folder,nuclei"], "dataset"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    words: list[str], wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=wrong):
        run_verb("export", words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only there room is set aside")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a mapped file that has no room on the disk ends the process without a word: it is reserved before."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(nnunet, "load", lambda _: data_set())
    with pytest.raises(InputError, match=r"Dataset501_full cannot be written: No space left on device"):
        nnunet.main(nnunet.ExportConfig(out=str(tmp_path / "Dataset501_full")), FolderConfig(root=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
