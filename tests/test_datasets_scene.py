"""Generated scenes: the window never matters, the classes differ by texture only, and no threshold finds them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import InputError, SyntheticConfig
from bench.datasets.random_fields import Region, Scene, draw_lattice, draw_value_noise
from bench.datasets.scene import generate_block

if TYPE_CHECKING:
    from skimage.filters import threshold_multiotsu


SCENES = [
    Scene(modality, classes, (150, 130), (7, 11))
    for modality in ("fluorescence", "phase_contrast")
    for classes in (2, 3)
]
ALL = Region(0, 0, 150, 130)


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: f"{s.modality}-{s.num_classes}")
@pytest.mark.parametrize("side", [17, 64, 100])
def test_blocks_of_any_size_make_up_the_whole(scene: Scene, side: int) -> None:
    image, mask = generate_block(scene, ALL)
    for y, x in product(range(0, 150, side), range(0, 130, side)):
        window = Region(y, x, min(y + side, 150), min(x + side, 130))
        part, part_mask = generate_block(scene, window)
        np.testing.assert_array_equal(part, image[y : y + side, x : x + side])
        np.testing.assert_array_equal(part_mask, mask[y : y + side, x : x + side])


@pytest.mark.parametrize("modality", ["fluorescence", "phase_contrast"])
def test_a_small_window_knows_of_every_cell_that_reaches_it(modality: str) -> None:
    scene = Scene(modality, 3, (400, 400), (3, 4))
    image, mask = generate_block(scene, Region(0, 0, 400, 400))
    for y, x in np.random.default_rng(0).integers(0, 397, (250, 2)).tolist():
        part, part_mask = generate_block(scene, Region(y, x, y + 3, x + 3))
        np.testing.assert_array_equal(part, image[y : y + 3, x : x + 3])
        np.testing.assert_array_equal(part_mask, mask[y : y + 3, x : x + 3])


def test_a_window_far_inside_a_huge_scene_needs_nothing_else() -> None:
    scene = Scene("fluorescence", 3, (200_000, 200_000), (1, 2))
    image, mask = generate_block(scene, Region(150_000, 99_990, 150_090, 100_090))
    inner, inner_mask = generate_block(scene, Region(150_030, 100_000, 150_031, 100_007))
    np.testing.assert_array_equal(inner, image[30:31, 10:17])
    np.testing.assert_array_equal(inner_mask, mask[30:31, 10:17])
    assert image.std() > 0.02
    assert mask.max() > 0


@pytest.mark.parametrize("modality", ["fluorescence", "phase_contrast"])
@pytest.mark.parametrize("times", [2, 4])
def test_a_magnified_scene_shows_the_same_cells_with_more_pixels(modality: str, times: int) -> None:
    field = Scene(modality, 3, (90, 100), (5, 6))
    large = Scene(modality, 3, (90 * times, 100 * times), (5, 6), times)
    image, mask = generate_block(field, Region(0, 0, 90, 100))
    image_large, mask_large = generate_block(large, Region(0, 0, 90 * times, 100 * times))
    blocks = image_large.reshape(90, times, 100, times)
    assert np.abs(blocks.mean(axis=(1, 3)) - image).mean() < 0.04  # the field has noise in single pixels
    centre = mask_large[times // 2 :: times, times // 2 :: times]
    assert (centre == mask).mean() > 0.97
    assert set(np.unique(mask_large)) == {0, 1, 2}
    part, part_mask = generate_block(large, Region(31, 57, 80, 99))
    np.testing.assert_array_equal(part, image_large[31:80, 57:99])
    np.testing.assert_array_equal(part_mask, mask_large[31:80, 57:99])


def test_a_magnification_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"dataset\.magnification must be at least 1 and divide"):
        SyntheticConfig(image_size=[100, 90], magnification=4)


def test_the_key_alone_decides() -> None:
    scene, again, other = (Scene("phase_contrast", 3, (60, 60), key) for key in ((1, 2), (1, 2), (1, 3)))
    window = Region(0, 0, 60, 60)
    np.testing.assert_array_equal(generate_block(scene, window)[0], generate_block(again, window)[0])
    assert np.mean(generate_block(scene, window)[0] == generate_block(other, window)[0]) < 0.1


def test_two_classes_are_the_three_with_the_textures_joined() -> None:
    for two, three in ((SCENES[0], SCENES[1]), (SCENES[2], SCENES[3])):
        joined = np.minimum(generate_block(three, ALL)[1], 1)
        np.testing.assert_array_equal(generate_block(two, ALL)[1], joined)


def test_images_are_float32_in_the_unit_interval() -> None:
    for scene in SCENES:
        image, mask = generate_block(scene, ALL)
        assert image.dtype == np.float32
        assert mask.dtype == np.uint8
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) == set(range(scene.num_classes))


def test_lattice_values_are_standard_normal_and_independent_across_chunks() -> None:
    values = draw_lattice(SCENES[0], 3, Region(-100, -64, 156, 192))
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02
    assert abs(np.corrcoef(values[36:100, :64].ravel(), values[100:164, :64].ravel())[0, 1]) < 0.06


def test_value_noise_passes_through_its_lattice() -> None:
    window = Region(0, 0, 41, 41)
    smooth, points = draw_value_noise(SCENES[0], 3, window, 10.0), draw_lattice(SCENES[0], 3, Region(0, 0, 5, 5))
    np.testing.assert_allclose(smooth[::10, ::10], points, atol=1e-6)
    assert np.abs(np.diff(smooth, axis=0)).max() < np.abs(np.diff(points, axis=0)).max() * 0.16


@pytest.mark.parametrize("modality", ["fluorescence", "phase_contrast"])
def test_intensity_tells_neither_the_cell_classes_apart_nor_the_cells_from_all_else(modality: str) -> None:
    scene = Scene(modality, 3, (384, 384), (5, 6))
    image, mask = generate_block(scene, Region(0, 0, 384, 384))
    grained, striated, ground = (image[mask == k] for k in (1, 2, 0))
    assert abs(grained.mean() - striated.mean()) < 0.5 * grained.std()
    bands = np.digitize(image, threshold_multiotsu(image, 4))
    counts = np.histogram2d(bands.ravel(), mask.ravel(), bins=(range(5), range(4)))[0]
    found = counts.argmax(axis=1)[bands]
    for k in (1, 2):
        dice = 2 * np.sum((found == k) & (mask == k)) / (np.sum(found == k) + np.sum(mask == k))
        assert dice < 0.6
    assert np.percentile(ground, 99.9) > np.median(grained)


@pytest.mark.parametrize("modality", ["fluorescence", "phase_contrast"])
def test_texture_tells_the_cell_classes_apart(modality: str) -> None:
    scene = Scene(modality, 3, (384, 384), (5, 6))
    image, mask = generate_block(scene, Region(0, 0, 384, 384))
    jumps = np.abs(image[1:-1, 2:] - 2 * image[1:-1, 1:-1] + image[1:-1, :-2]) / image[1:-1, 1:-1].clip(0.1)
    inside = mask[1:-1, 1:-1]
    assert jumps[inside == 1].mean() > 1.15 * jumps[inside == 2].mean()
