"""The user's own images: read as they are, once to check and again when asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets import pictures
from bench.datasets.pictures import read_picture
from bench.datasets.registry import load
from bench.datasets.sample import Splits

SHARED = Path(__file__).parents[2] / "shared" / "data"


def raw(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", **settings))  # type: ignore[arg-type]


def names(splits: Splits) -> dict[str, list[str]]:
    return {split: [sample.name for sample in getattr(splits, split)] for split in ("train", "val", "test")}


def test_what_was_saved_is_what_a_sample_gives(tmp_path: Path) -> None:
    splits = raw(sets.make(tmp_path / "my_cells", dtype=np.uint16))
    assert splits.name == "my_cells"
    assert (splits.task.class_names, splits.task.in_channels, splits.task.spatial_axes) == (
        ("class_0", "class_1"),
        1,
        2,
    )
    assert names(splits) == sets.SPLITS
    image, mask = splits.train[1].image, splits.train[1].mask
    assert (image.shape, mask.shape) == ((6, 8, 1), (6, 8))
    assert image.dtype == np.asarray(image).dtype == np.float32
    np.testing.assert_allclose(np.asarray(image)[..., 0] * 65535, sets.picture(1, dtype=np.uint16), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(mask), sets.classes())
    np.testing.assert_array_equal(image[2:4, 5], np.asarray(image)[2:4, 5])
    np.testing.assert_array_equal(mask[2:4, 5], sets.classes()[2:4, 5])


def test_pixels_are_read_when_asked_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def noted(path: Path, palette_index: bool) -> NDArray[Any]:
        reads.extend([path.stem] if path.parent.name == "images" else [])
        return read_picture(path, palette_index)

    monkeypatch.setattr(pictures, "read_picture", noted)
    splits = raw(sets.make(tmp_path))
    assert sorted(reads) == ["a", "b", "c", "d", "e"]
    np.asarray(splits.test[0].image)
    splits.test[0].image[0]
    assert reads[5:] == ["e", "e"]


def test_facts_count_what_is_there(tmp_path: Path) -> None:
    facts = raw(sets.make(tmp_path)).facts
    assert [facts[f"dataset.images_{split}"] for split in ("train", "val", "test")] == [3, 1, 1]
    assert [facts[f"dataset.pixels_{split}"] for split in ("train", "val", "test")] == [144, 48, 48]
    assert facts["dataset.split_rule"] == "by hand"


def test_the_content_changes_with_a_pixel_a_label_and_the_split_but_not_with_the_place(tmp_path: Path) -> None:
    content = [raw(sets.make(tmp_path / place)).facts["dataset.content"] for place in ("one", "two")]
    sets.write(tmp_path / "two" / "images" / "c.png", sets.picture(9))
    content.append(raw(tmp_path / "two").facts["dataset.content"])
    sets.write(tmp_path / "two" / "masks" / "c.png", 1 - sets.classes())
    content.append(raw(tmp_path / "two").facts["dataset.content"])
    moved = {"train": ["a", "b"], "val": ["d", "c"], "test": ["e"]}
    (tmp_path / "two" / "splits.json").write_text(json.dumps(moved), encoding="utf-8")
    content.append(raw(tmp_path / "two").facts["dataset.content"])
    assert content[0] == content[1]
    assert len(set(content)) == 4


# ----------------------------------------------------------------------------------------------- shapes and types


@pytest.mark.parametrize(
    ("suffix", "shape", "axis", "channels"),
    [
        (".png", (6, 8, 3), None, 3),
        (".jpg", (6, 8, 3), None, 3),
        (".tif", (6, 8, 5), None, 5),
        (".tif", (5, 6, 8), 0, 5),
        (".tif", (6, 5, 8), 1, 5),
        (".tif", (5, 6, 8), -3, 5),
        (".tif", (6, 8, 5), -1, 5),
        (".tif", (6, 8, 1), None, 1),
        (".png", (6, 8), 0, 1),
    ],
)
def test_channels_end_up_last(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], axis: int | None, channels: int
) -> None:
    splits = raw(sets.make(tmp_path, suffix, shape), channel_axis=axis)
    image = np.asarray(splits.train[0].image)
    assert image.shape == splits.train[0].image.shape == (6, 8, channels)
    assert splits.task.in_channels == channels
    if suffix != ".jpg":
        saved = sets.picture(0, shape)
        expected = saved[..., None] if saved.ndim == 2 else np.moveaxis(saved, -1 if axis is None else axis, -1)
        np.testing.assert_allclose(image * 255, expected, rtol=1e-6)


@pytest.mark.parametrize("bands", [2, 4])
def test_constant_transparency_is_dropped(tmp_path: Path, bands: int) -> None:
    root = sets.make(tmp_path)
    for n, stem in enumerate(sets.STEMS):
        picture = sets.picture(n, (6, 8, bands))
        picture[..., -1] = 255
        sets.write(root / "images" / f"{stem}.png", picture)
    splits = raw(root)
    assert splits.task.in_channels == bands - 1
    np.testing.assert_allclose(splits.val[0].image[..., 0] * 255, sets.picture(3, (6, 8, bands))[..., 0], rtol=1e-6)


def test_a_fourth_measured_channel_of_a_tiff_is_kept(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for extra, channels in (("unspecified", 4), ("unassalpha", 3)):
        for stem in sets.STEMS:
            path = root / "images" / f"{stem}.tif"
            path.with_suffix(".png").unlink(missing_ok=True)
            tifffile.imwrite(path, np.full((6, 8, 4), 7, np.uint8), photometric="rgb", extrasamples=[extra])
        assert raw(root).task.in_channels == channels


@pytest.mark.parametrize(
    ("shape", "axis", "channels"), [((4, 6, 8), None, 1), ((4, 6, 8, 2), None, 2), ((4, 2, 6, 8), 1, 2)]
)
def test_volumes_have_three_spatial_axes(
    tmp_path: Path, shape: tuple[int, ...], axis: int | None, channels: int
) -> None:
    root = sets.make(tmp_path, ".tif", shape)
    for stem in sets.STEMS:
        (root / "masks" / f"{stem}.png").unlink()
        sets.write(root / "masks" / f"{stem}.tif", sets.classes((4, 6, 8)))
    splits = raw(root, channel_axis=axis)
    assert splits.task.spatial_axes == 3
    assert np.asarray(splits.test[0].image).shape == (4, 6, 8, channels)
    np.testing.assert_array_equal(np.asarray(splits.test[0].mask), sets.classes((4, 6, 8)))


def test_images_of_different_sizes_and_suffixes(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "images" / "c.png").unlink()
    sets.write(root / "images" / "c.tiff", sets.picture(2, (20, 3)))
    sets.write(root / "masks" / "c.png", sets.classes((20, 3)))
    assert raw(root).train[2].image.shape == (20, 3, 1)


def test_both_arms_see_the_training_images_statistics(tmp_path: Path) -> None:
    root = sets.make(tmp_path, ".tif", dtype=np.float32)
    train = np.concatenate([sets.picture(n, dtype=np.float32).ravel() for n in range(3)])
    image = np.asarray(load(FolderConfig(root=str(root), normalization="dataset")).test[0].image)[..., 0]
    np.testing.assert_allclose(image, (sets.picture(4) - train.mean()) / train.std(), rtol=1e-4, atol=1e-5)
    each = load(FolderConfig(root=str(root), normalization="per_image")).test[0].image
    assert abs(float(np.mean(each))) < 1e-6


# -------------------------------------------------------------------------------------------------------- classes


def test_mask_values_are_mapped(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for stem in sets.STEMS:
        sets.write(root / "masks" / f"{stem}.png", np.array([0, 128, 255], dtype=np.uint8)[sets.classes(count=3)])
    splits = raw(root, mask_values={255: 1, 0: 0, 128: 2})
    assert splits.task.num_classes == 3
    np.testing.assert_array_equal(np.asarray(splits.train[0].mask), np.array([0, 2, 1])[sets.classes(count=3)])
    assert splits.train[0].mask.dtype == np.uint8


@pytest.mark.parametrize(("ignore", "mapping"), [(255, None), (-1, {0: 0, 1: 1, 255: -1})])
def test_ignored_pixels_are_no_class(tmp_path: Path, ignore: int, mapping: dict[int, int] | None) -> None:
    root = sets.make(tmp_path)
    marked = sets.classes()
    marked[0] = 255
    sets.write(root / "masks" / "b.png", marked)
    splits = raw(root, ignore_index=ignore, mask_values=mapping)
    assert (splits.task.num_classes, splits.task.ignore_index) == (2, ignore)
    mask = np.asarray(splits.train[1].mask)
    assert (mask[0] == ignore).all()
    np.testing.assert_array_equal(mask[1:], sets.classes()[1:])


def test_the_classes_are_those_of_all_masks(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    sets.write(root / "masks" / "b.png", sets.classes(count=4))
    assert raw(root).task.class_names == ("class_0", "class_1", "class_2", "class_3")


def test_named_classes_need_not_occur(tmp_path: Path) -> None:
    given = ["background", "nucleus", "debris"]
    assert raw(sets.make(tmp_path), class_names=given).task.class_names == tuple(given)


# --------------------------------------------------------------------------------------------------------- splits


def test_excluded_images_are_not_even_opened(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "images" / "a.png").write_bytes(b"broken")
    (root / "masks" / "a.png").unlink()
    (root / "splits.json").write_text(
        json.dumps(sets.SPLITS | {"train": ["b", "c"], "excluded": ["a"]}), encoding="utf-8"
    )
    assert names(raw(root))["train"] == ["b", "c"]


def test_files_that_are_no_images_do_not_count(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for name in ("images/.hidden.png", "images/notes.txt", "masks/Thumbs.db"):
        (root / name).write_bytes(b"x")
    assert names(raw(root)) == sets.SPLITS


def test_a_csv_outweighs_splits_json(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    rows = zip("abcde", ("test", "test", "train", "val", "excluded"), strict=True)
    text = "\ufeffsplit,image,mask,note\n" + "".join(f"{s}, images/{n}.png ,masks/a.png,x\n" for n, s in rows)
    (root / "list.csv").write_text(text, encoding="utf-8")
    splits = raw(root, manifest="list.csv")
    assert names(splits) == {"train": ["c"], "val": ["d"], "test": ["a", "b"]}
    assert splits.facts["dataset.split_rule"] == "list.csv"


def test_equal_stems_of_a_csv_keep_their_folders(tmp_path: Path) -> None:
    for seed, day in enumerate(("day1", "day2", "day3")):
        sets.write(tmp_path / day / "cell.png", sets.picture(seed))
        sets.write(tmp_path / day / "cell_mask.png", sets.classes())
    rows = zip(("day1", "day2", "day3"), ("train", "val", "test"), strict=True)
    text = "image,mask,split\n" + "".join(f"{day}/cell.png,{day}/cell_mask.png,{split}\n" for day, split in rows)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert names(raw(tmp_path, manifest="list.csv")) == {
        "train": ["day1/cell"],
        "val": ["day2/cell"],
        "test": ["day3/cell"],
    }


def test_a_seeded_split_is_a_partition_that_only_the_seed_changes(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "splits.json").unlink()
    for n in range(15):
        sets.write(root / "images" / f"z{n:02d}.png", sets.picture(10 + n))
        sets.write(root / "masks" / f"z{n:02d}.png", sets.classes())
    first, again, other = (names(raw(root, split_seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert [len(members) for members in first.values()] == [12, 4, 4]
    assert len(set().union(*first.values())) == 20


def test_a_seeded_split_of_three_has_one_each(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for path in (root / "splits.json", root / "images" / "a.png", root / "images" / "b.png"):
        path.unlink()
    split = names(raw(root, split_fractions=[0.05, 0.05, 0.9]))
    assert [len(members) for members in split.values()] == [1, 1, 1]


# -------------------------------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "classes", "sizes"),
    [
        ("nist_phase_colony", 2, [60, 20, 20]),
        ("ads_sem", 3, [7, 1, 2]),
        ("dsb2018_fluo", 2, [12, 4, 5]),
        ("nasa_meltpool", 2, [3, 1, 2]),
    ],
)
def test_real_sets_load(name: str, classes: int, sizes: list[int]) -> None:
    splits = load(FolderConfig(root=str(SHARED / name)))
    assert splits.name == name
    assert splits.task.num_classes == classes
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == sizes
    image = np.asarray(splits.test[0].image)
    assert abs(float(image.mean())) < 1e-4
    assert image.shape[:-1] == np.asarray(splits.test[0].mask).shape


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not beside this checkout")
def test_a_real_set_of_two_volumes_validates_on_a_strip_until_it_has_three_splits(tmp_path: Path) -> None:
    root = SHARED / "qcanet_embryo3d"
    splits = load(FolderConfig(root=str(root)))
    assert [np.asarray(split[0].mask).shape for split in (splits.train, splits.val)] == [(51, 120, 95), (51, 120, 24)]
    assert np.asarray(splits.val[0].mask).any()
    (tmp_path / "set").symlink_to(root)
    rows = [f"set/images/{n}_cell_stage.tif,set/masks/{n}_cell_stage.tif,{s}" for n, s in ((8, "train"), (16, "test"))]
    third = tmp_path / "third.tif"
    tifffile.imwrite(third, tifffile.imread(root / "images" / "8_cell_stage.tif")[:20])
    tifffile.imwrite(tmp_path / "third_mask.tif", tifffile.imread(root / "masks" / "8_cell_stage.tif")[:20])
    text = "\n".join(["image,mask,split", *rows, "third.tif,third_mask.tif,val"])
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    splits = load(FolderConfig(root=str(tmp_path), manifest="list.csv"))
    assert (splits.task.spatial_axes, splits.task.in_channels) == (3, 1)
    assert np.asarray(splits.train[0].image).shape == (51, 120, 122, 1)


def test_of_shared_masks_those_across_splits_are_named_first(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    [one, two, *_], [test, *_] = sets.SPLITS["train"], sets.SPLITS["test"]
    [val, *_] = sets.SPLITS["val"]
    masks = {one: one, two: one, val: val, test: val}
    split_of = {stem: split for split, stems in sets.SPLITS.items() for stem in stems}
    rows = [f"images/{stem}.png,masks/{mask}.png,{split_of[stem]}" for stem, mask in masks.items()]
    (root / "list.csv").write_text("\n".join(["image,mask,split", *rows]), encoding="utf-8")
    [note] = [note for note in raw(root, manifest="list.csv").notes if "is the mask of" in note]
    assert f"{val}.png is the mask of {val} (val) and {test} (test) (1 other mask is shared too), 1 of 2" in note


def test_a_mask_of_two_images_is_pointed_out(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    rows = [
        f"images/{stem}.png,masks/{'a' if stem == 'e' else stem}.png,{split}"
        for split, stems in sets.SPLITS.items()
        for stem in stems
    ]
    (root / "list.csv").write_text("\n".join(["image,mask,split", *rows]), encoding="utf-8")
    notes = raw(root, manifest="list.csv").notes
    assert any("a.png is the mask of a (train) and e (test): if they show the same place" in note for note in notes)
    assert not any("is the mask of" in note for note in raw(root).notes)


@pytest.mark.parametrize("normalization", ["none", "centred", "dataset"])
def test_images_of_two_number_types_need_a_scaling_of_their_own(normalization: str, tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    (root / "images" / "b.png").unlink()
    sets.write(root / "images" / "b.tif", sets.picture(1).astype(np.float32))
    with pytest.raises(
        InputError, match=rf"b\.tif holds float32 values and .*normalization={normalization} scales all"
    ):
        load(FolderConfig(root=str(root), normalization=normalization))
    assert load(FolderConfig(root=str(root), normalization="per_image")).train
