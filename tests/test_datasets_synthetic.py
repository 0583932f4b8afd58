"""Generated scenes as a data set: splits, normalisation, and scenes that never exist as a whole."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from bench.config import SyntheticConfig
from bench.datasets.files import ImageFile
from bench.datasets.normalization import Scaling
from bench.datasets.registry import load
from bench.datasets.synthetic import (
    BLOCK,
    SceneImage,
    SceneMask,
    compute_scene_moments,
    draw_scenes,
    find_window,
    load_synthetic,
)


def small(**settings: object) -> SyntheticConfig:
    config = SyntheticConfig(image_size=[48, 40], train_images=2, val_images=1, test_images=1)
    for name, value in settings.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize("modality", ["fluorescence", "phase_contrast"])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_every_sample_keeps_the_promises_of_sample(modality: str, num_classes: int) -> None:
    splits = load(small(modality=modality, num_classes=num_classes))
    assert splits.name == f"synthetic_{modality}"
    assert (splits.task.num_classes, splits.task.in_channels, splits.task.spatial_axes) == (num_classes, 1, 2)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [2, 1, 1]
    for sample in (*splits.train, *splits.val, *splits.test):
        assert (sample.image.shape, sample.mask.shape) == ((48, 40, 1), (48, 40))
        assert np.asarray(sample.image).dtype == np.float32
        assert np.asarray(sample.mask).max() < num_classes


def test_all_images_differ_and_a_split_does_not_depend_on_the_others_size() -> None:
    few, many = load(small()), load(small(train_images=3))
    images = [np.asarray(sample.image) for sample in (*many.train, *many.val, *many.test)]
    assert len({image.tobytes() for image in images}) == len(images)
    np.testing.assert_array_equal(np.asarray(few.test[0].image), np.asarray(many.test[0].image))
    assert few.facts["dataset.content"] != many.facts["dataset.content"]


def test_facts_count_images_and_pixels() -> None:
    facts = load(small()).facts
    assert (facts["dataset.images_train"], facts["dataset.pixels_train"]) == (2, 2 * 48 * 40)
    assert facts["dataset.pixels_test"] == 48 * 40


def test_normalisation_per_image_and_over_the_training_images() -> None:
    each = load(small(normalization="per_image"))
    for sample in (*each.train, *each.test):
        assert abs(float(np.mean(sample.image))) < 1e-5
        assert abs(float(np.std(np.asarray(sample.image))) - 1) < 1e-5
    raw, whole = load(small(normalization="none")), load(small(normalization="dataset"))
    train = np.stack([np.asarray(sample.image) for sample in raw.train]).astype(np.float64)
    expected = (np.asarray(raw.test[0].image) - train.mean()) / train.std()
    np.testing.assert_allclose(np.asarray(whole.test[0].image), expected, atol=1e-5)


def test_a_large_scene_is_generated_where_it_is_asked_for() -> None:
    splits = load(small(image_size=[30_000, 20_000], train_images=1, normalization="none"))
    sample = splits.test[0]
    assert isinstance(sample.image, SceneImage)
    assert isinstance(sample.mask, SceneMask)
    part = sample.image[20_000:20_040, 12_345:12_375]
    assert part.shape == (40, 30, 1)
    np.testing.assert_array_equal(sample.image[20_010:20_011, 12_345:12_350, 0], part[10:11, :5, 0])
    assert sample.mask[20_000:20_040, 12_345:12_375].shape == (40, 30)


def test_a_source_agrees_with_its_own_array_for_any_key() -> None:
    scene = draw_scenes(small(image_size=[BLOCK + 30, 40]), 0, 1)[0]
    mask = SceneMask(scene)
    whole = np.asarray(mask)
    for key in (
        np.s_[5:9],
        np.s_[-20:],
        np.s_[3 : BLOCK + 5, 1:7],
        np.s_[::2, 5],
        np.s_[4],
        np.s_[...],
        np.s_[9:3],
        np.s_[..., 2],
    ):
        np.testing.assert_array_equal(mask[key], whole[key])


def test_only_plain_slices_are_windows() -> None:
    assert find_window(np.s_[2:5, :], (10, 20)) is not None
    assert find_window(np.s_[::2], (10, 20)) is None
    assert find_window(np.s_[4], (10, 20)) is None


def test_moments_of_a_large_scene_are_close_to_those_of_all_of_it() -> None:
    scene = draw_scenes(small(image_size=[700, 600]), 0, 1)[0]
    whole = np.asarray(SceneImage(scene, Scaling(np.zeros(1), np.ones(1))), dtype=np.float64)
    estimate = compute_scene_moments(scene, kept_pixels=1000, side=64)
    assert estimate.count < whole.size
    assert abs(estimate.mean[0] - whole.mean()) < 0.05 * whole.std()
    assert abs(np.sqrt(estimate.variance[0]) / whole.std() - 1) < 0.05


def test_a_cached_scene_is_the_generated_one_read_from_a_file(tmp_path: Path) -> None:
    generated, cached = (
        load_synthetic(settings, kept_pixels=1000) for settings in (small(), small(cache_dir=str(tmp_path)))
    )
    for one, two in zip((*generated.train, *generated.test), (*cached.train, *cached.test), strict=True):
        assert isinstance(one.image, SceneImage)
        assert isinstance(two.image, ImageFile)
        assert (one.image.shape, one.mask.shape) == (two.image.shape, two.mask.shape)
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(two.image))
        np.testing.assert_array_equal(one.mask[3:9, 5:], two.mask[3:9, 5:])


def test_a_cache_is_written_once_and_only_under_its_own_settings(tmp_path: Path) -> None:
    load_synthetic(small(cache_dir=str(tmp_path)), kept_pixels=1000)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) == 8
    load_synthetic(small(cache_dir=str(tmp_path)), kept_pixels=1000)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    load_synthetic(small(cache_dir=str(tmp_path), seed=1), kept_pixels=1000)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 16


@pytest.mark.parametrize("kept", [1000, 10_000])
def test_samples_survive_the_way_into_another_process(kept: int) -> None:
    sample = load_synthetic(small(), kept_pixels=kept).train[0]
    again = pickle.loads(pickle.dumps(sample))
    np.testing.assert_array_equal(np.asarray(again.image), np.asarray(sample.image))
