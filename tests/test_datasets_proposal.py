"""Proposals follow from the training images alone, by the rules that they state."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import folder_sets as sets

from bench.config import FolderConfig
from bench.datasets.registry import load
from bench.datasets.sample import Splits


def squares(side: int, shape: tuple[int, int] = (128, 160)) -> NDArray[np.uint8]:
    """Squares of `side` pixels, twice as far apart."""
    y, x = np.indices(shape)
    return ((y % (2 * side) < side) & (x % (2 * side) < side)).astype(np.uint8)


def image_of(seed: int, contrast: float = 20.0, level: float = 100.0) -> NDArray[np.float32]:
    return (level + contrast * np.random.default_rng(seed).standard_normal((128, 160))).astype(np.float32)


def make(root: Path, masks: dict[str, NDArray[np.uint8]], images: dict[str, NDArray[np.float32]]) -> Splits:
    sets.make(root, ".tif")
    for n, stem in enumerate(sets.STEMS):
        sets.write(root / "images" / f"{stem}.tif", images.get(stem, image_of(n)))
        sets.write(root / "masks" / f"{stem}.png", masks.get(stem, squares(16)))
    return load(FolderConfig(root=str(root), normalization="none", class_names=["ground", "cell"]))


def values(splits: Splits) -> dict[str, str]:
    return {one.setting: one.value for one in splits.proposals}


@pytest.mark.parametrize(("side", "width", "size"), [(4, 4, 16), (32, 32, 16), (64, 55, 43)])  # 64: one is cut at half
def test_superpixels_are_as_large_as_the_objects_allow(tmp_path: Path, side: int, width: int, size: int) -> None:
    splits = make(tmp_path, dict.fromkeys("abcde", squares(side)), {})
    assert values(splits)["superpixels.superpixel_size"] == str(size)
    assert f"cell is about {width} pixels across" in str(splits.proposals[0])
    assert ("better left to pixels" in str(splits.proposals[0])) == (width == 4), "at a quarter of its Dice"


def test_crops_span_three_objects_within_the_images(tmp_path: Path) -> None:
    splits = make(tmp_path / "small", {}, {})
    found = values(splits)
    assert (found["pipeline.crop_size"], found["pipeline.tile_size"]) == ("128", "160")
    [tile] = [one for one in splits.proposals if one.setting == "pipeline.tile_size"]
    assert "no image has a side of more than" in tile.reason
    found = values(make(tmp_path / "large", dict.fromkeys("abcde", squares(64)), {}))
    assert (found["pipeline.crop_size"], found["pipeline.tile_size"]) == ("128", "160")


def test_a_crop_follows_the_usual_image_and_says_what_held_it_back(tmp_path: Path) -> None:
    """One image of a few rows, such as a line scan, does not shrink the crops of all."""
    splits = make(tmp_path, {"a": squares(16)[:8]}, {"a": image_of(0)[:8]})
    [crop] = [one for one in splits.proposals if one.setting == "pipeline.crop_size"]
    assert crop.value == "128"
    assert "would be" not in crop.reason
    sets.make(tmp_path / "slim", ".tif")
    for n, stem in enumerate(sets.STEMS):
        sets.write(tmp_path / "slim" / "images" / f"{stem}.tif", image_of(n)[:70])
        sets.write(tmp_path / "slim" / "masks" / f"{stem}.png", squares(16)[:70])
    found = load(FolderConfig(root=str(tmp_path / "slim"), normalization="none", class_names=["ground", "cell"]))
    [crop] = [one for one in found.proposals if one.setting == "pipeline.crop_size"]
    assert crop.value == "64"
    assert "would be 128, and the shorter side of a usual image is 70" in crop.reason


def test_images_without_contrast_are_said_to_teach_nothing(tmp_path: Path) -> None:
    flat = {stem: np.full_like(image_of(0), 7.0) for stem in "abcde"}
    [found] = [one for one in make(tmp_path, {}, flat).proposals if one.setting == "dataset.normalization"]
    assert "no training image has any contrast" in found.reason


@pytest.mark.parametrize(
    ("images", "normalization", "reason"),
    [
        ({}, "centred", "exposure is alike"),
        ({"a": image_of(0, contrast=1)}, "centred", "1 of 3 training images have less than 0.25 of the usual contrast"),
        ({"a": image_of(0, contrast=60)}, "per_image", "contrast differs by a factor of 3.0"),
        ({"a": image_of(0, level=300)}, "per_image", "their brightness by 4.7 times the contrast"),
    ],
    ids=["alike", "nearly empty", "contrasts", "levels"],
)
def test_scaling_follows_exposure(
    tmp_path: Path, images: dict[str, NDArray[np.float32]], normalization: str, reason: str
) -> None:
    [line] = [str(one) for one in make(tmp_path, {}, images).proposals if "normalization" in one.setting]
    assert line.startswith(f"dataset.normalization={normalization} (")
    assert reason in line


def test_test_images_propose_nothing(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", {}, {})
    other = make(
        tmp_path / "other", {"d": squares(50), "e": squares(3)}, {"d": image_of(8, 1), "e": image_of(9, 70, 900)}
    )
    assert plain.proposals == other.proposals


def test_volumes_get_cubes_and_no_tiles(tmp_path: Path) -> None:
    root = sets.make(tmp_path, ".tif", (8, 32, 32))
    volume = np.zeros((8, 32, 32), np.uint8)
    volume[:, :16] = 1
    for stem in sets.STEMS:
        (root / "masks" / f"{stem}.png").unlink()
        sets.write(root / "masks" / f"{stem}.tif", volume)
    found = [str(one) for one in load(FolderConfig(root=str(root))).proposals]
    assert found[0].startswith("superpixels.superpixel_size=64 (class_1 is about")
    assert "about 4 x 4 x 4" in found[0]
    assert len(found) == 2


def test_a_background_that_is_thinnest_decides(tmp_path: Path) -> None:
    """Membranes are class 0 in some sets, and the mean over classes counts them as it does the cells between."""
    y, x = np.indices((128, 160))
    cells = ((y % 32 >= 6) & (x % 32 >= 6)).astype(np.uint8)
    found = make(tmp_path / "thin", dict.fromkeys("abcde", cells), {})
    assert "ground is about" in str(found.proposals[0])
    assert "cell" in next(one.reason for one in found.proposals if one.setting == "pipeline.crop_size")
    assert "cell is about" in str(make(tmp_path / "thick", {}, {}).proposals[0])


@pytest.mark.parametrize(
    ("depth", "size", "edge"), [(1.0, "64", "4 x 4 x 4"), (2.0, "32", "2 x 4 x 4"), (8.0, "16", "1 x 4 x 4")]
)
def test_superpixels_of_long_voxels_are_cubes_in_space(tmp_path: Path, depth: float, size: str, edge: str) -> None:
    """Balls of 24 sides across in space have the width they have, however many planes show them."""
    planes = round(48 / depth)
    z, y, x = np.indices((planes, 48, 48))
    ball = (((z + 0.5) * depth - 24) ** 2 + (y - 23.5) ** 2 + (x - 23.5) ** 2 <= 24**2).astype(np.uint8)
    for n, stem in enumerate(sets.STEMS):
        sets.write(tmp_path / "images" / f"{stem}.tif", sets.picture(n, ball.shape))
        sets.write(tmp_path / "masks" / f"{stem}.tif", ball)
    found = load(FolderConfig(root=str(tmp_path), spacing=[depth, 1, 1]))
    assert found.proposals[0].value == size
    assert f"about {edge}," in found.proposals[0].reason
    assert float(found.facts["dataset.object_width"]) == pytest.approx(32, rel=0.06)
    if depth > 1:
        assert re.search(r" about (\d+ times the shortest side of a pixel) across", found.proposals[0].reason)
