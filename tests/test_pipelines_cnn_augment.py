"""Augmentation: labels follow their pixels, what comes from beyond a crop counts for nothing, seeds decide all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import CnnConfig, InputError, TiledCnnConfig
from bench.pipelines.cnn.augment import CHANGES, augment, augment_batches, lower_resolution, resample, sample_linearly
from bench.pipelines.cnn.crops import IGNORED

SHAPE = (24, 24)


def draw_crop(seed: int = 0, channels: int = 2) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*SHAPE, channels)).astype(np.float32), rng.integers(0, 3, SHAPE)


def test_no_rotation_and_no_zoom_change_nothing() -> None:
    image, labels = draw_crop()
    again = resample(image, labels, 0.0, 1.0)
    np.testing.assert_allclose(again[0], image, atol=1e-6)
    np.testing.assert_array_equal(again[1], labels)


def test_a_quarter_turn_is_that_of_numpy() -> None:
    image, labels = draw_crop()
    turned = resample(image, labels, np.pi / 2, 1.0)
    quarters = next(n for n in (1, 3) if np.array_equal(np.rot90(labels, n), turned[1]))
    np.testing.assert_allclose(turned[0], np.rot90(image, quarters), atol=1e-5)


def test_labels_follow_their_pixels_and_what_lies_beyond_is_ignored() -> None:
    rows, columns = np.indices(SHAPE)
    labels = ((rows - 9) ** 2 + (columns - 14) ** 2 < 16).astype(np.int64)
    image = labels[..., None].astype(np.float32)
    turned, moved = resample(image, labels, 0.6, 1.3)
    counted = moved != IGNORED
    assert 0.3 < counted.mean() < 0.9, "at 1.3 pixels per pixel the border shows what is not there"
    assert (np.abs(turned[..., 0] - moved)[counted] <= 0.76).all(), (
        "the nearest of four pixels weighs a quarter at least"
    )
    assert np.isclose((moved == 1).sum(), (labels == 1).sum() / 1.3**2, rtol=0.3)


def test_larger_things_need_nothing_from_beyond() -> None:
    image, labels = draw_crop()
    assert IGNORED not in resample(image, labels, 0.0, 0.7)[1]


def test_interpolation_is_exact_for_a_ramp() -> None:
    rows, columns = np.indices((7, 9), dtype=np.float64)
    ramp = (2 * rows + 3 * columns)[..., None].astype(np.float32)
    places = np.random.default_rng(0).uniform(0, 1, (2, 5, 6)) * np.array([6, 8])[:, None, None]
    np.testing.assert_allclose(sample_linearly(ramp, places)[..., 0], 2 * places[0] + 3 * places[1], rtol=1e-5)


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=lambda change: change.__name__)
def test_grey_values_change_and_stay_finite(change) -> None:  # type: ignore[no-untyped-def]
    image, _ = draw_crop()
    changed = change(image, np.random.default_rng(1))
    assert changed.shape == image.shape
    assert np.isfinite(changed).all()
    assert not np.allclose(changed, image)
    flat = np.ones_like(image)
    assert np.isfinite(change(flat, np.random.default_rng(1))).all(), "an empty crop divides by nothing"


def test_a_ramp_at_lower_resolution_stays_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None], (*SHAPE, 1))
    np.testing.assert_allclose(lower_resolution(ramp, np.random.default_rng(0)), ramp, atol=1.0)


def test_batches_keep_their_shapes_and_follow_the_seed() -> None:
    pairs = [draw_crop(seed) for seed in range(64)]
    batch = np.stack([image for image, _ in pairs]), np.stack([labels for _, labels in pairs])

    def draw(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        [changed] = augment_batches(iter([batch]), np.random.default_rng(seed))
        return changed

    first, again, other = draw(0), draw(0), draw(1)
    assert (first[0].shape, first[0].dtype, first[1].shape) == (batch[0].shape, np.dtype(np.float32), batch[1].shape)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    same = [np.array_equal(one, before) for one, before in zip(first[0], batch[0], strict=True)]
    assert 0 < sum(same) < 64, "each change has its probability"


def test_every_crop_is_float32_whatever_was_done() -> None:
    for seed in range(20):
        image, labels = augment(*draw_crop(seed), np.random.default_rng(seed))
        assert (image.dtype, labels.dtype) == (np.dtype(np.float32), np.dtype(np.int64))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="augmentation must be one of light, strong"):
        TiledCnnConfig(augmentation="much")
    with pytest.raises(InputError, match=r"deep_supervision needs .*Unet .* got FPN and 1"):
        TiledCnnConfig(deep_supervision=True, model=CnnConfig("FPN"))
    with pytest.raises(InputError, match="got Unet and 2"):
        TiledCnnConfig(deep_supervision=True, accumulate=2)


def test_shares_of_classes_turn_like_the_classes() -> None:
    image, labels = draw_crop(3)
    shares = np.stack([labels == label for label in range(labels.max() + 1)], axis=-1).astype(np.float32)
    turned = resample(image, labels, 0.5, 1.2)[1]
    turned_shares = resample(image, shares, 0.5, 1.2)[1]
    assert (turned == IGNORED).any()
    np.testing.assert_array_equal(turned_shares.sum(axis=-1) == 0, turned == IGNORED)
    kept = turned != IGNORED
    np.testing.assert_array_equal(turned_shares.argmax(axis=-1)[kept], turned[kept])
