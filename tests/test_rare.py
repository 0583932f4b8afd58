"""Rare classes: found by their shares, shown more often, and weighed back to the share in the loss that they had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import Config, DatasetConfig, SuperpixelGnnConfig, SuperpixelsConfig, TrainingConfig
from bench.datasets.sample import Sample, Task

if TYPE_CHECKING:
    import torch

    from bench.learning.rare import FOCUS, announce_rare, correct_sampling, draw_parts, find_rare, mix_draws
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn


PARTS = np.array([[90, 10, 0], [100, 0, 0], [60, 0, 40], [95, 5, 0]])


def test_a_class_is_rare_below_the_share_and_only_where_it_occurs() -> None:
    counts = np.array([900, 0, 20, 80])
    assert find_rare(counts, 0.02).tolist() == []
    assert find_rare(counts, 0.021).tolist() == [2]
    assert find_rare(counts, 0.5).tolist() == [2, 3]
    assert find_rare(counts, 0.0).tolist() == []


def test_parts_are_drawn_as_often_as_expected() -> None:
    rng, rare = np.random.default_rng(0), np.array([1, 2])
    drawn = np.concatenate([draw_parts(rng.permutation(4), PARTS[:, rare], rng) for _ in range(4000)])
    np.testing.assert_allclose(PARTS[drawn].mean(axis=0), mix_draws(PARTS, rare), rtol=0.02)
    frequencies = np.bincount(drawn, minlength=4) / len(drawn)
    evenly, focused = 1 / 4, np.array([2 / 3, 0, 1, 1 / 3]) / 2
    np.testing.assert_allclose(frequencies, (1 - FOCUS) * evenly + FOCUS * focused, atol=0.01)


def test_weights_give_every_class_the_share_in_the_loss_that_it_had() -> None:
    weights, counts, shown = torch.tensor([0.5, 1.5, 4.0]), np.array([900, 99, 1]), np.array([50.0, 30.0, 20.0])
    before, after = weights.numpy() * counts, correct_sampling(weights, counts, shown).numpy() * shown
    np.testing.assert_allclose(after / after.sum(), before / before.sum(), rtol=1e-5)
    absent = correct_sampling(weights, np.array([900, 0, 100]), np.array([50.0, 0.0, 50.0]))
    assert absent[1] == weights[1]
    assert torch.isfinite(correct_sampling(weights, counts, np.array([1.0, 1.0, 0.0]))).all()


def speckled(rare_rows: int) -> Sample:
    """Bright stripes in the first rows of a dark image."""
    mask = np.zeros((96, 96), np.uint8)
    mask[:rare_rows, ::2] = 1
    return Sample("speckled", (mask * 3.0)[..., None].astype(np.float32), mask)


@pytest.mark.parametrize(("rare_rows", "is_rare"), [(2, True), (40, False)])
def test_a_graph_network_shows_windows_with_rare_classes_more_often(rare_rows: int, is_rare: bool) -> None:
    def build(rare_share: float) -> tuple[SuperpixelGnn, list[int]]:
        settings = SuperpixelGnnConfig(batch_nodes=16)
        config = Config(
            DatasetConfig(),
            settings,
            superpixels=SuperpixelsConfig(superpixel_size=36.0),
            training=TrainingConfig(steps=3, warmup=0, rare_share=rare_share),
            device="cpu",
        )
        arm = SuperpixelGnn(config, Task(("ground", "stripe"), 1, 2))
        item = arm.prepare(speckled(rare_rows))
        log = arm.fit([item], [item])
        assert log.facts["rare_classes"] == (is_rare and rare_share > 0)
        [data] = [view.data for view in item.views]
        sampler = arm.make_sampler([data], find_rare(data.y_counts.sum(dim=0).numpy(), rare_share))
        counts = [batch.y_counts.sum(dim=0) for epoch in range(1, 9) for batch in sampler.draw_epoch(epoch)]
        return arm, torch.stack(counts).sum(dim=0).tolist()

    (plain, evenly), (focused, drawn) = build(0.0), build(0.02)
    if not is_rare:
        assert drawn == evenly
        assert focused.class_weights.equal(plain.class_weights)
        return
    assert drawn[1] > 2 * evenly[1]
    before, after = (arm.class_weights.numpy() * seen for arm, seen in ((plain, evenly), (focused, drawn)))
    np.testing.assert_allclose(after / after.sum(), before / before.sum(), rtol=0.35)  # windows drawn at random


def test_rare_classes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    announce_rare("tiled_cnn", np.array([2]), np.array([900, 97, 3]), ("ground", "cell", "spindle"))
    announce_rare("tiled_cnn", np.empty(0, np.intp), np.array([900, 97, 3]), ("ground", "cell", "spindle"))
    assert capsys.readouterr().err == (
        "tiled_cnn: rare among the training pixels: spindle (0.30%); "
        "50% of the crops or windows of an epoch are drawn around them\n"
    )
