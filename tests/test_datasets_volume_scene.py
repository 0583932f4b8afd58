"""Generated volumes: the same by blocks as whole, darker with depth, blurred along z, not solved by a threshold."""

from dataclasses import replace

import numpy as np
import pytest

from bench.config import InputError, SyntheticConfig
from bench.datasets.random_fields import Scene
from bench.datasets.registry import load
from bench.datasets.synthetic import SceneImage, cut_scene, load_synthetic
from bench.datasets.volume_scene import generate_volume_block, sample_axial_blur

SCENE = Scene("fluorescence", 3, (8, 130, 126), (3, 4), thickness=3.0)
WHOLE = (slice(0, 8), slice(0, 130), slice(0, 126))


def test_a_block_is_the_crop_of_the_whole() -> None:
    image, mask = generate_volume_block(SCENE, WHOLE)
    for box in (np.s_[2:5, 10:40, 33:66], np.s_[7:8, 0:1, 65:66], np.s_[0:2, 63:70, 0:30]):
        part, part_mask = generate_volume_block(SCENE, box)
        np.testing.assert_array_equal(part, image[box])
        np.testing.assert_array_equal(part_mask, mask[box])
    assert set(np.unique(mask)) == {0, 1, 2}
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


def test_two_classes_are_three_with_both_textures_joined_and_keys_differ() -> None:
    three = generate_volume_block(SCENE, WHOLE)[1]
    np.testing.assert_array_equal(generate_volume_block(replace(SCENE, num_classes=2), WHOLE)[1], np.minimum(three, 1))
    other = generate_volume_block(replace(SCENE, key=(3, 5)), WHOLE)[1]
    assert (other != three).mean() > 0.05


def test_light_is_lost_with_depth_and_spread_along_the_axis() -> None:
    scene = replace(SCENE, size=(16, 96, 96))
    box = (slice(0, 16), slice(0, 96), slice(0, 96))
    image, mask = generate_volume_block(scene, box)
    front, back = (np.median(image[part][mask[part] > 0]) for part in (slice(0, 4), slice(12, 16)))
    assert 0.35 < back / front < 0.8
    weights = sample_axial_blur(3.0)
    assert weights.sum() == pytest.approx(1)
    assert len(weights) == 5
    fine = sample_axial_blur(1.0)
    assert len(fine) == 13


def test_a_threshold_does_not_solve_it() -> None:
    scene = replace(SCENE, size=(12, 128, 128), num_classes=2)
    image, mask = generate_volume_block(scene, tuple(slice(0, length) for length in scene.size))
    dice = [
        2 * (above & (mask > 0)).sum() / (above.sum() + mask.sum())
        for above in (image > t for t in np.linspace(0.1, 0.6, 26))
    ]
    assert 0.4 < max(dice) < 0.9
    assert 0.08 < mask.mean() < 0.5


def settings(**changes: object) -> SyntheticConfig:
    usual = {"image_size": [3, 40, 36], "train_images": 1, "val_images": 1, "test_images": 1, "num_classes": 2}
    return SyntheticConfig(**(usual | changes))  # type: ignore[arg-type]


def test_volumes_are_a_data_set_in_memory_and_beyond() -> None:
    small, large = load(settings()), load_synthetic(settings(), kept_pixels=100)
    assert (small.task.spatial_axes, small.task.spacing, small.task.shortest) == (3, (3, 1, 1), (3, 40, 36))
    assert small.facts["dataset.pixels_test"] == 3 * 40 * 36
    kept, lazy = small.test[0], large.test[0]
    assert isinstance(lazy.image, SceneImage)
    assert kept.image.shape == lazy.image.shape == (3, 40, 36, 1)
    np.testing.assert_allclose(np.asarray(lazy.image), np.asarray(kept.image), atol=1e-4)
    np.testing.assert_array_equal(lazy.mask[1:2, 3:9, 4:], kept.mask[1:2, 3:9, 4:])
    np.testing.assert_array_equal(lazy.mask[1], kept.mask[1])
    assert load(settings(plane_distance=1.0)).task.spacing is None
    assert load(settings(plane_distance=2.0)).facts["dataset.content"] != small.facts["dataset.content"]


def test_boxes_cover_a_volume_once() -> None:
    seen = np.zeros((20, 50, 40), int)
    for box in cut_scene(seen.shape, 32):
        seen[box] += 1
        assert max(part.stop - part.start for part in box) <= 16
    assert (seen == 1).all()


def test_what_is_no_volume_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[height, width\] of at least 32 pixels each, or \[planes, height, width\]"):
        settings(image_size=[4, 4, 40, 40])
    with pytest.raises(InputError, match=r"dataset\.modality must be fluorescence for volumes"):
        settings(modality="phase_contrast")
