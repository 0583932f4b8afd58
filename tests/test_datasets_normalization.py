"""Scaling of grey values, against numpy's own mean and standard deviation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.datasets.normalization import Moments, choose_scaling, compute_moments, pool, pool_training, standardise

RNG = np.random.default_rng(0)


def test_moments_in_bands_are_those_of_numpy() -> None:
    image = RNG.integers(0, 60_000, (13, 7, 3)).astype(np.uint16)
    found = compute_moments(image, band_values=20)
    assert found.count == 13 * 7
    np.testing.assert_allclose(found.mean, image.mean(axis=(0, 1)))
    np.testing.assert_allclose(found.variance, image.var(axis=(0, 1)))


def test_pooled_moments_are_those_of_the_union() -> None:
    parts = [RNG.normal(3, 2, (5, 4, 2)), RNG.normal(-1, 1, (2, 3, 2))]
    union = np.concatenate([part.reshape(-1, 2) for part in parts])
    found = pool([compute_moments(part) for part in parts])
    assert found.count == len(union)
    np.testing.assert_allclose(found.mean, union.mean(axis=0))
    np.testing.assert_allclose(found.variance, union.var(axis=0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_a_standardised_image_has_mean_0_and_deviation_1(dtype: type) -> None:
    image: NDArray[Any] = RNG.integers(0, 200, (9, 8, 2)).astype(dtype)
    scaled = standardise(compute_moments(image)).apply(image)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1, atol=1e-5)


def test_a_constant_channel_becomes_zero() -> None:
    image = np.stack([np.full((4, 4), 1234.567), np.arange(16.0).reshape(4, 4), np.zeros((4, 4))], axis=-1)
    scaled = standardise(compute_moments(image)).apply(image)
    np.testing.assert_allclose(scaled[..., [0, 2]], 0, atol=1e-4)
    assert abs(float(scaled[..., 1].std()) - 1) < 1e-6


def test_large_offsets_of_double_precision_survive() -> None:
    image = 1e9 + np.arange(16.0).reshape(4, 4, 1)
    found = compute_moments(image)
    np.testing.assert_allclose(choose_scaling("dataset", image.dtype, found, found).apply(image).std(), 1, rtol=0.01)


@pytest.mark.parametrize("key", [..., np.s_[2:4], np.s_[:, 1:3, 1], np.s_[-1], np.s_[1, 2, 0], np.s_[..., ::-1]])
def test_a_part_scaled_is_a_part_of_the_scaled(key: Any) -> None:
    image = RNG.integers(0, 255, (6, 5, 2)).astype(np.uint8)
    scaling = standardise(compute_moments(image))
    np.testing.assert_array_equal(scaling.apply(image, key), scaling.apply(image)[key])


def test_centring_keeps_the_contrast_that_images_have_among_themselves() -> None:
    images = [RNG.normal(level, spread, (30, 20, 2)) for level, spread in ((5, 1), (90, 4), (40, 2))]
    found = [compute_moments(image) for image in images]
    train = pool_training("centred", found)
    scaled = [
        choose_scaling("centred", np.dtype(np.float64), own, train).apply(image)
        for own, image in zip(found, images, strict=True)
    ]
    np.testing.assert_allclose([part.mean(axis=(0, 1)) for part in scaled], 0, atol=1e-5)
    ratio = [part.std(axis=(0, 1)) / image.std(axis=(0, 1)) for part, image in zip(scaled, images, strict=True)]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], (3, 2)), rtol=1e-5)
    np.testing.assert_allclose(np.mean([part.var(axis=(0, 1)) for part in scaled], axis=0), 1, rtol=1e-5)
    brighter = [compute_moments(image + offset) for image, offset in zip(images, (100, -3, 7), strict=True)]
    np.testing.assert_allclose(pool_training("centred", brighter).variance, train.variance)


def test_four_ways_to_scale() -> None:
    own, train = Moments(4, np.array([10.0]), np.array([4.0])), Moments(8, np.array([5.0]), np.array([25.0]))
    image = np.array([[[20]]], dtype=np.uint8)
    expected = {"per_image": (20 - 10) / 2, "centred": (20 - 10) / 5, "dataset": (20 - 5) / 5, "none": 20 / 255}
    for mode, value in expected.items():
        assert choose_scaling(mode, image.dtype, own, train).apply(image).item() == pytest.approx(value)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.int16, 1)])
def test_unscaled_cameras_fill_the_unit_interval_and_floats_stay(dtype: type, largest: float) -> None:
    image: NDArray[Any] = np.array([[[100]]], dtype=dtype)
    assert choose_scaling("none", image.dtype, compute_moments(image), compute_moments(image)).apply(
        image
    ).item() == pytest.approx(100 / largest)


def test_a_channel_axis_moved_in_memory_comes_out_contiguous() -> None:
    image = np.moveaxis(RNG.integers(0, 255, (2, 6, 5)).astype(np.uint8), 0, -1)
    assert standardise(compute_moments(image)).apply(image).flags.c_contiguous
