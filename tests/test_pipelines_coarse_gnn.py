"""Both arms together: the U-Net's scores reach the nodes, and with folds no network scores what it learned from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import (
    CnnConfig,
    CoarseGnnConfig,
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    SuperpixelsConfig,
    TiledCnnConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix, macro_dice

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Data

    from bench.graphs.build import build_graph
    from bench.learning.fitlog import FitLog
    from bench.pipelines.both.coarse_gnn import CoarseGnn, limit_steps, split_folds
    from bench.pipelines.both.scores import append_scores, score_image
    from bench.pipelines.cnn.tiled_cnn import TiledCnn
    from bench.pipelines.gnn.columns import count_stored, store_columns


COARSE = TiledCnnConfig(
    tile_size=64, overlap=16, batch_size=2, scale=2, model=CnnConfig(decoder_channels=[16, 8, 8, 8, 8])
)
SETTINGS = partial(CoarseGnnConfig, model=GnnConfig(hidden_channels=8, num_layers=2), coarse=COARSE, coarse_steps=3)
TASK = Task(("ground", "cell"), 1, 2)


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((70, 90))
    mask = ((rows - 30) ** 2 + (columns - rng.integers(30, 60)) ** 2 < 400).astype(np.uint8)
    return Sample(str(seed), (mask + rng.normal(0, 0.3, mask.shape))[..., None].astype(np.float32), mask)


def build(settings: CoarseGnnConfig, views: int = 1) -> CoarseGnn:
    superpixels = SuperpixelsConfig(superpixel_size=40.0, views=views)
    training = TrainingConfig(steps=4, warmup=0, forks=True)
    return CoarseGnn(Config(DatasetConfig(), settings, superpixels, training=training, device="cpu"), TASK)


def fit(settings: CoarseGnnConfig, images: int = 3) -> CoarseGnn:
    arm = build(settings)
    arm.fit([arm.prepare(scene(seed)) for seed in range(images)], [arm.prepare(scene(9))])
    return arm


@pytest.fixture(scope="module")
def folded() -> tuple[CoarseGnn, FitLog]:
    """An arm with two folds, and the log of its fit."""
    arm = build(SETTINGS(folds=2))
    items = [arm.prepare(scene(seed)) for seed in (0, 1, 2, 9)]
    items = [replace(item, tiled=replace(item.tiled, stored_bytes=7)) for item in items]
    return arm, arm.fit(items[:3], items[3:])


@pytest.fixture(scope="module")
def unrefined() -> CoarseGnn:
    """An arm whose superpixels take the class of the largest mean."""
    return fit(SETTINGS(refine=False))


def test_nodes_have_mean_and_deviation_of_the_scores_of_their_pixels() -> None:
    rng = np.random.default_rng(0)
    segments = np.repeat(np.arange(5, dtype=np.int32), 8).reshape(5, 8)
    scores = rng.random((5, 8, 3), dtype=np.float32)
    plain = build_graph(scores[..., :1], segments, GraphConfig(features=["intensity"]))
    extended = append_scores(plain, segments, scores)
    added = extended.x[:, plain.x.shape[1] :].numpy()
    np.testing.assert_allclose(added, np.concatenate([scores.mean(axis=1), scores.std(axis=1)], axis=1), atol=1e-5)
    assert extended.x[:, : plain.x.shape[1]].equal(plain.x)
    assert plain.x.shape[1] == 11


def test_scores_of_a_graph_on_the_disk_lie_there_too_and_go_with_the_graph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    segments, scores = np.arange(40, dtype=np.int32).repeat(4).reshape(10, 16), rng.random((10, 16, 2), np.float32)
    plain = build_graph(rng.random((10, 16, 1), np.float32), segments, GraphConfig(features=["shape"]))
    stored = store_columns(plain, str(tmp_path))
    [folder] = tmp_path.iterdir()
    before = sorted(folder.iterdir())
    extended = [append_scores(stored, segments, scores) for _ in range(2)]
    assert len(list(folder.iterdir())) == len(before) + 2
    for graph in extended:
        assert graph.x.equal(append_scores(plain, segments, scores).x)
        assert count_stored(graph) == count_stored(stored) + graph.x.numel() * 4
    assert stored.x.equal(plain.x)
    del graph, extended
    assert sorted(folder.iterdir()) == before


def test_scores_are_the_mean_over_networks_and_add_up_to_one() -> None:
    config = Config(DatasetConfig(), COARSE, device="cpu")
    networks, image = [TiledCnn(config, TASK) for _ in range(2)], np.asarray(scene(1).image)
    each = []
    for chosen in ([networks[0]], [networks[1]], networks):
        scores = np.full((*image.shape[:2], 2), np.nan, np.float32)
        score_image(chosen, image, scores, lambda _: None)
        each.append(scores)
    np.testing.assert_allclose(each[2], (each[0] + each[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(each[2].sum(axis=-1), 1, atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 0.01


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_with_folds_no_network_learns_from_what_it_scores(folds: int) -> None:
    learned = split_folds(7, folds)
    assert all(item not in learned[item % folds] for item in range(7))
    assert all(sum(item in part for part in learned) == folds - 1 for item in range(7))
    assert split_folds(7, 1) == [list(range(7))]


def test_more_folds_than_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"pipeline\.folds must not exceed the training images, 1, got 2"):
        fit(SETTINGS(folds=2), images=1)


def test_folds_without_a_graph_network_are_refused() -> None:
    with pytest.raises(InputError, match=r"must be 1 with pipeline\.refine=false, got 2"):
        SETTINGS(refine=False, folds=2)


def test_the_first_stage_has_a_budget_of_its_own_within_that_of_the_fit() -> None:
    assert limit_steps(TrainingConfig(steps=1000, forks=True), 300, 0.5) == TrainingConfig(steps=300)
    assert limit_steps(TrainingConfig(steps=100), 300, 0.5).steps == 100
    assert limit_steps(TrainingConfig(steps=None, epochs=7), 300, 0.5) == TrainingConfig(steps=300, epochs=7)
    assert limit_steps(TrainingConfig(steps=None, seconds=60.0), 300, 0.25).seconds == 15
    assert SETTINGS(coarse_steps=300).scale_work(0.1).coarse_steps == 30


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [(SETTINGS(), [30.0]), (SETTINGS(folds=3), [10.0] * 3), (SETTINGS(refine=False), [60.0])],
)
def test_the_u_nets_share_half_of_a_budget_in_seconds(settings: CoarseGnnConfig, seconds: list[float]) -> None:
    training = TrainingConfig(steps=None, seconds=60.0)
    arm = CoarseGnn(Config(DatasetConfig(), settings, training=training, device="cpu"), TASK)
    assert [network.config.training.seconds for network in arm.coarse] == pytest.approx(seconds)


def test_the_log_counts_both_stages(folded: tuple[CoarseGnn, FitLog]) -> None:
    arm, log = folded
    assert log.facts["coarse_steps"] == 6
    assert log.facts["stored_bytes"] == 4 * 7, "of the tiled images; these graphs are small and in memory"
    assert log.steps == 4
    networks = [*(part.model for part in arm.coarse), arm.gnn.get_model()]
    assert log.parameters == sum(weight.numel() for model in networks for weight in model.parameters())
    assert sum(interval.phase == "init" for interval in log.intervals) == 3
    begun = min(part.start_ns for part in log.intervals)
    last = max(part.end_ns for part in log.intervals if part.phase == "validate")
    assert log.history[-1].seconds == pytest.approx((last - begun) / 1e9, abs=0.1)
    spans = sorted((part.start_ns, part.end_ns) for part in log.intervals)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_the_graph_network_reads_the_scores_of_the_u_net(
    folded: tuple[CoarseGnn, FitLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, _ = folded
    item = arm.prepare(scene(4))
    seen: list[Data] = []
    vote = arm.gnn.vote_nodes
    monkeypatch.setattr(arm.gnn, "vote_nodes", lambda data: (seen.append(data), vote(data))[1])  # type: ignore[func-returns-value]
    arm.predict(item)
    plain = item.graph.views[0].data.x.shape[1]
    assert seen[0].x.shape[1] == plain + 4
    torch.testing.assert_close(seen[0].x[:, plain : plain + 2].sum(dim=1), torch.ones(len(seen[0].x)))


def test_without_refinement_no_features_are_measured_that_nothing_reads(unrefined: CoarseGnn) -> None:
    assert unrefined.gnn.config.graph.features == ["shape"]
    assert unrefined.config.graph.features != ["shape"], "the settings of the run stay as they were"


@pytest.mark.parametrize("refine", [True, False])
def test_the_score_that_is_kept_is_that_of_what_is_painted(refine: bool) -> None:
    arm = build(SETTINGS(refine=refine), views=2)
    train, val = [arm.prepare(scene(seed)) for seed in range(2)], [arm.prepare(scene(seed)) for seed in (8, 9)]
    log = arm.fit(train, val)
    painted = [confusion_matrix(scene(seed).mask, arm.predict(item), 2) for seed, item in zip((8, 9), val, strict=True)]
    assert log.best_score == macro_dice(np.sum(painted, axis=0))
    own = sum(row.data_wait_seconds for row in log.history)
    assert log.data_wait_seconds > own if refine else log.data_wait_seconds == own


def test_without_refinement_superpixels_get_the_class_of_the_largest_mean(unrefined: CoarseGnn) -> None:
    arm = unrefined
    item = arm.prepare(scene(4))
    scores = np.empty((70, 90, 2), np.float32)
    score_image(arm.coarse, item.tiled.image, scores, lambda _: None)
    sums = np.stack([np.bincount(item.segments.ravel(), scores[..., label].ravel()) for label in range(2)])
    np.testing.assert_array_equal(arm.predict(item), sums.argmax(axis=0)[item.segments])


@pytest.mark.parametrize(("refine", "folds"), [(True, 2), (False, 1)])
def test_a_saved_arm_predicts_the_same(
    refine: bool, folds: int, folded: tuple[CoarseGnn, FitLog], unrefined: CoarseGnn, tmp_path: Path
) -> None:
    settings = SETTINGS(refine=refine, folds=folds)
    arm = folded[0] if refine else unrefined
    arm.save(tmp_path / "checkpoint.pt")
    again = build(settings)
    again.load(tmp_path / "checkpoint.pt")
    expected, out = arm.predict(arm.prepare(scene(4))), np.full((70, 90), 9, np.uint8)
    again.predict_into(scene(4).image, out, tmp_path, lambda _: None)
    np.testing.assert_array_equal(out, expected)
    assert set(np.unique(expected)) <= {0, 1}
