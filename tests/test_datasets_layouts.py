"""Folders as people have them: splits as folders, volumes as folders of slices, one folder for both, nnU-Net's root."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.registry import load
from bench.datasets.sample import Splits


def raw(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", **settings))  # type: ignore[arg-type]


def names(splits: Splits) -> dict[str, list[str]]:
    return {split: [sample.name for sample in getattr(splits, split)] for split in ("train", "val", "test")}


def fill(root: Path, keys: Sequence[str], image: str = "images/{}", mask: str = "masks/{}") -> Path:
    """Write an image and a mask for each key, long enough for a strip that validates."""
    for n, key in enumerate(keys):
        sets.write(root / f"{image.format(key)}.png", sets.picture(n, (6, 64)))
        sets.write(root / f"{mask.format(key)}.png", sets.classes((6, 64)))
    return root


# ------------------------------------------------------------------------------------------------ splits as folders


def test_folders_that_are_called_as_splits_are_the_splits(tmp_path: Path) -> None:
    keys = ["train/a", "train/b", "train/x/c", "Validation/d", "test/e", "test/f", "excluded/g"]
    root = fill(tmp_path, keys)
    (root / "masks/excluded/g.png").unlink()
    splits = raw(root)
    assert names(splits) == {
        "train": ["train/a", "train/b", "train/x/c"],
        "val": ["Validation/d"],
        "test": ["test/e", "test/f"],
    }
    assert splits.facts["dataset.split_rule"] == "by the folders Validation, excluded, test, train"
    assert any("folders of the images name the splits: Validation, excluded, test, train" in n for n in splits.notes)


def test_folders_of_training_and_test_images_validate_on_strips(tmp_path: Path) -> None:
    root = fill(tmp_path, ["training/a", "training/b", "testing/c"])
    splits = raw(root)
    assert names(splits) == {
        "train": ["training/a", "training/b"],
        "val": ["training/a_val", "training/b_val"],
        "test": ["testing/c"],
    }
    with pytest.raises(InputError, match=r"by the folders testing, training leaves the split val empty"):
        raw(root, val_strip=0.0)


def test_folders_without_test_images_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, ["train/a", "train/b", "val/c"])
    with pytest.raises(InputError, match=r"by the folders train, val leaves the split test empty"):
        raw(root)


@pytest.mark.parametrize("other", ["extra/d", "d"])
def test_images_beside_folders_of_splits_are_refused(tmp_path: Path, other: str) -> None:
    root = fill(tmp_path, ["train/a", "train/b", "test/c", other])
    with pytest.raises(InputError, match=r"d\.png lies in no folder that names a split.*\(test, train\).*splits\.json"):
        raw(root)


def test_splits_json_outweighs_the_folders(tmp_path: Path) -> None:
    root = fill(tmp_path, ["train/a", "train/b", "test/c"])
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    assert names(raw(root)) == {"train": ["train/a"], "val": ["train/b"], "test": ["test/c"]}


def test_a_folder_of_training_images_alone_is_drawn_from(tmp_path: Path) -> None:
    splits = raw(fill(tmp_path, [f"train/{n}" for n in range(5)]))
    assert [len(images) for images in names(splits).values()] == [3, 1, 1]
    assert splits.facts["dataset.split_rule"] == "by image, seed 0"


# -------------------------------------------------------------------------------------------- folders that are drawn


def test_images_of_one_folder_are_drawn_together(tmp_path: Path) -> None:
    root = fill(tmp_path, [f"v{n % 5}/{n:02d}" for n in range(30)])
    for seed in range(5):
        splits = raw(root, split_seed=seed)
        found = names(splits)
        folders = [{name.rpartition("/")[0] for name in images} for images in found.values()]
        assert [len(images) for images in found.values()] == [18, 6, 6]
        assert not folders[0] & folders[1] and not folders[1] & folders[2] and not folders[0] & folders[2]
        assert splits.facts["dataset.split_rule"] == f"by folder, seed {seed}"
        assert any("drawn by folder (3 train, 1 val, 1 test)" in note for note in splits.notes)


@pytest.mark.parametrize("sizes", [[10, 1, 1], [12, 2, 2, 2, 2], [1, 1, 1], [3, 5, 4, 6, 2, 1]])
def test_no_split_of_folders_is_empty_and_the_largest_folder_trains(tmp_path: Path, sizes: list[int]) -> None:
    root = fill(tmp_path, [f"v{v}/{v}_{n}" for v, size in enumerate(sizes) for n in range(size)])
    for seed in range(5):
        found = names(raw(root, split_seed=seed))
        assert all(found.values())
        assert len(found["train"]) >= sum(sizes) // 3


def test_images_of_few_folders_are_drawn_one_by_one_with_a_note(tmp_path: Path) -> None:
    keys = [f"{folder}/{n}" for folder in ("drug", "ctrl") for n in range(5)]
    splits = raw(fill(tmp_path / "two", keys))
    assert any(
        note.startswith("images of one folder are in different splits: write splits.json") for note in splits.notes
    )
    flat = raw(fill(tmp_path / "flat", [key.replace("/", "_") for key in keys]))
    assert not any("folder" in note for note in flat.notes)
    assert [[n.replace("/", "_") for n in images] for images in names(splits).values()] == list(names(flat).values())


def test_the_draw_of_flat_folders_is_what_it_was(tmp_path: Path) -> None:
    found = names(raw(fill(tmp_path, [f"{n:02d}" for n in range(12)]), split_seed=3))
    assert (found["val"], found["test"]) == (["07", "11"], ["02", "10"])
