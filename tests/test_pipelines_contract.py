"""What every arm promises: three verbs, full-resolution masks of valid classes, the same result for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tifffile import imwrite

from bench.arms import ARMS, external_arms
from bench.config import (
    CnnConfig,
    CoarseGnnConfig,
    Config,
    DatasetConfig,
    ExternalConfig,
    GnnConfig,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelMlpConfig,
    SuperpixelsConfig,
    SuperpixelTreesConfig,
    ThresholdConfig,
    TiledCnn3dConfig,
    TiledCnn25dConfig,
    TiledCnnConfig,
    TilesConfig,
    TrainingConfig,
    VolumeCnnConfig,
)
from bench.datasets.sample import Sample, Task
from bench.learning.fitlog import FitLog
from bench.pipelines.protocol import Pipeline, Probabilistic, prepare_once
from bench.pipelines.registry import build_pipeline

if TYPE_CHECKING:
    import torch
    import zarr


TINY = CnnConfig(encoder_name="tu-mobilenetv3_small_050", decoder_channels=[16, 8, 8, 8, 8])
SETTINGS: dict[str, Callable[[], PipelineConfig]] = {
    "tiled_cnn": partial(TiledCnnConfig, tile_size=64, overlap=16, batch_size=2, model=CnnConfig()),
    "tiled_cnn_25d": partial(TiledCnn25dConfig, tile_size=32, crop_size=32, overlap=0, batch_size=2, model=TINY),
    "tiled_cnn_3d": partial(
        TiledCnn3dConfig,
        tile_size=32,
        crop_size=32,
        overlap=0,
        tile_planes=4,
        crop_planes=4,
        overlap_planes=1,
        model=VolumeCnnConfig(channels=2),
    ),
    "superpixel_gnn": partial(SuperpixelGnnConfig, model=GnnConfig(hidden_channels=8, num_layers=2)),
    "coarse_gnn": partial(
        CoarseGnnConfig,
        model=GnnConfig(hidden_channels=8, num_layers=2),
        coarse=TiledCnnConfig(tile_size=64, overlap=16, batch_size=2, scale=2),
        coarse_steps=2,
    ),
    "superpixel_mlp": partial(SuperpixelMlpConfig, model=GnnConfig("none", hidden_channels=8, num_layers=2)),
    "superpixel_trees": partial(SuperpixelTreesConfig, hops=[1, 2], iterations=12, validate_every=4, least_nodes=5),
    "pixel_forest": partial(PixelForestConfig, trees=5),
    "external": ExternalConfig,
    "oracle": OracleConfig,
    "threshold": ThresholdConfig,
}
PROBABILISTIC = [
    ("tiled_cnn", "discard", 1),
    ("tiled_cnn", "gaussian", 1),
    ("tiled_cnn_25d", "discard", 1),
    ("tiled_cnn_3d", "gaussian", 1),
    ("superpixel_gnn", "discard", 1),
    ("superpixel_gnn", "discard", 3),
    ("coarse_gnn", "discard", 1),
    ("coarse_gnn", "discard", 2),
    ("superpixel_mlp", "discard", 1),
    ("superpixel_trees", "discard", 1),
    ("superpixel_trees", "discard", 3),
    ("pixel_forest", "discard", 1),
]
NETWORKS = tuple(name for name, arm in ARMS.items() if arm.uses_training)
Fitted = Callable[[str], tuple[Pipeline[Any], FitLog]]
PREDICTING = [name for name, arm in ARMS.items() if not arm.sees_truth and name not in external_arms()]


def extend(name: str, shape: tuple[int, int]) -> tuple[int, ...]:
    """Two planes, where the arm needs volumes."""
    return (2, *shape) if ARMS[name].needs_volume else shape


def task_of(name: str) -> Task:
    """Images are flat, but for an arm that needs volumes."""
    axes, shortest = (3, extend(name, (64, 56))) if ARMS[name].needs_volume else (2, None)
    return Task(("background", "cell"), in_channels=1, spatial_axes=axes, ignore_index=2, shortest=shortest)


TASK = task_of("tiled_cnn")


def scene(seed: int, shape: tuple[int, ...] = (64, 56)) -> Sample:
    """A bright disc on noise, on every plane; a corner of the mask counts for nothing."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)[-2:]
    centre = rng.uniform(20, 40, 2)
    mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 144).astype(np.uint8)
    image = mask * 2 + rng.normal(0, 0.3, shape)
    mask[..., :4, :4] = 2
    return Sample(f"scene {seed} {shape[0]}", image[..., None].astype(np.float32), mask)


@pytest.fixture(scope="module")
def external_masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of the test images that another program made, all of them background but for some lines."""
    folder = tmp_path_factory.mktemp("masks")
    for height, width in ((64, 56), (47, 90)):
        mask = np.zeros((height, width), np.uint8)
        mask[10:20] = 1
        imwrite(folder / f"scene_4_{height}.tif", mask)
    return folder


@pytest.fixture(autouse=True)
def masks_made_elsewhere(monkeypatch: pytest.MonkeyPatch, external_masks: Path) -> None:
    monkeypatch.setitem(SETTINGS, "external", partial(ExternalConfig, masks=str(external_masks)))


def config(name: str, seed: int = 0) -> Config:
    return Config(
        dataset=DatasetConfig(),
        pipeline=SETTINGS[name](),
        superpixels=SuperpixelsConfig(superpixel_size=30),
        training=TrainingConfig(epochs=2, steps=None),
        seed=seed,
        device="cpu",
    )


def fit_arm(name: str) -> tuple[Pipeline[Any], FitLog]:
    pipeline = build_pipeline(config(name), task_of(name))
    items = [pipeline.prepare(scene(number, extend(name, (64, 56)))) for number in (1, 2, 3)]
    return pipeline, pipeline.fit(items[:2], items[2:])


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """An arm that learned from two scenes, and its log; each arm learns once in this file, predictions change none."""
    return lru_cache(fit_arm)


def predict_two(pipeline: Pipeline[Any], name: str) -> list[NDArray[np.integer]]:
    return [pipeline.predict(pipeline.prepare(scene(4, extend(name, shape)))) for shape in ((64, 56), (47, 90))]


def test_every_arm_has_settings_here() -> None:
    assert set(SETTINGS) == set(ARMS)


@pytest.mark.parametrize("name", ARMS)
def test_masks_are_full_resolution_valid_and_repeatable(name: str, fitted: Fitted) -> None:
    first, again = predict_two(fitted(name)[0], name), predict_two(fit_arm(name)[0], name)
    assert [mask.shape for mask in first] == [extend(name, (64, 56)), extend(name, (47, 90))]
    for mask, repeated in zip(first, again, strict=True):
        assert np.issubdtype(mask.dtype, np.integer)
        assert set(np.unique(mask)) <= {0, 1}
        np.testing.assert_array_equal(mask, repeated)


@pytest.mark.parametrize("name", ARMS)
def test_a_prepared_sample_says_what_its_superpixels_are(name: str) -> None:
    item = build_pipeline(config(name), task_of(name)).prepare(scene(1, extend(name, (64, 56))))
    if not ARMS[name].uses_superpixels:
        assert item.segments is None
    else:
        assert item.segments.shape == (64, 56)
        assert item.facts["num_nodes"] == item.segments.max() + 1
        assert item.facts["n_segments"] == round(64 * 56 / 30)


@pytest.mark.parametrize("name", ARMS)
def test_a_sample_prepared_for_one_prediction_is_the_same_sample(name: str, fitted: Fitted) -> None:
    pipeline, sample = fitted(name)[0], scene(4, extend(name, (64, 56)))
    kept, once = pipeline.prepare(sample), prepare_once(pipeline, sample)
    np.testing.assert_array_equal(pipeline.predict(once), pipeline.predict(kept))
    assert dict(once.facts) == dict(kept.facts)
    if kept.segments is not None:
        np.testing.assert_array_equal(once.segments, kept.segments)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_checkpoint_holds_plain_weights(name: str, tmp_path: Path, fitted: Fitted) -> None:
    pipeline, log = fitted(name)
    pipeline.save(tmp_path / "checkpoint.pt")
    weights = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert sum(value.numel() for value in weights.values()) >= log.parameters > 0
    assert log.validations >= 1
    assert log.stopped == "epochs"
    assert log.best_score is not None
    assert 0 <= log.best_score <= 1


@pytest.mark.parametrize("name", PREDICTING)
def test_a_saved_arm_predicts_the_same_into_an_array_that_need_not_be_in_memory(
    name: str, tmp_path: Path, fitted: Fitted
) -> None:
    pipeline, log = fitted(name)
    assert log.parameters > 0
    pipeline.save(tmp_path / "checkpoint.pt")
    assert [path.stem for path in tmp_path.iterdir()] == ["checkpoint"]
    again = build_pipeline(config(name, seed=5), task_of(name))
    again.load(tmp_path / "checkpoint.pt")
    new, done = scene(4, extend(name, (47, 90))), list[float]()
    expected = pipeline.predict(pipeline.prepare(new))
    np.testing.assert_array_equal(again.predict(again.prepare(new)), expected)
    out = np.full(expected.shape, 9, np.uint8)
    (tmp_path / "scratch").mkdir()
    again.predict_into(new.image, out, tmp_path / "scratch", done.append)
    np.testing.assert_array_equal(out, expected)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


@pytest.mark.parametrize(("name", "blend", "views"), PROBABILISTIC)
def test_probabilities_add_up_to_one_and_their_largest_is_the_mask(
    name: str, blend: str, views: int, tmp_path: Path, fitted: Fitted
) -> None:
    settings = config(name)
    if isinstance(settings.pipeline, TilesConfig):
        settings = replace(settings, pipeline=replace(settings.pipeline, blend=blend))
    settings = replace(settings, superpixels=replace(settings.superpixels, views=views))
    shape = extend(name, (47, 150))
    pipeline, image = build_pipeline(settings, task_of(name)), scene(4, shape)
    if views > 1:
        items = [pipeline.prepare(scene(number, extend(name, (64, 56)))) for number in (1, 2, 3)]
        pipeline.fit(items[:2], items[2:])
    else:  # how tiles are blended is no part of what is learned
        fitted(name)[0].save(tmp_path / "checkpoint.pt")
        pipeline.load(tmp_path / "checkpoint.pt")
    assert isinstance(pipeline, Probabilistic)
    mask, shares = np.empty(shape, np.uint8), np.full((2, *shape), np.nan, np.float32)
    done: list[float] = []
    pipeline.predict_probabilities(image.image, mask, shares, tmp_path, done.append)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    assert shares.min() >= 0
    assert 0.01 < (shares[0] < 0.5).mean() < 0.99
    np.testing.assert_array_equal(mask, shares.argmax(axis=0))
    np.testing.assert_array_equal(mask, pipeline.predict(pipeline.prepare(image)))
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    stored = zarr.create_array(
        tmp_path / "p.zarr", shape=shares.shape, chunks=(1, *shape[:-2], 16, 64), dtype="float32"
    )
    pipeline.predict_probabilities(image.image, np.empty_like(mask), stored, tmp_path, done.append)
    np.testing.assert_array_equal(np.asarray(stored[...]), shares)


@pytest.mark.parametrize("name", ["oracle", "threshold"])
def test_what_learns_no_probabilities_offers_none(name: str) -> None:
    assert not isinstance(build_pipeline(config(name), task_of(name)), Probabilistic)
