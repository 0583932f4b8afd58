"""Data sets without validation or test images: ends of each training image are held out, the rest of it trains."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.held_out import GAP, StripRule, cut_ends
from bench.datasets.registry import load
from bench.datasets.sample import Sample, Splits

SHAPES = {
    "rows longest": ((90, 40), None),
    "columns longest": ((40, 90), None),
    "colour": ((40, 90, 3), None),
    "channels first": ((2, 90, 40), 0),
    "volume": ((12, 40, 90), None),
}


def make(root: Path, shape: tuple[int, ...] = (90, 40), axis: int | None = None, images: str = "abt") -> Path:
    """Write a data set whose objects lie at the start of the longest axis, without a validation image."""
    spatial = tuple(length for n, length in enumerate(shape) if n != axis)[: 3 if min(shape) > 3 else 2]
    for n, stem in enumerate(images):
        sets.write(root / "images" / f"{stem}.tif", sets.picture(n, shape, np.uint16))
        sets.write(root / "masks" / f"{stem}.tif", draw_mask(spatial))
    splits = {"train": list(images[:-1]), "val": [], "test": [images[-1]], "rule": "by hand"}
    (root / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return root


def draw_mask(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(0, length // 3) for length in shape)] = 1
    return mask


def read(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", **settings))  # type: ignore[arg-type]


def hold(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return np.asarray(sample.image), np.asarray(sample.mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_strips_hold_the_pixels_of_their_image_and_no_pixel_is_in_both(tmp_path: Path, shape: str) -> None:
    lengths, channel_axis = SHAPES[shape]
    root = make(tmp_path, lengths, channel_axis)
    splits = read(root, channel_axis=channel_axis)
    named = json.loads((root / "splits.json").read_text(encoding="utf-8")) | {"val": ["b"], "train": ["a"]}
    (root / "splits.json").write_text(json.dumps(named), encoding="utf-8")
    whole_image, whole_mask = hold(read(root, channel_axis=channel_axis).train[0])
    axis = int(np.argmax(whole_mask.shape))
    assert [sample.name for sample in (*splits.train, *splits.val)] == ["a", "b", "a_val", "b_val"]
    for sample, part in ((splits.val[0], slice(0, 18)), (splits.train[0], slice(20, 90))):
        key = (*[slice(None)] * axis, part)
        image, mask = hold(sample)
        np.testing.assert_array_equal(image, whole_image[key])
        np.testing.assert_array_equal(mask, whole_mask[key])
        np.testing.assert_array_equal(sample.image[2:5, 3], image[2:5, 3])
        np.testing.assert_array_equal(sample.mask[2:5, 3], mask[2:5, 3])
        np.testing.assert_array_equal(np.asarray(sample.image.hold()), image)  # type: ignore[attr-defined]


def test_what_was_done_is_said_and_stands_in_the_tables(tmp_path: Path) -> None:
    splits = read(make(tmp_path))
    assert any("a strip of 0.2 of each training image" in note for note in splits.notes)
    assert splits.facts["dataset.split_rule"] == "by hand; validation on strips of 0.2 of the training images"
    assert [splits.facts[f"dataset.images_{split}"] for split in ("train", "val", "test")] == [2, 2, 1]
    assert [splits.facts[f"dataset.pixels_{split}"] for split in ("train", "val", "test")] == [5600, 1440, 3600]


@pytest.mark.parametrize("flipped", [False, True])
def test_that_end_validates_which_holds_objects(tmp_path: Path, flipped: bool) -> None:
    root = make(tmp_path, images="at")
    if flipped:
        sets.write(root / "masks" / "a.tif", draw_mask((90, 40))[::-1])
    assert np.asarray(read(root).val[0].mask).any()


def test_planes_of_a_stack_validate_at_the_same_end(tmp_path: Path) -> None:
    root = make(tmp_path, (4, 90, 40), images="at")
    mask = np.zeros((4, 90, 40), np.uint8)
    mask[0, 80:], mask[1:, :10] = 1, 1  # the first plane alone would choose the other end
    tifffile.imwrite(root / "masks" / "a.tif", mask, photometric="minisblack")
    splits = read(root, planes=True)
    assert [sample.name for sample in splits.val] == [f"a_z{plane:03d}_val" for plane in range(4)]
    for plane, (train, val) in enumerate(zip(splits.train, splits.val, strict=True)):
        np.testing.assert_array_equal(np.asarray(val.mask), mask[plane, :18])
        np.testing.assert_array_equal(np.asarray(train.mask), mask[plane, 20:])


def test_scaling_is_learned_from_what_trains(tmp_path: Path) -> None:
    root = make(tmp_path, images="at")
    picture = sets.picture(0, (90, 40), np.uint16)
    picture[:20] += 40000  # the end that validates, and the gap
    sets.write(root / "images" / "a.tif", picture)
    train = np.asarray(load(FolderConfig(root=str(root), normalization="dataset")).train[0].image)
    assert abs(float(train.mean())) < 1e-4


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.datasets import fingerprint

    config, kept = FolderConfig(root=str(make(tmp_path / "set")), normalization="none"), tmp_path / "kept"
    first = load(config, kept)
    monkeypatch.setattr(fingerprint, "inspect", lambda *_: pytest.fail("a file was read again"))
    again = load(config, kept)
    assert again.facts == first.facts
    np.testing.assert_array_equal(np.asarray(again.val[1].mask), np.asarray(first.val[1].mask))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("shape", [(400, 30), (30, 4000), (9, 300, 200)])
def test_both_ways_to_cut_are_disjoint_and_mirror_each_other(shape: tuple[int, ...], share: float) -> None:
    length = max(shape)
    part = StripRule("val", share, "validation", "validates")
    (train, val), (other_train, other_val) = cut_ends(shape, part, "a.png")
    assert val.stop - val.start == round(share * length)
    assert 0 < train.start - val.stop <= GAP
    assert (other_train.start, other_train.stop) == (length - train.stop, length - train.start)
    assert (other_val.start, other_val.stop) == (length - val.stop, length - val.start)
    assert {part.axis for part in (train, val, other_train, other_val)} == {shape.index(length)}


def test_two_images_suffice(tmp_path: Path) -> None:
    root = make(tmp_path, images="ab")
    (root / "splits.json").unlink()
    splits = read(root)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [1, 1, 1]
    assert {splits.train[0].name, splits.test[0].name} == {"a", "b"}


def draw_stripes(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.asarray(np.indices(shape).sum(axis=0) % 7 < 3, np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_image_suffices_where_strips_test(tmp_path: Path, shape: str) -> None:
    """Of 90 pixels 18 test, 2 are left out, 14 of the other 70 validate, 1 is left out, and 55 train."""
    lengths, channel_axis = SHAPES[shape]
    root = make(tmp_path, lengths, channel_axis, images="a")
    (root / "splits.json").unlink()
    along = np.arange(90, dtype=np.uint16).reshape([90 if length == 90 else 1 for length in lengths])
    sets.write(root / "images" / "a.tif", np.broadcast_to(along, lengths).copy())  # each pixel holds its place
    whole = draw_stripes(tifffile.imread(root / "masks" / "a.tif").shape)
    sets.write(root / "masks" / "a.tif", whole)
    with pytest.raises(InputError, match=r"holds 1 image: train and test need .* set dataset\.test_strip=0\.2"):
        read(root, channel_axis=channel_axis)
    splits = read(root, channel_axis=channel_axis, test_strip=0.2)
    samples = (*splits.train, *splits.val, *splits.test)
    assert [sample.name for sample in samples] == ["a", "a_val", "a_test"]
    places = [np.unique(np.rint(np.asarray(sample.image) * 65535)).astype(int) for sample in samples]
    assert [len(place) for place in places] == [55, 14, 18]
    assert len(np.unique(np.concatenate(places))) == 87
    for sample, place in zip(samples, places, strict=True):
        assert place[-1] - place[0] + 1 == len(place)
        np.testing.assert_array_equal(np.asarray(sample.mask), whole.take(place, int(np.argmax(whole.shape))))
    assert any("no image is named for testing: a strip of 0.2" in note for note in splits.notes)
    assert str(splits.facts["dataset.split_rule"]).startswith("all images train; testing on strips of 0.2")


def test_planes_of_one_stack_test_at_the_same_end(tmp_path: Path) -> None:
    root = make(tmp_path, (4, 90, 40), images="a")
    (root / "splits.json").unlink()
    sets.write(root / "masks" / "a.tif", draw_stripes((4, 90, 40)))
    splits = read(root, planes=True, test_strip=0.2)
    assert [sample.name for sample in splits.test] == [f"a_z{plane:03d}_test" for plane in range(4)]
    assert "1 stack was read as 4 planes, each an image (dataset.planes=true)" in splits.notes
    assert {np.asarray(sample.mask).shape for sample in splits.test} == {(18, 40)}


def test_images_that_are_named_to_test_do_so_whatever_the_strips(tmp_path: Path) -> None:
    splits = read(make(tmp_path), test_strip=0.2)
    assert [sample.name for sample in splits.test] == ["t"]
    assert not any("tests and does not train" in note for note in splits.notes)


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path)
    with pytest.raises(InputError, match=r"splits\.json leaves the split val empty: train, val and test need"):
        read(root, val_strip=0)
    with pytest.raises(InputError, match=r"a\.tif is 90 pixels long, too short for a strip of 0\.05"):
        read(root, val_strip=0.05)
    with pytest.raises(InputError, match=r"dataset\.val_strip must lie in \[0, 0\.5\], got 0\.6"):
        read(root, val_strip=0.6)
    with pytest.raises(InputError, match=r"dataset\.test_strip needs a strip that validates"):
        read(root, val_strip=0, test_strip=0.2)


def test_a_name_that_a_strip_would_take_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, images="at")
    for folder in ("images", "masks"):
        (root / folder / "t.tif").rename(root / folder / "a_val.tif")
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "test": ["a_val"]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"a_val\.tif has the name of the strip of .*a\.tif that validates: rename it"):
        read(root)
