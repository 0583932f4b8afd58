"""A prediction voted onto superpixels: what the superpixels cost it, whoever made it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import Config, DatasetConfig, MetricsConfig, OracleConfig, SuperpixelsConfig, TiledCnnConfig
from bench.datasets.sample import Sample, Task
from bench.scores.scoring import SplitScores, choose_voting
from bench.superpixels.registry import segment

if TYPE_CHECKING:
    from bench.superpixels.labels import paint_oracle


SIZE = SuperpixelsConfig(superpixel_size=30)
TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((40, 48))
    mask = ((rows - 20) ** 2 + (columns - rng.integers(15, 33)) ** 2 < 150).astype(np.int64)
    image = (mask + rng.normal(0, 0.3, mask.shape))[..., None].astype(np.float32)
    mask[:5, :5] = 9
    return Sample(f"scene {seed}", image, mask)


def test_a_perfect_prediction_gets_the_ceiling_of_its_superpixels() -> None:
    voted, ceiling = SplitScores(TASK, 2.0, SIZE), SplitScores(TASK, 2.0)
    for seed in range(2):
        sample = scene(seed)
        truth, segments = np.asarray(sample.mask), segment(np.asarray(sample.image), SIZE)
        perfect = np.where(truth == 9, paint_oracle(truth, segments, 2, 9), truth)  # the votes of ignored pixels agree
        voted.add(sample, perfect)
        ceiling.add(sample, perfect, segments)
    found = {(row["image"], row["class"]): row["value"] for row in voted.rows() if row["metric"] == "voted_dice"}
    best = {(row["image"], row["class"]): row["value"] for row in ceiling.rows() if row["metric"] == "oracle_dice"}
    assert found.keys() == best.keys()
    assert found["all", "macro"] == pytest.approx(best["all", "macro"], abs=0.01)
    assert found["all", "macro"] == pytest.approx(0.9, abs=0.099)


def test_a_prediction_of_whole_superpixels_loses_nothing() -> None:
    sample, scores = scene(0), SplitScores(TASK, 2.0, SIZE)
    segments = segment(np.asarray(sample.image), SIZE)
    predicted = (segments % 2).astype(np.int64)
    scores.add(sample, predicted)
    rows = {(row["metric"], row["image"], row["class"]): row["value"] for row in scores.rows()}
    for name in ("background", "cell", "macro"):
        assert rows["voted_dice", "all", name] == pytest.approx(rows["dice", "all", name])


def test_only_pixel_arms_that_are_asked_are_voted() -> None:
    asked = Config(DatasetConfig(), TiledCnnConfig(), SIZE, metrics=MetricsConfig(voted=True))
    assert choose_voting(asked) == SIZE
    assert choose_voting(replace(asked, metrics=MetricsConfig())) is None
    assert choose_voting(replace(asked, pipeline=OracleConfig())) is None
    scores = SplitScores(TASK, 2.0)
    scores.add(scene(0), np.zeros((40, 48), np.int64))
    assert not [row for row in scores.rows() if row["metric"] in ("voted_dice", "voted_accuracy")]
