"""Deep features in the graph arm: further columns, the same whole and by blocks, other ones of another stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SuperpixelTreesConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.sweeps import checks

if TYPE_CHECKING:
    import torch

    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn
    from models.unet import build_cnn

TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2)
ENCODER = "tu-mobilenetv3_small_050"


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((64, 80))
    mask = ((rows - 30) ** 2 + (columns - 40 - seed) ** 2 < 200).astype(np.uint8)
    return Sample(f"scene {seed}", (mask + rng.normal(0, 0.2, mask.shape))[..., None].astype(np.float32), mask)


def build(**deep: object) -> SuperpixelGnn:
    graph = GraphConfig(features=["intensity", "deep"], deep_encoder=ENCODER, **deep)  # type: ignore[arg-type]
    settings = SuperpixelGnnConfig(model=GnnConfig(hidden_channels=8, num_layers=2))
    config = Config(
        DatasetConfig(), settings, SuperpixelsConfig(superpixel_size=60), graph, TrainingConfig(epochs=1, steps=None),
        device="cpu",
    )  # fmt: skip
    return SuperpixelGnn(config, TASK)


def columns_of(arm: SuperpixelGnn) -> torch.Tensor:
    [view] = arm.prepare(scene(0)).views
    features: torch.Tensor = view.data.x
    return features


def test_activations_are_further_columns_and_another_stage_has_others() -> None:
    first, other = columns_of(build()), columns_of(build(deep_stage=3))
    assert first.shape[1] > 11
    torch.testing.assert_close(first[:, :11], other[:, :11])
    assert first.shape[1] != other.shape[1] or not torch.equal(first, other)
    assert torch.isfinite(first).all()
    assert (first[:, 11:].std(dim=0) > 0).any()


def test_random_weights_are_the_same_in_every_process_that_builds_them_and_are_flagged() -> None:
    torch.testing.assert_close(columns_of(build()), columns_of(build()), rtol=0, atol=0)
    arm = build()
    log = arm.fit([arm.prepare(scene(0))], [arm.prepare(scene(1))])
    assert any("random weights" in flag for flag in log.flags)


def test_an_image_by_blocks_has_the_mask_of_the_whole(tmp_path: Path) -> None:
    arm = build()
    arm.fit([arm.prepare(scene(0)), arm.prepare(scene(1))], [arm.prepare(scene(2))])
    expected = arm.predict(arm.prepare(scene(3)))
    out = np.full((64, 80), 9, np.uint8)
    arm.predict_into(scene(3).image, out, tmp_path, lambda _: None)
    np.testing.assert_array_equal(out, expected)


def test_the_encoder_of_an_earlier_run_serves(tmp_path: Path) -> None:
    torch.manual_seed(3)
    torch.save(build_cnn("Unet", ENCODER, None, 1, 2).state_dict(), tmp_path / "checkpoint.pt")
    arm = build(deep_weights=str(tmp_path / "checkpoint.pt"))
    assert not torch.equal(columns_of(arm), columns_of(build()))
    log = arm.fit([arm.prepare(scene(0))], [arm.prepare(scene(1))])
    assert not any("random" in flag for flag in log.flags)


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"graph\.deep_weights: .*none\.pt cannot be read"):
        build(deep_weights=str(tmp_path / "none.pt"))
    with pytest.raises(InputError, match=r"graph\.cache_dir cannot keep"):
        build(cache_dir=str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"graph\.deep_stage must lie"):
        GraphConfig(deep_stage=6)
    with pytest.raises(InputError, match="at least one feature set beside deep"):
        GraphConfig(features=["deep"])
    trees = Config(DatasetConfig(), SuperpixelTreesConfig(), graph=GraphConfig(features=["shape", "deep"]))
    with pytest.raises(InputError, match="superpixel_trees does without"):
        checks.check_names([trees])


def test_deep_features_are_tried_before_a_sweep_starts() -> None:
    plain = Config(DatasetConfig(), SuperpixelGnnConfig(), device="cpu")
    assert not checks.needs_trial(plain)
    assert checks.needs_trial(
        Config(DatasetConfig(), SuperpixelGnnConfig(), graph=GraphConfig(features=["shape", "deep"]))
    )
