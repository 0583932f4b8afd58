"""Numbers in masks that are not what they seem: refused naming the files, or read as what they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets import masks
from bench.datasets.masks import StoredMask, count_numbers, open_mask, take_one_channel
from bench.datasets.registry import load
from bench.datasets.sample import Splits

if TYPE_CHECKING:
    from scipy import ndimage
    from skimage.measure import euler_number


WHITE, BLACK, RED, GREEN = [255] * 3, [0] * 3, [255, 0, 0], [0, 255, 0]


def raw(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", **settings))  # type: ignore[arg-type]


def replace_masks(root: Path, arrays: dict[str, NDArray[Any]], suffix: str = ".png", **options: Any) -> None:
    for stem, array in arrays.items():
        (root / "masks" / f"{stem}.png").unlink()
        sets.write(root / "masks" / f"{stem}{suffix}", array, **options)


def save_palette(path: Path, numbers: NDArray[Any], colours: list[list[int]]) -> None:
    picture = Image.fromarray(numbers.astype(np.uint8), "P")
    picture.putpalette([band for colour in colours for band in colour])
    picture.save(path)


# -------------------------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize("shape", [(30, 40), (9, 12, 14)])
@pytest.mark.parametrize("slab", [1 << 20, 50])
@pytest.mark.parametrize("offset", [0, -2, 1_000_000])
def test_counts_agree_with_scipy_and_skimage(shape: tuple[int, ...], slab: int, offset: int) -> None:
    numbers = ndimage.median_filter(np.random.default_rng(0).integers(0, 4, shape), 3) + offset
    counts = count_numbers(StoredMask(Path("x"), numbers, None, False), slab, table=100 if offset else 2)
    assert sorted(counts) == sorted(np.unique(numbers))
    for number, count in counts.items():
        where = numbers == number
        assert (count.pixels, count.euler) == (where.sum(), euler_number(where, connectivity=1))
        for axis, runs in enumerate(count.runs):
            first = np.moveaxis(where, axis, 0)
            assert runs == (first[1:] & ~first[:-1]).sum() + first[0].sum()


# -------------------------------------------------------------------------------------------------------- palettes


@pytest.mark.parametrize(
    ("first", "second"),
    [([BLACK, WHITE], [WHITE, BLACK]), ([BLACK, RED], [BLACK, GREEN]), ([BLACK, RED, GREEN], [BLACK, GREEN, RED])],
    ids=["turned over", "another colour", "another order"],
)
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_palettes_that_differ_are_refused_naming_two_files(
    tmp_path: Path, kind: str, first: list[list[int]], second: list[list[int]]
) -> None:
    root = sets.make(tmp_path)
    for stem, colours in (("b", first), ("c", second)):
        numbers = sets.classes(count=len(colours))
        (root / "masks" / f"{stem}.png").unlink()
        if kind == "png":
            save_palette(root / "masks" / f"{stem}.png", numbers, colours)
        else:
            table = np.zeros((3, 256), np.uint16)
            table[:, : len(colours)] = np.array(colours).T * 257
            tifffile.imwrite(root / "masks" / f"{stem}.tif", numbers, photometric="palette", colormap=table)
    with pytest.raises(InputError, match=rf"the palettes of .*b\.{kind} and .*c\.{kind} differ"):
        raw(root)


def test_palettes_that_differ_in_colours_that_do_not_occur_are_alike(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    save_palette(root / "masks" / "b.png", sets.classes(), [BLACK, RED, WHITE])
    save_palette(root / "masks" / "c.png", sets.classes(), [BLACK, RED, GREEN])
    np.testing.assert_array_equal(raw(root).train[1].mask[...], sets.classes())


# ---------------------------------------------------------------------------------------------- white and scales


def test_white_is_zero_needs_a_word_of_the_user(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, dict.fromkeys("abcde", sets.classes() * 255), ".tif", photometric="miniswhite")
    with pytest.raises(InputError, match=r"a\.tif is white-is-zero, so its number 0 is drawn white .*mask_values"):
        raw(root)
    np.testing.assert_array_equal(raw(root, mask_values={0: 1, 255: 0}).train[0].mask[...], 1 - sets.classes())
    (root / "masks" / "b.tif").unlink()
    sets.write(root / "masks" / "b.tif", sets.classes() * 255)
    with pytest.raises(InputError, match=r"a\.tif is white-is-zero and .*b\.tif is not"):
        raw(root, mask_values={0: 0, 255: 1})


@pytest.mark.parametrize("full", [255, 128, 65535])
def test_masks_of_two_scales_are_refused_naming_two_files(tmp_path: Path, full: int) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {"c": sets.classes().astype(np.uint16) * full}, ".tif")
    for settings in ({}, {"mask_values": {0: 0, full: 1}}, {"class_names": ["background", "cell"]}):
        with pytest.raises(InputError, match=rf"a\.png holds 0 and 1, and .*c\.tif 0 and {full}"):
            raw(root, **settings)
    both = raw(root, mask_values={0: 0, 1: 1, full: 1})
    np.testing.assert_array_equal(both.train[2].mask[...], both.train[0].mask[...])


# -------------------------------------------------------------------------------------------------- kinds of numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int32, bool, ">f4"])
def test_whole_numbers_of_any_type_are_classes(tmp_path: Path, dtype: Any) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {"b": sets.classes().astype(dtype)}, ".tif")
    mask = raw(root).train[1].mask
    np.testing.assert_array_equal(mask[...], sets.classes())
    assert mask.dtype == mask[1:3].dtype == np.uint8


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
def test_what_is_no_whole_number_is_refused(tmp_path: Path, value: float) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {"b": np.where(sets.classes(), value, 0).astype(np.float32)}, ".tif")
    with pytest.raises(InputError, match=r"b\.tif holds .*: a mask must hold whole numbers"):
        raw(root)


# --------------------------------------------------------------------------------------------- numbers of objects


def objects(count: int, first: int = 1, shape: tuple[int, int] = (6, 16)) -> NDArray[Any]:
    """So many bars of two pixels each, numbered from `first`."""
    mask = np.zeros(shape, np.uint16 if first < 60_000 else np.int32)
    for number in range(count):
        mask[1:3, 2 * number] = first + number
    return mask


def make_objects(root: Path, counts: dict[str, int]) -> Path:
    for n, (stem, count) in enumerate(counts.items()):
        sets.write(root / "images" / f"{stem}.png", sets.picture(n, (6, 16)))
        sets.write(root / "masks" / f"{stem}.tif", objects(count))
    return root


COUNTS = {"a": 3, "b": 4, "c": 2, "d": 3, "e": 4}


def test_numbers_of_objects_are_noticed_and_read_as_foreground(tmp_path: Path) -> None:
    root = make_objects(tmp_path, COUNTS)
    with pytest.raises(InputError, match=r"seem to number objects, 2 to 4 in an image.*dataset.mask_values=foreground"):
        raw(root)
    splits = raw(root, mask_values="foreground")
    assert splits.task.class_names == ("background", "foreground")
    for sample in (*splits.train, *splits.val, *splits.test):
        np.testing.assert_array_equal(sample.mask[...], (objects(COUNTS[sample.name]) > 0).astype(np.uint8))


def test_a_word_of_the_user_makes_classes_of_them(tmp_path: Path) -> None:
    root = make_objects(tmp_path, {**COUNTS, "a": 4, "b": 4, "c": 4, "d": 3})
    assert raw(root, class_names=["ground", "nucleus", "spindle", "cortex", "axon"]).task.num_classes == 5


def test_few_numbers_that_are_the_same_in_every_image_are_classes_and_one_piece_each_is_said(tmp_path: Path) -> None:
    root = make_objects(tmp_path, dict.fromkeys("abcde", 7))
    splits = raw(root)
    assert splits.task.num_classes == 8
    [note] = [note for note in splits.notes if "mask_values=foreground" in note]
    assert note.startswith("each of the numbers 1, 2, 3, 4, 5, 6, 7 is one piece in nearly every mask")
    names = [f"kind {number}" for number in range(8)]
    assert not [note for note in raw(root, class_names=names).notes if "one piece" in note]


def test_numbers_that_objects_keep_over_all_images_are_noticed(tmp_path: Path) -> None:
    """A tracked cell keeps its number, so numbers are neither 1 to n in every image nor rare."""
    root = make_objects(tmp_path, dict.fromkeys("abcde", 8))
    with pytest.raises(InputError, match=r"seem to number objects, 8 in every image.*dataset.mask_values=foreground"):
        raw(root)
    for stem in "bc":
        gone = objects(8)
        gone[gone == ord(stem) - 96] = 0
        sets.write(root / "masks" / f"{stem}.tif", gone)
    with pytest.raises(InputError, match=r"seem to number objects, 7 to 8 in an image.*or dataset.class_names"):
        raw(root)
    assert raw(root, class_names=[f"kind {number}" for number in range(9)]).task.num_classes == 9
    for stem in "abcde":
        split = objects(8)
        split[4] = split[1]
        sets.write(root / "masks" / f"{stem}.tif", split)
    assert raw(root).task.num_classes == 9


def test_classes_of_several_pieces_are_classes(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for stem, count in zip("abcde", (4, 4, 4, 3, 4), strict=True):
        sets.write(root / "masks" / f"{stem}.png", sets.classes(count=count))
    assert raw(root).task.num_classes == 4


@pytest.mark.parametrize("numbers", [300, 70_000])
def test_many_objects_are_offered_the_foreground(tmp_path: Path, numbers: int) -> None:
    root = make_objects(tmp_path, dict.fromkeys("abcde", 4))
    sets.write(root / "masks" / "b.tif", objects(4, numbers))
    with pytest.raises(InputError, match=r"dataset\.mask_values=foreground"):
        raw(root)
    assert raw(root, mask_values="foreground").task.num_classes == 2


@pytest.mark.parametrize(("void", "names"), [(255, None), (255, ["a", "b"]), (-1, None)])
def test_a_number_that_means_not_annotated_by_custom_is_offered_as_such(
    tmp_path: Path, void: int, names: list[str] | None
) -> None:
    root = sets.make(tmp_path)
    marked = sets.classes().astype(np.int16)
    marked[0] = void
    replace_masks(root, {"b": marked}, ".tif")
    with pytest.raises(InputError, match=rf"give dataset\.ignore_index={void} if {void} means not annotated, "):
        raw(root, class_names=names)
    assert raw(root, class_names=names, ignore_index=void).task.num_classes == 2


@pytest.mark.parametrize(("full", "suffix"), [(255, ".png"), (65535, ".tif")])
def test_the_greatest_number_beside_0_alone_is_class_1(tmp_path: Path, full: int, suffix: str) -> None:
    """Most programs write a foreground so; with every other number the user must say what it means."""
    root = sets.make(tmp_path)
    whole = sets.classes().astype(np.min_scalar_type(full)) * full
    replace_masks(root, dict.fromkeys(sets.STEMS, whole), suffix)
    splits = raw(root)
    assert splits.task.class_names == ("class_0", "class_1")
    np.testing.assert_array_equal(np.asarray(splits.train[0].mask), sets.classes())
    assert any(f"0 and {full}, so {full} is class 1" in note for note in splits.notes)
    said = raw(root, mask_values={0: 0, full: 1})
    assert said.facts == splits.facts
    assert not any("so 255 is class 1" in note for note in said.notes)
    assert raw(root, class_names=["sky", "cell"]).task.class_names == ("sky", "cell")
    with pytest.raises(InputError, match="hold only one class"):
        raw(root, ignore_index=full)


def test_no_other_number_beside_0_is_taken_for_class_1(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {stem: sets.classes() * 200 for stem in sets.STEMS})
    with pytest.raises(InputError, match=r"as in 'dataset.mask_values=\{0:0,200:1\}'"):
        raw(root)


def test_foreground_leaves_ignored_pixels_and_refuses_what_lies_below_0(tmp_path: Path) -> None:
    root = make_objects(tmp_path, COUNTS)
    marked = objects(4)
    marked[5] = 255
    sets.write(root / "masks" / "b.tif", marked)
    mask = next(s.mask for s in raw(root, mask_values="foreground", ignore_index=255).train if s.name == "b")
    assert set(np.unique(mask[...])) == {0, 1, 255}
    assert (mask[5] == 255).all()
    sets.write(root / "masks" / "b.tif", objects(4).astype(np.int16) - 1)
    with pytest.raises(InputError, match=r"holds -1, which dataset.mask_values does not map"):
        raw(root, mask_values="foreground")


def test_an_ignored_number_that_is_an_objects_is_refused(tmp_path: Path) -> None:
    """Of 300 objects the 255th is no pixel that nobody annotated."""
    root = make_objects(tmp_path, COUNTS)
    counted = objects(4, 253)
    sets.write(root / "masks" / "b.tif", counted)
    with pytest.raises(
        InputError, match=r"b\.tif holds the number 255 in one piece.*leave out dataset.ignore_index=255"
    ):
        raw(root, mask_values="foreground", ignore_index=255)
    assert raw(root, mask_values="foreground").task.num_classes == 2
    counted[5, :3] = 255
    sets.write(root / "masks" / "b.tif", counted)
    notes = raw(root, mask_values="foreground", ignore_index=255).notes
    assert "255 counts as not annotated (dataset.ignore_index), though objects have larger numbers" in notes


@pytest.mark.parametrize("value", ["background", {}, {"a": 1}, {0: "x"}, 3, [0, 1], {0.5: 1}])
def test_other_words_for_mask_values_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"dataset\.mask_values must be foreground or a map"):
        FolderConfig(root="x", mask_values=value)


def test_mask_values_may_be_text_as_in_json() -> None:
    assert FolderConfig(root="x", mask_values={"0": 0, "255": "1"}).mask_values == {0: 0, 255: 1}


# ------------------------------------------------------------------------------------------- classes and the splits


def test_a_class_that_no_training_image_has_is_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    for stem, split in (("d", "val"), ("e", "test")):
        sets.write(root / "masks" / f"{stem}.png", sets.classes(count=3))
        with pytest.raises(InputError, match=rf"no training image holds class_2, which .*[de]\.png \({split}\) holds"):
            raw(root)
        sets.write(root / "masks" / f"{stem}.png", sets.classes())


@pytest.mark.parametrize(("stem", "split"), [("a", "train"), ("d", "val"), ("e", "test")])
def test_an_image_of_which_all_is_ignored_is_refused(tmp_path: Path, stem: str, split: str) -> None:
    root = sets.make(tmp_path)
    sets.write(root / "masks" / f"{stem}.png", np.full((6, 8), 255, np.uint8))
    with pytest.raises(InputError, match=rf"{stem}\.png holds nothing but dataset.ignore_index = 255.* \({split}\)"):
        raw(root, ignore_index=255)


def test_classes_that_occur_nowhere_or_not_in_a_test_image_are_said(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    sets.write(root / "masks" / "a.png", sets.classes(count=3))
    notes = raw(root, class_names=["ground", "cell", "rare", "never"]).notes
    assert "no test image holds rare, so it has no score" in notes
    assert "no image holds never, so nothing is learned or scored of it" in notes
    sets.write(root / "masks" / "e.png", sets.classes(count=3))
    notes = raw(root, class_names=["ground", "cell", "rare"]).notes
    assert "no validation image holds rare, so it has no part in the choice of weights" in notes


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cell", "cell"], "names cell 2 times"),
        (["cell", "macro"], "must not hold macro"),
        (["cell", " "], "must not hold an empty name"),
    ],
)
def test_names_of_classes_that_tables_cannot_tell_apart_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=rf"dataset\.class_names {sentence}"):
        FolderConfig(root="x", class_names=names)


# ----------------------------------------------------------------------------------------------------- intensities


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("settings", [{"ignore_index": 255}, {"ignore_index": 9, "mask_values": {0: 0, 1: 1, 255: 9}}])
def test_values_that_are_not_finite_may_lie_where_the_mask_ignores_them(
    tmp_path: Path, hole: float, settings: dict[str, Any]
) -> None:
    root = sets.make(tmp_path, ".tif", dtype=np.float32)
    image, mask = sets.picture(1, dtype=np.float32), sets.classes()
    image[0], mask[0] = hole, 255
    sets.write(root / "images" / "b.tif", image)
    sets.write(root / "masks" / "b.png", mask)
    read = np.asarray(load(FolderConfig(root=str(root), normalization="per_image", **settings)).train[1].image)[..., 0]
    assert (read[0] == 0).all()
    np.testing.assert_allclose(read[1:], (image[1:] - image[1:].mean()) / image[1:].std(), rtol=1e-5)
    image[2, 3] = hole
    sets.write(root / "images" / "b.tif", image)
    with pytest.raises(InputError, match=r"b\.tif holds (NaN|infinity) at pixel \(2, 3\).*dataset.ignore_index names"):
        load(FolderConfig(root=str(root), **settings))


def test_large_values_are_scaled_and_refused_only_where_nothing_scales_them(tmp_path: Path) -> None:
    root = sets.make(tmp_path, ".tif", dtype=np.float64)
    for n, stem in enumerate(sets.STEMS):
        sets.write(root / "images" / f"{stem}.tif", sets.picture(n, dtype=np.float64) * 1e41)
    image, plain = np.asarray(load(FolderConfig(root=str(root))).train[0].image)[..., 0], sets.picture(0)
    np.testing.assert_allclose(image, (plain - plain.mean()) / plain.std(), rtol=1e-5)
    with pytest.raises(InputError, match=r"a\.tif holds 1\.\d+e\+43, which dataset.normalization=none leaves beyond"):
        raw(root)


@pytest.mark.parametrize("normalization", ["dataset", "centred"])
def test_number_types_that_one_scaling_does_not_fit_are_refused(tmp_path: Path, normalization: str) -> None:
    root = sets.make(tmp_path, ".tif")
    sets.write(root / "images" / "d.tif", sets.picture(3, dtype=np.uint16) * 257)
    with pytest.raises(InputError, match=r"d\.tif holds uint16 values and .*a\.tif uint8, and dataset.normalization="):
        load(FolderConfig(root=str(root), normalization=normalization))
    assert load(FolderConfig(root=str(root), normalization="per_image")).task.in_channels == 1


@pytest.mark.parametrize("settings", [{}, {"mask_values": "foreground"}])
def test_a_mask_that_has_been_a_jpeg_is_noticed(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Saved as a JPEG and then as PNG: no codec tells, the numbers do."""
    root = tmp_path
    for n, stem in enumerate(sets.STEMS):
        sets.write(root / "images" / f"{stem}.png", sets.picture(n, (32, 48)))
        full = np.kron(sets.classes((4, 6)), np.ones((8, 8), np.uint8) * 255).astype(np.uint8)
        full[3:20, 5:30] = 255
        Image.fromarray(full).save(tmp_path / "lossy.jpg", quality=60)
        with Image.open(tmp_path / "lossy.jpg") as lossy:
            sets.write(root / "masks" / f"{stem}.png", np.asarray(lossy))
    with pytest.raises(InputError, match=r"a\.png holds \d+ numbers just above 0 and \d+ just below 255, as JPEG"):
        raw(root, **settings)


def test_a_palette_from_white_to_black_beside_plain_masks_is_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    save_palette(root / "masks" / "b.png", 1 - sets.classes(), [WHITE, BLACK])
    with pytest.raises(InputError, match=r"b\.png is white-is-zero and .*a\.png is not"):
        raw(root)


def test_a_palette_whose_black_is_not_number_0_is_named(tmp_path: Path) -> None:
    """Pictures of few colours that a program has reduced to a palette number them in any order."""
    root = sets.make(tmp_path)
    for stem in sets.STEMS:
        save_palette(root / "masks" / f"{stem}.png", sets.classes(), [RED, BLACK, GREEN])
    sentence = "a.png draws number 1 black and not 0, the background: if black is the background, list the colours"
    assert any(sentence in note for note in raw(root).notes)
    for settings in ({"class_names": ["a", "b", "c"]}, {"mask_colours": ["000000", "ff0000", "00ff00"]}):
        assert not any("black" in note for note in raw(root, **settings).notes)
    for stem in sets.STEMS:
        save_palette(root / "masks" / f"{stem}.png", sets.classes(), [BLACK, RED, GREEN])
    assert not any("black" in note for note in raw(root).notes)


@pytest.mark.parametrize("settings", [{}, {"mask_colours": ["000000", "ff0000"]}])
def test_a_mask_that_shows_its_objects_by_transparency_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    root = sets.make(tmp_path)
    for stem in sets.STEMS:
        cells = (sets.classes() > 0).astype(np.uint8) * 255
        colours = [cells | 255, cells & 0, cells & 0] if settings else [cells | 255] * 3
        sets.write(root / "masks" / f"{stem}.png", np.dstack([*colours, cells]))
    with pytest.raises(InputError, match=r"a\.png has one colour throughout, and shows its objects by transparency"):
        raw(root, **settings)


@pytest.mark.parametrize("seen", [0, 255])
def test_transparency_beside_a_mask_that_says_it_itself_is_dropped(tmp_path: Path, seen: int) -> None:
    """Where objects have a colour of their own it says nothing new, nor over a mask that is black throughout."""
    root = sets.make(tmp_path)
    for stem in sets.STEMS:
        cells = (sets.classes() > 0).astype(np.uint8) * 255
        shown = cells if stem != "b" else cells & 0
        sets.write(root / "masks" / f"{stem}.png", np.dstack([shown, shown, shown, cells | seen]))
    splits = raw(root)
    np.testing.assert_array_equal(splits.train[0].mask[...], sets.classes() > 0)


@pytest.mark.parametrize("number", [0, 1, 255])
def test_masks_of_one_number_have_nothing_to_tell_apart(tmp_path: Path, number: int) -> None:
    """No mapping is proposed for them, since none would help."""
    root = sets.make(tmp_path)
    for stem in sets.STEMS:
        sets.write(root / "masks" / f"{stem}.png", np.full_like(sets.classes(), number))
    with pytest.raises(InputError, match=rf"hold only one class, {number}: there is nothing to tell apart"):
        raw(root)


def test_a_number_that_is_in_one_image_only_is_no_object(tmp_path: Path) -> None:
    """Classes of one piece each, of which some images lack some: the numbers are not 1 to n, and few."""
    root = make_objects(tmp_path, dict.fromkeys("abcde", 4))
    partly = objects(4)
    partly[partly == 2] = 0
    sets.write(root / "masks" / "b.tif", partly)
    assert raw(root).task.num_classes == 5


def test_numbers_with_gaps_that_hardly_repeat_are_objects(tmp_path: Path) -> None:
    root = make_objects(tmp_path, dict.fromkeys("abcde", 4))
    for n, stem in enumerate("abcde"):
        sets.write(root / "masks" / f"{stem}.tif", objects(3, 1 + 4 * n))
    with pytest.raises(InputError, match="seem to number objects"):
        raw(root)


def test_values_whose_squares_overflow_are_refused(tmp_path: Path) -> None:
    root = sets.make(tmp_path, ".tif", dtype=np.float64)
    sets.write(root / "images" / "b.tif", sets.picture(1, dtype=np.float64) * 1e300)
    with pytest.raises(InputError, match=r"b\.tif holds 1\.\d+e\+302, whose square is beyond any number"):
        raw(root)


# --------------------------------------------------------------------------------------------------------- colours


def paint_colours(root: Path, save: Callable[[Path, NDArray[Any]], None]) -> dict[str, NDArray[np.uint8]]:
    """Replace all masks by ones of three classes, which `save` writes; returns their classes."""
    wanted = {}
    for n, stem in enumerate(sets.STEMS):
        (root / "masks" / f"{stem}.png").unlink()
        wanted[stem] = np.roll(sets.classes(count=3), n)
        save(root / "masks" / f"{stem}.png", wanted[stem])
    return wanted


def save_rgb(path: Path, numbers: NDArray[Any]) -> None:
    sets.write(path, np.array([BLACK, RED, GREEN], dtype=np.uint8)[numbers])


def save_rgba(path: Path, numbers: NDArray[Any]) -> None:
    colours = [[*colour, alpha] for colour, alpha in zip((BLACK, RED, GREEN), (0, 128, 255), strict=True)]
    sets.write(path, np.array(colours, dtype=np.uint8)[numbers])


def save_rgb_tiff(path: Path, numbers: NDArray[Any]) -> None:
    colours = np.array([BLACK, RED, GREEN], dtype=np.uint8)[numbers]
    sets.write(path.with_suffix(".tif"), colours, photometric="rgb")


def save_palettes_in_any_order(path: Path, numbers: NDArray[Any]) -> None:
    order = np.random.default_rng(path.stem.encode()[0]).permutation(3)
    save_palette(path, np.argsort(order)[numbers], [[BLACK, RED, GREEN][place] for place in order])


@pytest.mark.parametrize("save", [save_rgb, save_rgba, save_rgb_tiff, save_palettes_in_any_order])
def test_masks_in_colour_are_mapped_by_colour(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> None:
    wanted = paint_colours(sets.make(tmp_path), save)
    splits = raw(tmp_path, mask_colours=["000000", "#FF0000", "00ff00"])
    assert splits.task.class_names == ("class_0", "class_1", "class_2")
    for sample in (*splits.train, *splits.val, *splits.test):
        np.testing.assert_array_equal(np.asarray(sample.mask), wanted[sample.name])
        np.testing.assert_array_equal(sample.mask[2:4, 1:3], wanted[sample.name][2:4, 1:3])


def test_grey_masks_are_mapped_by_colour_too(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {stem: sets.classes() * 255 for stem in sets.STEMS})
    splits = raw(root, mask_colours=["000000", "ffffff"])
    np.testing.assert_array_equal(np.asarray(splits.train[0].mask), sets.classes())


def test_numbers_of_colours_can_be_mapped_and_ignored(tmp_path: Path) -> None:
    wanted = paint_colours(sets.make(tmp_path), save_rgb)
    splits = raw(tmp_path, mask_colours=["000000", "ff0000", "00ff00"], mask_values={0: 1, 1: 0, 2: 9}, ignore_index=9)
    assert splits.task.num_classes == 2
    first = splits.train[0]
    np.testing.assert_array_equal(np.asarray(first.mask), np.array([1, 0, 9])[wanted[first.name]])


def test_a_class_without_a_pixel_keeps_its_colour(tmp_path: Path) -> None:
    paint_colours(sets.make(tmp_path), save_rgb)
    splits = raw(tmp_path, mask_colours=["000000", "0000ff", "ff0000", "00ff00"])
    assert splits.task.num_classes == 4
    assert "no image holds class_1, so nothing is learned or scored of it" in splits.notes


@pytest.mark.parametrize("count", [256, 300])
def test_any_number_of_colours_is_told_apart(tmp_path: Path, count: int) -> None:
    numbers = np.arange(count).reshape(-1, 4)
    pixels = np.stack([numbers // 256, numbers % 256, numbers % 7], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    mask = open_mask(tmp_path / "m.png", colours=[pixel.tobytes().hex() for pixel in pixels.reshape(-1, 3)])
    np.testing.assert_array_equal(mask[...], numbers)
    assert mask[...].dtype == mask.dtype == (np.uint8 if count == 256 else np.uint16)


def test_a_colour_that_is_not_listed_is_named(tmp_path: Path) -> None:
    paint_colours(sets.make(tmp_path), save_rgb)
    with pytest.raises(InputError, match=r"a\.png holds the colour 00ff00, which dataset\.mask_colours does not list"):
        raw(tmp_path, mask_colours=["000000", "ff0000"])


def test_planes_that_a_writer_took_for_colours_are_called_planes(tmp_path: Path) -> None:
    planes = np.zeros((16, 24, 3), np.uint8)
    planes[2:9, 3:9, 1], planes[4:12, 3:9, 2] = 1, 2
    with pytest.raises(InputError, match=r"m\.tif is a coloured picture.*planes of a volume, .*minisblack") as caught:
        take_one_channel(tmp_path / "m.tif", planes, alpha=False)
    assert "mask_colours" not in str(caught.value)


def test_masks_in_colour_without_the_setting_are_refused_with_it(tmp_path: Path) -> None:
    paint_colours(sets.make(tmp_path), save_rgb)
    with pytest.raises(InputError, match=r"a\.png is a coloured picture") as caught:
        raw(tmp_path)
    setting = re.search(r"'dataset\.mask_colours=\[(.*)\]'", str(caught.value))
    assert setting is not None
    assert raw(tmp_path, mask_colours=setting[1].split(",")).task.num_classes == 3


@pytest.mark.parametrize(
    ("colours", "sentence"),
    [
        (["red", "000000"], "must hold six hexadecimal digits per colour, as in .* got 'red'"),
        (["ff0000", "FF0000"], "must hold at least two colours, each once"),
        (["ff0000"], "must hold at least two colours, each once"),
    ],
)
def test_colours_that_are_none_are_refused(colours: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FolderConfig(mask_colours=colours)


# ------------------------------------------------------------------------------------------------------- one bit


def test_masks_of_one_bit_hold_0_and_1(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {stem: sets.classes().astype(bool) for stem in sets.STEMS})
    with Image.open(root / "masks" / "a.png") as picture:
        assert picture.mode == "1"
    splits = raw(root)
    assert splits.task.class_names == ("class_0", "class_1")
    np.testing.assert_array_equal(np.asarray(splits.train[0].mask), sets.classes())
    assert sorted(count_numbers(masks.open_mask(root / "masks" / "a.png"))) == [0, 1]


def test_masks_of_one_bit_beside_0_and_255_are_refused_naming_both(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {"a": sets.classes().astype(bool), "b": sets.classes() * 255})
    with pytest.raises(InputError, match=r"a\.png holds 0 and 1, and .*b\.png 0 and 255"):
        raw(root)


def test_the_proposed_mapping_holds_the_very_numbers(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    replace_masks(root, {stem: sets.classes() + 1 for stem in sets.STEMS})
    with pytest.raises(InputError, match=r"as in 'dataset\.mask_values=\{1:0,2:1\}'"):
        raw(root)
    assert raw(root, mask_values={1: 0, 2: 1}).task.num_classes == 2
