"""Folders as people have them: splits as folders, volumes as folders of slices, one folder for both, nnU-Net's root."""

import json
import re
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


def test_folders_of_splits_beside_the_folder_of_images_are_refused(tmp_path: Path) -> None:
    """As in a download with training images in images/ and others in test/images: neither goes unnoticed."""
    root = fill(tmp_path, ["a", "b", "c"])
    fill(root / "test", ["d"])
    with pytest.raises(InputError, match=r"holds images/ and test/images: .* into train/"):
        raw(root)
    (root / "images").rename(root / "train_images")
    assert names(raw(root, images="train_images"))["train"], "a folder named by the user is meant"
    (root / "train_images").rename(root / "images")
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    assert names(raw(root)) == {"train": ["a"], "val": ["b"], "test": ["c"]}


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
        assert sum(map(len, folders)) == len(set().union(*folders))
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


# ------------------------------------------------------------------------------------------- masks in other folders


def test_a_mask_in_another_folder_is_missing(tmp_path: Path) -> None:
    root = fill(tmp_path, [f"{folder}/{folder}{n}" for folder in "AB" for n in range(3)])
    (root / "masks/A/A2.png").rename(root / "masks/B/A2.png")
    with pytest.raises(
        InputError, match=r"images/A/A2\.png has no mask: .*masks/B/A2\.png lies in another folder: put"
    ):
        raw(root)


@pytest.mark.parametrize(("image", "mask"), [("images/x/{}", "masks/{}"), ("images/{}", "masks/y/{}")])
def test_one_side_may_be_flat(tmp_path: Path, image: str, mask: str) -> None:
    assert len(raw(fill(tmp_path, [f"a{n}" for n in range(5)], image, mask)).train) == 3


# ------------------------------------------------------------------------------------------------ layouts of others


def read_proposal(sentence: str) -> dict[str, object]:
    """The settings that a sentence names, as the command line reads them."""
    words = [word.strip("'") for word in re.findall(r"'dataset\.[^']*'|dataset\.[^ ;]*", sentence.split(": set ")[1])]
    settings = dict(word.removeprefix("dataset.").split("=") for word in words)
    return {name: v.strip("[]").split(",") if name == "image_names" else v for name, v in settings.items()}


def test_splits_with_images_and_masks_each_are_read(tmp_path: Path) -> None:
    keys = [("train", "a"), ("train", "b"), ("val", "a"), ("test", "a"), ("test", "sub/a")]
    for n, (split, key) in enumerate(keys):
        sets.write(tmp_path / split / "images" / f"{key}.png", sets.picture(n, (6, 64)))
        sets.write(tmp_path / split / "masks" / f"{key}.png", sets.classes((6, 64)))
    (tmp_path / "train" / "images" / "notes.txt").touch()
    splits = raw(tmp_path)
    assert names(splits) == {"train": ["train/a", "train/b"], "val": ["val/a"], "test": ["test/a", "test/sub/a"]}
    assert any("{test,train,val}/images holds 1 file: notes.txt: left out" in note for note in splits.notes)
    (tmp_path / "fold2" / "images").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"fold2 holds images/ and names no split: call it train, val, test or exclude"
    ):
        raw(tmp_path)
    (tmp_path / "fold2" / "images").rmdir()
    (tmp_path / "test" / "masks").rename(tmp_path / "test" / "1st_manual")
    with pytest.raises(
        InputError, match=r"test/masks is not a folder: .*dataset\.masks=masks.* holds 1st_manual, images$"
    ):
        raw(tmp_path)
    (tmp_path / "train" / "masks").rename(tmp_path / "train" / "1st_manual")
    (tmp_path / "val" / "masks").rename(tmp_path / "val" / "1st_manual")
    assert names(raw(tmp_path, masks="1st_manual")) == names(splits)


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        (
            "imagesTr/{}_0000",
            "labelsTr/{}",
            "dataset.images=imagesTr dataset.masks=labelsTr 'dataset.image_names=[*_0000]'",
        ),
        ("raw/{}", "labels/{}", "dataset.images=raw dataset.masks=labels"),
        (
            "01/t{}",
            "01_GT/SEG/man_seg{}",
            "dataset.images=01 dataset.masks=01_GT 'dataset.image_names=[t*]' 'dataset.mask_name=man_seg*'",
        ),
        ("images/{}", "GT/{}_m", "dataset.images=images dataset.masks=GT 'dataset.mask_name=*_m'"),
        (
            "{}_img",
            "{}_masks",
            "dataset.images=. dataset.masks=. 'dataset.image_names=[*_img]' 'dataset.mask_name=*_masks'",
        ),
        ("{}", "{}_seg", "dataset.images=. dataset.masks=. 'dataset.mask_name=*_seg'"),
        (
            "train/{}_img",
            "train/{}_masks",
            "dataset.images=. dataset.masks=. 'dataset.image_names=[*_img]' 'dataset.mask_name=*_masks'",
        ),
    ],
)
def test_settings_are_named_for_other_layouts_and_read_them(
    tmp_path: Path, image: str, mask: str, sentence: str
) -> None:
    root = fill(tmp_path, [f"0{n}" for n in range(5)], image, mask)
    with pytest.raises(InputError, match=r"(images|masks) is not a folder") as caught:
        raw(root)
    assert str(caught.value).endswith(f": set {sentence}")
    assert len(raw(root, **read_proposal(str(caught.value))).train) == 3


def test_several_channels_of_nnunet_are_named_with_the_images_that_are_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path, [f"c{n}" for n in range(5)], "imagesTr/{}_0000", "labelsTr/{}")
    for n in range(5):
        sets.write(root / "imagesTr" / f"c{n}_0001.png", sets.picture(10 + n, (6, 64)))
    sets.write(root / "imagesTs" / "c9_0000.png", sets.picture(19, (6, 64)))
    with pytest.raises(InputError, match=r"training images, and imagesTs is left out") as caught:
        raw(root)
    assert raw(root, **read_proposal(str(caught.value))).task.in_channels == 2


def test_a_folder_for_each_image_is_explained(tmp_path: Path) -> None:
    for n in range(3):
        fill(tmp_path / f"cell{n}", [f"x{n}"])
    with pytest.raises(
        InputError, match=r"each image has a folder of its own: .*docs/your-images\.md shows how to merge"
    ):
        raw(tmp_path)


def test_where_nothing_fits_a_table_is_named(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b", "c"], "one/{}", "two/{}x")
    with pytest.raises(InputError, match=r"\(.* holds one, two\).*columns image,mask,split, as in dataset\.manifest="):
        raw(root)


# ---------------------------------------------------------------------------------------------- one folder for both


BOTH: dict[str, object] = {"images": ".", "masks": "."}
PATTERNS = "'dataset.image_names=[*_img]' 'dataset.mask_name=*_masks'"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, r"00_img\.png is its own mask: set "),
        ({"mask_name": "*_masks"}, r"has no mask \(nor have 9 others\): set "),
        ({"image_names": ["*_img"]}, r"has no mask \(nor have 4 others\): set "),
    ],
)
def test_patterns_are_proposed_for_one_folder(tmp_path: Path, settings: dict[str, object], sentence: str) -> None:
    root = fill(tmp_path, [f"0{n}" for n in range(5)], "{}_img", "{}_masks")
    for n in range(5):
        sets.write(root / f"0{n}_flows.png", sets.picture(20 + n, (6, 64)))
    with pytest.raises(InputError, match=sentence) as caught:
        raw(root, **BOTH, **settings)
    assert str(caught.value).endswith(PATTERNS)
    splits = raw(root, **BOTH, **read_proposal(str(caught.value)))
    assert sorted(name for images in names(splits).values() for name in images) == ["00", "01", "02", "03", "04"]
    [left] = [note for note in splits.notes if "left out" in note]
    assert left.endswith("03_flows.png, 04_flows.png: left out, for dataset.image_names does not name them")


def test_names_that_no_pattern_tells_apart_need_a_table(tmp_path: Path) -> None:
    root = fill(tmp_path, ["Image_01L", "Image_01R", "Image_02L"], "{}", "{}_1stHO")
    with pytest.raises(InputError, match=r"is its own mask: a data set has one .* columns image,mask,split"):
        raw(root, **BOTH)
    assert len(raw(root, **BOTH, mask_name="*_1stHO").train) == 1
    sets.write(root / "Image_01L_2ndHO.png", sets.classes((6, 64)))
    with pytest.raises(InputError, match=r"Image_01L_2ndHO\.png has no mask: .* or move the image away, or name it"):
        raw(root, **BOTH, mask_name="*_1stHO")


def test_a_dot_for_both_folders_names_the_folders_that_are_there(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b", "c"])
    with pytest.raises(InputError, match=r"is its own mask: set dataset\.images=images dataset\.masks=masks$"):
        raw(root, **BOTH)
    with pytest.raises(InputError, match=r"is its own mask: set dataset\.masks to the folder of the masks, or pair"):
        raw(root, masks="images")


@pytest.mark.parametrize(
    ("settings", "bare"),
    [({"image_names": ["*_img.png"]}, r"\*_img instead"), ({"mask_name": "*_masks.PNG"}, r"\*_masks instead")],
)
def test_a_pattern_with_a_suffix_is_refused_with_the_pattern_that_fits(
    tmp_path: Path, settings: dict[str, object], bare: str
) -> None:
    root = fill(tmp_path, ["a", "b", "c"], "{}_img", "{}_masks")
    with pytest.raises(InputError, match=r"names are compared without their suffix: write " + bare):
        raw(root, **BOTH, **settings)


# ------------------------------------------------------------------------------------------------------------- notes


def test_a_missing_mask_names_the_ways_out(tmp_path: Path) -> None:
    root = fill(tmp_path, [f"{n}" for n in range(6)])
    (root / "masks/5.png").unlink()
    with pytest.raises(
        InputError, match=r'5\.png has no mask: a file called 5 with .* under "excluded" in splits\.json'
    ):
        raw(root)


def test_files_that_are_read_are_not_listed_as_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b", "c"], "{}")
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    assert not [note for note in raw(root, images=".").notes if "left out" in note]
    (root / "other.json").touch()
    assert any("1 file: other.json: left out" in note for note in raw(root, images=".").notes)


def test_masks_that_are_used_are_not_listed_as_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b", "c"], "{}_img", "{}")
    assert not [note for note in raw(root, **BOTH, image_names=["*_img"]).notes if "left out" in note]


def test_a_volume_that_does_not_say_how_long_its_voxels_are_is_named(tmp_path: Path) -> None:
    for n in range(4):
        sets.write(tmp_path / f"masks/{n}.tif", sets.classes((4, 6, 64)))
        about = {"axes": "ZYX"} | ({} if n == 2 else {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5})
        place = tmp_path / "images" / f"{n}.ome.tif"
        sets.write(place, sets.picture(n, (4, 6, 64)), metadata=about)
    [note] = [note for note in raw(tmp_path).notes if "voxel" in note]
    assert note.startswith("the length of a voxel along every axis does not stand in 1 file: 2.ome.tif: in all volumes")
    sets.write(tmp_path / "images" / "2.ome.tif", sets.picture(2, (4, 6, 64)), metadata=about)
    assert any("voxels are 2 x 0.5 x 0.5" in note for note in raw(tmp_path).notes)
