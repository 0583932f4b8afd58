"""Names as people give them: suffixes, folders, umlauts, spreadsheets; what is left out is said, leaks are refused."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.listing import extract_name, propose_patterns
from bench.datasets.registry import load
from bench.datasets.sample import Splits

ROWS = [("a", "train"), ("b", "train"), ("c", "train"), ("d", "val"), ("e", "test")]


def raw(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", **settings))  # type: ignore[arg-type]


def names(splits: Splits) -> dict[str, list[str]]:
    return {split: [sample.name for sample in getattr(splits, split)] for split in ("train", "val", "test")}


def renamed(root: Path, folder: str, prefix: str = "", suffix: str = "") -> None:
    for path in list((root / folder).iterdir()):
        path.rename(path.with_name(f"{prefix}{path.stem}{suffix}{path.suffix}"))


# -------------------------------------------------------------------------------------------------- names of masks


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("", "_mask"), ("", "_seg"), ("", "-labels"), ("man_seg", ""), ("m_", "_1")]
)
def test_a_name_of_masks_is_proposed_and_read(tmp_path: Path, prefix: str, suffix: str) -> None:
    root = sets.make(tmp_path)
    renamed(root, "masks", prefix, suffix)
    with pytest.raises(
        InputError, match=r"a\.png has no mask \(nor have 4 others\): set 'dataset.mask_name="
    ) as caught:
        raw(root)
    proposed = str(caught.value).split("dataset.mask_name=")[1].rstrip("'")
    assert proposed == f"{prefix}*{suffix}"
    assert names(raw(root, mask_name=proposed)) == sets.SPLITS


@pytest.mark.parametrize(
    ("images", "masks", "settings"),
    [
        (["s1_img", "s2_img"], ["s1_mask", "s2_mask"], "'dataset.image_names=[*_img]' 'dataset.mask_name=*_mask'"),
        (["t000", "t001"], ["man_seg000", "man_seg001"], "'dataset.image_names=[t*]' 'dataset.mask_name=man_seg*'"),
        (["s1_0000", "s2_0000"], ["s1", "s2"], "'dataset.image_names=[*_0000]'"),
        (["s1_0000", "s1_0001", "s2_0000", "s2_0001"], ["s1", "s2"], "'dataset.image_names=[*_0000,*_0001]'"),
        (["ctrl/s1", "drug/s1"], ["ctrl/s1_m", "drug/s1_m"], "'dataset.mask_name=*_m'"),
        (["s1", "s2"], ["x", "y"], ""),
    ],
)
def test_patterns_are_proposed_for_either_side(images: list[str], masks: list[str], settings: str) -> None:
    assert propose_patterns(images, masks) == settings


@pytest.mark.parametrize(
    ("pattern", "key", "name"),
    [("*", "a", "a"), ("*_m", "x/a_m", "x/a"), ("*_m", "_m", None), ("p*", "q", None), ("a*a", "aa", None)],
)
def test_a_pattern_names_what_its_star_stands_for(pattern: str, key: str, name: str | None) -> None:
    assert extract_name(pattern, key) == name


def test_channels_in_files_of_their_own_are_joined(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for n, stem in enumerate(sets.STEMS):
        (root / "images" / f"{stem}.png").rename(root / "images" / f"{stem}_0000.png")
        sets.write(root / "images" / f"{stem}_0001.png", sets.picture(10 + n))
    splits = raw(root, image_names=["*_0000", "*_0001"])
    assert (names(splits), splits.task.in_channels) == (sets.SPLITS, 2)
    np.testing.assert_allclose(splits.train[1].image[2:4, 3:, 1] * 255, sets.picture(11)[2:4, 3:], rtol=1e-6)
    np.testing.assert_allclose(splits.train[1].image[..., 0] * 255, sets.picture(1), rtol=1e-6)
    content = splits.facts["dataset.content"]
    sets.write(root / "images" / "b_0001.png", sets.picture(77))
    assert raw(root, image_names=["*_0000", "*_0001"]).facts["dataset.content"] != content
    assert any("left out, for dataset.image_names" in note for note in raw(root, image_names=["*_0000"]).notes)
    (root / "images" / "c_0001.png").unlink()
    with pytest.raises(InputError, match="holds no c_0001 for the image c"):
        raw(root, image_names=["*_0000", "*_0001"])


def test_images_and_masks_in_one_folder(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for path in list((root / "masks").iterdir()):
        path.rename(root / "images" / f"{path.stem}_masks.png")
    splits = raw(root, masks="images", mask_name="*_masks")
    assert names(splits) == sets.SPLITS
    assert not [note for note in splits.notes if "left out" in note]


@pytest.mark.parametrize("pattern", ["mask", "*_*", "a/*"])
def test_a_pattern_has_one_star(pattern: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.mask_name must hold one \*"):
        FolderConfig(root="x", mask_name=pattern)
    with pytest.raises(InputError, match=r"dataset\.image_names must hold one \*"):
        FolderConfig(root="x", image_names=["*", pattern])


# ------------------------------------------------------------------------------------------------ folders and letters


def test_images_in_class_folders_keep_the_folder_in_their_name(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "splits.json").unlink()
    for folder in ("images", "masks"):
        for stem, place in zip("abcde", ("ctrl", "ctrl", "drug", "drug", ""), strict=True):
            target = root / folder / place / ("x.png" if stem in "ac" else f"{stem}.png")
            target.parent.mkdir(exist_ok=True)
            (root / folder / f"{stem}.png").rename(target)
    found = names(raw(root))
    assert sorted(name for split in found.values() for name in split) == ["ctrl/b", "ctrl/x", "drug/d", "drug/x", "e"]
    lists = {"train": ["ctrl/x", "b", "drug/d.png"], "val": ["images/drug/x.png"], "test": ["e"]}
    (root / "splits.json").write_text(json.dumps(lists))
    assert names(raw(root)) == {"train": ["ctrl/b", "ctrl/x", "drug/d"], "val": ["drug/x"], "test": ["e"]}


def test_class_folders_of_images_may_have_one_folder_of_masks(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for stem in "abcde":
        (root / "images" / stem).mkdir()
        (root / "images" / f"{stem}.png").rename(root / "images" / stem / f"{stem}.png")
    splits = raw(root)
    assert names(splits)["train"] == ["a/a", "b/b", "c/c"]
    np.testing.assert_array_equal(splits.train[0].mask[...], sets.classes())


def test_umlauts_of_two_kinds_are_one_name(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    composed, decomposed = (unicodedata.normalize(form, "Zähler") for form in ("NFC", "NFD"))
    for folder, stem in (("images", composed), ("masks", decomposed)):
        (root / folder / "b.png").rename(root / folder / f"{stem}.png")
    (root / "splits.json").write_text(json.dumps(sets.SPLITS | {"train": ["a", decomposed, "c"]}))
    assert names(raw(root))["train"] == ["Zähler", "a", "c"]


def test_a_name_whose_bytes_are_not_utf_8_is_refused_and_can_be_printed(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for folder in ("images", "masks"):
        (root / folder / "b.png").rename(root / folder / os.fsdecode(b"Z\xe4hler.png"))
    with pytest.raises(InputError, match=r"the name of .*Z\\xe4hler\.png is not UTF-8") as caught:
        raw(root)
    str(caught.value).encode()


def test_a_root_whose_bytes_are_not_utf_8_is_refused(tmp_path: Path) -> None:
    sets.make(tmp_path / "set").rename(tmp_path / os.fsdecode(b"\xe4"))
    with pytest.raises(InputError, match=r"is not UTF-8"):
        raw(tmp_path / os.fsdecode(b"\xe4"))


def test_an_image_called_all_is_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for folder in ("images", "masks"):
        (root / folder / "b.png").rename(root / folder / "all.png")
    (root / "splits.json").write_text(json.dumps(sets.SPLITS | {"train": ["a", "all", "c"]}))
    with pytest.raises(InputError, match=r"all\.png is called all"):
        raw(root)


# ------------------------------------------------------------------------------------------------------- left out


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for name in ("images/x.czi", "images/y.nd2", "images/.hidden.png", "images/Thumbs.db", "masks/notes.txt"):
        (root / name).write_bytes(b"x")
    sets.write(root / "masks" / "f.png", sets.classes())
    (root / "images" / "away").symlink_to(tmp_path)
    notes = raw(root).notes
    assert any(
        note.endswith("images holds 3 files: away, x.czi, y.nd2: left out, for they are of a kind that is not read")
        for note in notes
    )
    assert any("masks holds 1 file: f.png: left out, for no image has that name" in note for note in notes)
    assert any("masks holds 1 file: notes.txt: left out" in note for note in notes)
    assert not any("Thumbs" in note or "hidden" in note for note in notes)


def test_a_complete_set_of_many_test_images_has_no_notes(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "splits.json").unlink()
    for n in range(20):
        sets.write(root / "images" / f"z{n:02d}.png", sets.picture(10 + n))
        sets.write(root / "masks" / f"z{n:02d}.png", sets.classes())
    assert raw(root).notes == ()


def test_a_small_test_split_is_said(tmp_path: Path) -> None:
    assert any(note.startswith("the test split has 1 image:") for note in raw(sets.make(tmp_path)).notes)


def test_images_that_a_csv_does_not_name_are_said(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "split.csv").write_text(
        "image,mask,split\n" + "".join(f"images/{s}.png,masks/{s}.png,{split}\n" for s, split in ROWS[1:])
    )
    assert any(
        "images holds 1 file: a.png: left out, for split.csv does not name them" in note
        for note in raw(root, manifest="split.csv").notes
    )


# ------------------------------------------------------------------------------------------------------------- leaks


def test_equal_pixels_in_two_splits_are_refused_whatever_the_file(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "images" / "e.png").unlink()
    sets.write(root / "images" / "e.tif", sets.picture(1, dtype=np.uint16), compression="zlib")
    with pytest.raises(InputError, match=r"b\.png \(train\) and .*e\.tif \(test\) hold the same pixels"):
        load(FolderConfig(root=str(root), normalization="per_image"))


def test_equal_pixels_in_one_split_and_empty_images_are_said(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    sets.write(root / "images" / "b.png", sets.picture(0))
    for stem in "ce":
        sets.write(root / "images" / f"{stem}.png", np.zeros((6, 8), np.uint8))
    notes = raw(root).notes
    twins = ("1 file: b.png holds", "2 files: b.png, e.png hold")  # c and e are alike, and perhaps of one split
    assert any(f"{which} the pixels of another image of the same split" in notes for which in twins)
    assert "2 files: c.png, e.png hold one value only" in notes


@pytest.mark.parametrize(
    "spelling", ["images//a.png", "images/./a.png", "link.png", "folder/a.png", "images/A/../a.png"]
)
def test_one_file_under_two_spellings_is_refused(tmp_path: Path, spelling: str) -> None:
    root = sets.make(tmp_path)
    (root / "link.png").symlink_to(root / "images" / "a.png")
    (root / "folder").symlink_to(root / "images")
    (root / "images" / "A").mkdir()
    rows = [*((f"images/{stem}.png", split) for stem, split in ROWS[:4]), (spelling, "test")]
    text = "".join(f"{path},masks/{n}.png,{split}\n" for (path, split), n in zip(rows, "abcde", strict=True))
    (root / "split.csv").write_text("image,mask,split\n" + text)
    with pytest.raises(InputError, match=r"are one file|names images/a.png 2 times|leaves the data set's folder"):
        raw(root, manifest="split.csv")


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    with pytest.raises(InputError, match=r"a\.png is its own mask"):
        raw(root, masks="images")


# -------------------------------------------------------------------------------------------------------------- CSV


def table(separator: str = ",", head: str = "image,mask,split", folder: str = "") -> str:
    rows = [head, *(f"{folder}images/{stem}.png,{folder}masks/{stem}.png,{split}" for stem, split in ROWS)]
    return "\n".join(row.replace(",", separator) for row in rows) + "\n"


DIALECTS = {
    "semicolons": table(";").encode(),
    "tabs": table("\t").encode(),
    "spaces after commas": table(", ").encode(),
    "capitals": table(head="Image, MASK ,Split").replace("train", "Train").replace("val", "VAL").encode(),
    "words": table().replace("train", "training").replace("val", "Validation").encode(),
    "backslashes": table().replace("/", "\\").encode(),
    "a mark of byte order": table().encode("utf-8-sig"),
    "utf-16": table().encode("utf-16"),
    "utf-16 without a mark": table(";").encode("utf-16-le"),
    "blank rows": table().replace("\n", "\n\n,,\n").encode(),
    "carriage returns": table().replace("\n", "\r\n").encode(),
    "old carriage returns": table().replace("\n", "\r").encode(),
    "quotes": table('","').replace("\n", '"\n"').rstrip('"').join(['"', ""]).encode(),
    "a separator line": b"sep=;\n" + table(";").encode(),
    "other columns": table(head="image,mask,split,who,,").encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, dialect: str) -> None:
    root = sets.make(tmp_path)
    (root / "split.csv").write_bytes(DIALECTS[dialect])
    assert names(raw(root, manifest="split.csv")) == sets.SPLITS


def test_absolute_paths_below_the_root_are_read_and_others_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path / "set")
    (tmp_path / "link").symlink_to(root)
    for place in (root, tmp_path / "link"):
        (root / "split.csv").write_text(table(folder=f"{place}/"))
        assert names(raw(root, manifest="split.csv")) == sets.SPLITS
    for outside in ("/tmp/x/", "../", "C:\\data\\"):
        (root / "split.csv").write_text(table(folder=outside))
        with pytest.raises(InputError, match=r"line 2: image .* leaves the data set's folder"):
            raw(root, manifest="split.csv")


def test_a_csv_in_latin_1_finds_its_files_and_says_how_it_was_read(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for folder in ("images", "masks"):
        (root / folder / "a.png").rename(root / folder / "größe – 1.png")
    (root / "split.csv").write_bytes(table().replace("a.png", "größe – 1.png").encode("cp1252"))
    splits = raw(root, manifest="split.csv")
    assert "größe – 1" in names(splits)["train"]
    assert "split.csv is not in UTF-8 and was read as Windows-1252 (Latin-1)" in splits.notes


def test_names_alone_in_a_csv_mean_files_in_the_folders_of_images_and_masks(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "split.csv").write_text(table().replace("images/", "").replace("masks/", ""))
    splits = raw(root, manifest="split.csv")
    assert names(splits) == sets.SPLITS
    np.testing.assert_array_equal(np.asarray(splits.train[0].mask), sets.classes())


@pytest.mark.parametrize(("on_disk", "in_csv"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_csv_finds_files_whose_umlauts_are_composed_in_another_way(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], in_csv: Literal["NFC", "NFD"]
) -> None:
    root = sets.make(tmp_path)
    for folder in ("images", "masks"):
        (root / folder / "a.png").rename(root / folder / f"{unicodedata.normalize(on_disk, 'ä')}.png")
    text = table().replace("a.png", f"{unicodedata.normalize(in_csv, 'ä')}.png")
    (root / "split.csv").write_text(text, encoding="utf-8")
    assert "ä" in names(raw(root, manifest="split.csv"))["train"]


def test_a_csv_in_no_known_encoding_is_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "split.csv").write_bytes(table().encode() + b"\x81\xff,,\n")
    with pytest.raises(InputError, match=r"split\.csv cannot be read as CSV in UTF-8"):
        raw(root, manifest="split.csv")


# ------------------------------------------------------------------------------------------------------ splits.json


LISTS = {
    "a mark of byte order": json.dumps(sets.SPLITS).encode("utf-8-sig"),
    "utf-16": json.dumps(sets.SPLITS).encode("utf-16"),
    "file names": json.dumps(
        {split: [f"{stem}.png" for stem in stems] for split, stems in sets.SPLITS.items()}
    ).encode(),
    "paths": json.dumps({s: [f"images/{stem}.png" for stem in stems] for s, stems in sets.SPLITS.items()}).encode(),
    "words": json.dumps({"training": ["a", "b", "c"], "validation": ["d"], "testing": ["e"]}).encode(),
    "capitals": json.dumps({"Train": ["a", "b", "c"], "Val": ["d"], "TEST": ["e"]}).encode(),
    "other keys": json.dumps(sets.SPLITS | {"rule": "mine", "made": 2024, "tools": []}).encode(),
}


@pytest.mark.parametrize("spelling", LISTS)
def test_splits_are_read_as_people_write_them(tmp_path: Path, spelling: str) -> None:
    root = sets.make(tmp_path)
    (root / "splits.json").write_bytes(LISTS[spelling])
    assert names(raw(root)) == sets.SPLITS


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"train": ["a", "b", "c"], "dev": ["d"], "test": ["e"]}, "has a list called dev"),
        (sets.SPLITS | {"validation": ["d"]}, "has two lists for the split val"),
        (sets.SPLITS | {"test": ["e", "e.png"]}, "names e 2 times"),
    ],
)
def test_splits_that_say_too_much_are_refused(tmp_path: Path, lists: dict[str, list[str]], sentence: str) -> None:
    root = sets.make(tmp_path)
    (root / "splits.json").write_text(json.dumps(lists))
    with pytest.raises(InputError, match=sentence):
        raw(root)


@pytest.mark.parametrize(("images", "masks"), [(".", "masks"), ("images", "images/masks"), ("images", ".")])
def test_one_folder_may_lie_in_the_other(tmp_path: Path, images: str, masks: str) -> None:
    root = sets.make(tmp_path)
    for old, new in (("images", images), ("masks", masks)):
        (root / old).rename(root / f"old_{old}")
        (root / new).mkdir(parents=True, exist_ok=True)
    for old, new in (("images", images), ("masks", masks)):
        for path in list((root / f"old_{old}").iterdir()):
            path.rename(root / new / path.name)
        (root / f"old_{old}").rmdir()
    assert names(raw(root, images=images, masks=masks)) == sets.SPLITS


def test_folders_of_other_names_are_named_with_the_settings_for_them(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "images").rename(root / "imagesTr")
    (root / "masks").rename(root / "labelsTr")
    with pytest.raises(
        InputError, match=r"holds imagesTr, labelsTr\): set dataset\.images=imagesTr dataset\.masks=labelsTr$"
    ):
        raw(root)
    assert names(raw(root, images="imagesTr", masks="labelsTr")) == sets.SPLITS
