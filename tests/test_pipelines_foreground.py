"""Pixels of rare classes are drawn evenly, crops around them show them, and the loss stays in balance all the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import Config, DatasetConfig, TiledCnnConfig, TrainingConfig
from bench.datasets.sample import Sample, Task
from bench.pipelines.cnn.crops import IGNORED, CropSampler, Labelled
from bench.pipelines.cnn.foreground import find_foreground

if TYPE_CHECKING:
    import torch

    from bench.learning.rare import find_rare
    from bench.pipelines.cnn.tiled_cnn import TiledCnn


MASKS = [np.zeros((4, 5), np.uint8), np.zeros((2, 3, 5), np.uint8)]
MASKS[0][1, 2:4] = 1
MASKS[0][3, 0] = 2
MASKS[1][1, 2, 4] = 1
MASKS[1][0, 0, 0] = 9


def test_the_classes_are_drawn_evenly_and_so_are_their_pixels() -> None:
    foreground = find_foreground(MASKS, 4, ignore_index=9)
    assert foreground is not None
    rng = np.random.default_rng(0)
    drawn = Counter(foreground.draw(rng) for _ in range(3000))
    assert set(drawn) == {(0, (1, 2)), (0, (1, 3)), (1, (1, 2, 4)), (0, (3, 0))}
    for (which, position), times in drawn.items():
        share = 1 / 2 if MASKS[which][position] == 2 else 1 / 2 / 3
        assert times / 3000 == pytest.approx(share, abs=0.04)


def test_ignored_pixels_and_a_single_class_are_no_foreground() -> None:
    assert find_foreground([np.full((3, 3), 1, np.uint8)], 2) is None
    assert find_foreground([np.array([[0, 0, 2]], np.uint8)], 3, ignore_index=2) is None


def test_chosen_classes_alone_are_drawn() -> None:
    foreground = find_foreground(MASKS, 4, 9, np.array([2, 3]))
    assert foreground is not None
    assert {foreground.draw(np.random.default_rng(seed)) for seed in range(20)} == {(0, (3, 0))}
    assert find_foreground(MASKS, 4, 9, np.array([3])) is None


def rare() -> Sample:
    """One small disc in a large image."""
    rows, columns = np.indices((200, 200))
    mask = ((rows - 60) ** 2 + (columns - 150) ** 2 < 100).astype(np.uint8)
    return Sample("rare", mask[..., None].astype(np.float32), mask)


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
def test_the_share_of_crops_with_a_rare_pixel_in_their_middle_is_the_one_asked_for(focus: float) -> None:
    mask = rare().mask[:]
    sampler = CropSampler([Labelled(rare().image, mask)], (16, 16), 4, 0.0, None, find_foreground([mask], 2), focus)
    middles = [
        bool(labels[7:9, 7:9].any())
        for epoch in range(20)
        for _, batch in sampler.draw_epoch(np.random.default_rng(epoch))
        for labels in batch
    ]
    assert np.mean(middles) == pytest.approx(focus, abs=0.04)


def test_crops_at_an_edge_stay_within_the_image() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[0, 39] = 1
    sampler = CropSampler([Labelled(mask[..., None], mask)], (16, 16), 4, 0.0, None, find_foreground([mask], 2), 1.0)
    batches = [batch for _, batch in sampler.draw_epoch(np.random.default_rng(0))]
    assert len(batches) > 0
    for batch in batches:
        assert (batch != IGNORED).all()
        assert (batch.reshape(len(batch), -1).sum(axis=1) == 1).all()


@pytest.mark.parametrize("scheme", ["none", "inverse"])
@pytest.mark.parametrize("foreground", [0.0, 0.7])
def test_crops_around_a_rare_class_leave_its_share_in_the_loss_as_it_was(scheme: str, foreground: float) -> None:
    def shares(foreground: float, rare_share: float) -> np.ndarray:
        settings = TiledCnnConfig(crop_size=32, tile_size=64, overlap=0, foreground=foreground)
        training = TrainingConfig(epochs=1, steps=None, class_weights=scheme)
        arm = TiledCnn(Config(DatasetConfig(), settings, training=training, device="cpu"), Task(("a", "b"), 1, 2))
        items = [arm.prepare(rare())]
        pixels = arm.count_pixels(items)
        sampler = arm.make_sampler(items, find_rare(pixels, rare_share))
        counts = sampler.count_classes(np.random.default_rng(5), 2, 2000)
        assert (counts[1] > 0.05 * counts.sum()) == (foreground > 0 or rare_share > 0)
        mass = arm.weigh_classes(pixels, sampler).numpy() * counts
        return np.asarray(mass / mass.sum())

    plain = shares(0.0, 0.0)
    np.testing.assert_allclose(shares(foreground, 0.02), plain, rtol=0.25)  # of crops drawn at random


def test_batches_with_foreground_train() -> None:
    settings = TiledCnnConfig(crop_size=32, tile_size=64, overlap=0, foreground=0.5, batch_size=2)
    training = TrainingConfig(steps=2)
    arm = TiledCnn(Config(DatasetConfig(), settings, training=training, device="cpu"), Task(("a", "b"), 1, 2))
    log = arm.fit([arm.prepare(rare())], [arm.prepare(rare())])
    assert np.isfinite(log.history[-1].train_loss)
    assert torch.isfinite(arm.class_weights).all()
