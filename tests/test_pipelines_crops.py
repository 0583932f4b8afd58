"""Crops are true parts of their images, image and labels stay together, and an epoch sees every image by its size."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.pipelines.cnn.crops import IGNORED, CropSampler, Labelled


def numbered(*shape: int, start: int = 0) -> Labelled:
    """An image whose pixels are their own numbers, and whose labels say the same."""
    mask = np.arange(start, start + int(np.prod(shape))).reshape(shape)
    return Labelled(mask[..., None].astype(np.float32), mask)


def crops(sampler: CropSampler, epochs: int = 1) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    return [
        (image, labels)
        for epoch in range(epochs)
        for batch in sampler.draw_epoch(np.random.default_rng(epoch))
        for image, labels in zip(*batch, strict=True)
    ]


def test_labels_stay_with_their_pixels_through_every_turn() -> None:
    orientations = set()
    for image, labels in crops(CropSampler([numbered(20, 30)], (8, 8), 4), epochs=10):
        np.testing.assert_array_equal(image[..., 0], labels)
        steps = (int(labels[1, 0] - labels[0, 0]), int(labels[0, 1] - labels[0, 0]))
        orientations.add(steps)
        np.testing.assert_array_equal(np.diff(labels, axis=0), steps[0])
        np.testing.assert_array_equal(np.diff(labels, axis=1), steps[1])
    assert orientations == {(a, b) for s in (1, -1) for t in (30, -30) for a, b in ((s, t), (t, s))}


def test_every_pixel_can_be_drawn() -> None:
    seen = np.concatenate(
        [labels.ravel() for _, labels in crops(CropSampler([numbered(20, 30)], (8, 8), 4), epochs=60)]
    )
    assert set(seen) == set(range(600))


def test_an_epoch_sees_as_many_pixels_as_there_are() -> None:
    sampler = CropSampler([numbered(64, 64), numbered(32, 64)], (16, 16), 4)
    batches = list(sampler.draw_epoch(np.random.default_rng(0)))
    assert len(batches) == len(sampler) == (64 * 64 + 32 * 64) // (16 * 16 * 4)
    assert {image.shape for image, _ in batches} == {(4, 16, 16, 1)}


def test_images_are_drawn_in_proportion_to_their_pixels() -> None:
    sampler = CropSampler([numbered(32, 64), numbered(64, 64, start=10_000)], (16, 16), 4)
    drawn = Counter(bool(labels[0, 0] >= 10_000) for _, labels in crops(sampler))
    assert drawn == {False: 8, True: 16}


def test_a_small_set_still_fills_a_batch() -> None:
    ((images, _),) = CropSampler([numbered(8, 8)], (16, 16), 3).draw_epoch(np.random.default_rng(0))
    assert images.shape == (3, 16, 16, 1)


def test_what_lies_beyond_the_image_is_mirrored_and_ignored() -> None:
    found = crops(CropSampler([numbered(5, 9)], (16, 16), 2), epochs=5)
    assert len(found) == 10
    for image, labels in found:
        counted = labels != IGNORED
        assert sorted(labels[counted]) == list(range(45))
        np.testing.assert_array_equal(image[..., 0][counted], labels[counted])
        assert set(np.unique(image)) == set(range(45))


def test_slices_of_a_volume_are_images_of_their_own() -> None:
    seen = Counter(int(labels.min() // 256) for _, labels in crops(CropSampler([numbered(6, 16, 16)], (16, 16), 1)))
    assert seen == dict.fromkeys(range(6), 1)


def test_ignored_labels_become_one_value() -> None:
    mask = np.array([[0, 255], [1, 255]], np.uint8)
    labelled = Labelled(np.zeros((2, 2, 1), np.float32), mask)
    ((_, labels),) = CropSampler([labelled], (2, 2), 1, ignore_index=255).draw_epoch(np.random.default_rng(0))
    assert sorted(labels.ravel()) == [IGNORED, IGNORED, 0, 1]


def test_jitter_changes_intensities_and_not_labels() -> None:
    (image, labels), *_ = crops(CropSampler([numbered(16, 16)], (16, 16), 1, jitter=0.1))
    assert image.dtype == np.float32
    assert np.corrcoef(image.ravel(), labels.ravel())[0, 1] == pytest.approx(1, abs=1e-3)
    assert np.abs(image[..., 0] - labels).max() > 0


def test_the_same_generator_gives_the_same_crops() -> None:
    sampler = CropSampler([numbered(20, 30)], (8, 8), 4, jitter=0.1)
    for (first, _), (second, _) in zip(crops(sampler), crops(sampler), strict=True):
        np.testing.assert_array_equal(first, second)
    one, other = (next(sampler.draw_epoch(np.random.default_rng(seed)))[0] for seed in (0, 9))
    assert not np.array_equal(one, other), "and another generator gives others"


@pytest.mark.parametrize("shape", [(70, 90), (3, 40, 50)])
def test_at_lower_resolution_a_crop_is_the_mean_of_the_full_one(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    mask = rng.integers(0, 4, shape)
    labelled = Labelled(rng.normal(size=(*shape, 2)).astype(np.float32), mask)
    sampler = CropSampler([labelled], (32, 32), 3, ignore_index=3)
    full, reduced = (
        list(one.draw_epoch(np.random.default_rng(7))) for one in (sampler, replace(sampler, scale=4, num_classes=3))
    )
    assert len(full) == len(reduced) > 0
    for (image, labels), (means, counts) in zip(full, reduced, strict=True):
        blocks = image.reshape(3, 8, 4, 8, 4, 2)
        np.testing.assert_allclose(means, blocks.mean(axis=(2, 4)), atol=1e-6)
        for label in range(3):
            found = (labels == label).reshape(3, 8, 4, 8, 4).sum(axis=(2, 4))
            np.testing.assert_array_equal(counts[..., label], found)


def test_noise_at_lower_resolution_is_that_of_a_mean() -> None:
    """As if every pixel of the image had its own: a quarter of the deviation in blocks of 4 x 4."""
    flat = Labelled(np.zeros((64, 64, 1), np.float32), np.zeros((64, 64), np.int64))
    spread = {}
    for scale in (1, 4):
        sampler = CropSampler([flat], (64, 64), 4000, jitter=0.2, scale=scale, num_classes=1)
        ((images, _),) = sampler.draw_epoch(np.random.default_rng(0))
        spread[scale] = images.std(axis=(1, 2, 3)).mean()
    assert spread[1] / spread[4] == pytest.approx(4, rel=0.1)
