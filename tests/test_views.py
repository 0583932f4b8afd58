"""Laws of several segmentations of one image: their sizes, their mean mask, and arms that learn from and paint all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    OracleConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SyntheticConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.pipelines.origin import Origin, merge_facts
from bench.pipelines.parallel import prepare_all
from bench.run import run
from bench.scores.metrics import accuracy, confusion_matrix, macro_dice
from bench.scores.scoring import SplitScores
from bench.superpixels.registry import segment, segment_views

if TYPE_CHECKING:
    import torch

    from bench.graphs.build import build_graph
    from bench.pipelines.gnn.items import SuperpixelViews
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn
    from bench.pipelines.oracle import Oracle
    from bench.scores.ceilings import boundary_recall
    from bench.superpixels.labels import count_classes, paint, paint_oracle
    from bench.superpixels.views import compute_shares, group_views, list_views, paint_mean, paint_oracle_views


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)
SIZE = SuperpixelsConfig(superpixel_size=30, views=3)
COUNTS = ("n_segments", "num_nodes", "num_edges")


def disc(seed: int) -> Sample:
    """A disc on noise, with ignored pixels in a corner."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((48, 48))
    mask = ((rows - 24) ** 2 + (columns - rng.integers(15, 33)) ** 2 < 150).astype(np.int64)
    image = (2 * mask + rng.normal(0, 0.3, mask.shape))[..., None].astype(np.float32)
    mask[:5, :5] = 9
    return Sample(str(seed), image, mask)


def config(
    superpixels: SuperpixelsConfig = SIZE, conv: str = "sage", cache: Path | None = None, precision: str = "auto"
) -> Config:
    model = GnnConfig(conv, 8, 2, 0.0)
    pipeline = SuperpixelGnnConfig(model=model, batch_nodes=100, predict_nodes=40, precision=precision)
    graph = GraphConfig(features=["intensity", "shape"], cache_dir=None if cache is None else str(cache))
    return Config(DatasetConfig(), pipeline, superpixels, graph, TrainingConfig(epochs=3, steps=None), device="cpu")


def fitted(superpixels: SuperpixelsConfig = SIZE, conv: str = "sage", precision: str = "auto") -> SuperpixelGnn:
    pipeline = SuperpixelGnn(config(superpixels, conv, precision=precision), TASK)
    pipeline.fit([pipeline.prepare(disc(1))], [pipeline.prepare(disc(2))])
    return pipeline


def test_the_first_view_is_the_segmentation_asked_for_and_the_others_differ_in_size() -> None:
    assert list_views(replace(SIZE, views=1)) == (replace(SIZE, views=1),)
    sizes = [view.superpixel_size or 0 for view in list_views(replace(SIZE, views=5))]
    assert sizes == pytest.approx([30, 37.5, 24, 46.875, 19.2])
    counted = replace(SIZE, superpixel_size=None, n_segments=1000)
    assert [view.n_segments for view in list_views(counted)] == [1000, 800, 1250]
    assert {view.views for view in list_views(counted)} == {1}


def test_superpixels_of_single_pixels_have_no_smaller_view() -> None:
    assert [view.superpixel_size for view in list_views(replace(SIZE, superpixel_size=1.0))] == [1, 1.25, 1]
    assert [view.n_segments for view in list_views(SuperpixelsConfig(superpixel_size=None, n_segments=1, views=3))] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("number", [0, -1, 10])
def test_a_number_of_views_that_makes_no_sense_is_refused(number: int) -> None:
    with pytest.raises(InputError, match=r"superpixels\.views must lie in \[1, 9\]"):
        replace(SIZE, views=number)


@pytest.mark.parametrize("method", ["slic", "grid", "compact_watershed"])
def test_views_that_are_segmented_together_are_those_of_each_alone(method: str, tmp_path: Path) -> None:
    image, views = np.asarray(disc(0).image), list_views(replace(SIZE, method=method))
    for scratch in (None, tmp_path) if method == "slic" else (None,):
        found = list(segment_views(image, views, scratch))
        assert len(found) == len(views)
        for ids, view in zip(found, views, strict=True):
            np.testing.assert_array_equal(ids, segment(image, view))


def test_views_share_a_walk_over_an_image_as_long_as_their_segments_are_few() -> None:
    views = list_views(replace(SIZE, superpixel_size=None, n_segments=100, views=5))  # 100, 80, 125, 64, 156
    for most, sizes in ((10**6, [5]), (305, [3, 2]), (180, [2, 1, 1, 1]), (1, [1, 1, 1, 1, 1])):
        groups = group_views(views, (50, 60, 1), most)
        assert [len(group) for group in groups] == sizes
        assert tuple(view for group in groups for view in group) == views
    assert [len(group) for group in group_views(views, (50, 60, 3), 3 * 180)] == [2, 1, 1, 1]


def test_training_keeps_graphs_and_no_segments() -> None:
    pipeline = SuperpixelGnn(config(), TASK)
    item = pipeline.prepare(disc(1))
    reduced: Any = prepare_all(pipeline, [disc(1)], pipeline.config, TASK, reduce=True)[0]
    assert reduced.segments is None
    assert reduced.facts == item.facts
    for graph, whole in zip(reduced.graphs, item.graphs, strict=True):
        assert torch.equal(graph.x, whole.x)
    log = [SuperpixelGnn(config(), TASK).fit([learned], [item]) for learned in (reduced, item)]
    assert log[0].best_score == log[1].best_score


def test_the_mean_of_views_is_that_of_painted_shares() -> None:
    rng = np.random.default_rng(0)
    segments = [rng.integers(0, nodes, (9, 11)).astype(np.int32) for nodes in (6, 4, 9)]
    shares = [rng.dirichlet(np.ones(3), nodes).astype(np.float32) for nodes in (6, 4, 9)]
    expected = np.mean([table.astype(np.float64)[ids] for table, ids in zip(shares, segments, strict=True)], axis=0)
    np.testing.assert_array_equal(paint_mean(shares, segments, strip=7), expected.argmax(axis=-1))
    parts = [paint_mean(shares, [ids[start : start + 2] for ids in segments]) for start in range(0, 9, 2)]
    np.testing.assert_array_equal(np.concatenate(parts), paint_mean(shares, segments))


def test_a_single_view_with_shares_is_painted_as_with_their_classes() -> None:
    rng = np.random.default_rng(0)
    segments, shares = rng.integers(0, 20, (8, 9)).astype(np.int32), rng.random((20, 3), np.float32)
    np.testing.assert_array_equal(paint_mean([shares], [segments]), paint(shares.argmax(axis=1), segments))


def test_shares_are_of_the_pixels_that_count() -> None:
    np.testing.assert_array_equal(compute_shares(np.array([[3, 1], [0, 0]])), [[0.75, 0.25], [0, 0]])


def test_one_view_prepares_and_paints_as_if_there_were_no_views() -> None:
    pipeline = fitted(replace(SIZE, views=1))
    item = pipeline.prepare(disc(3))
    assert not isinstance(item, SuperpixelViews)
    np.testing.assert_array_equal(item.segments, segment(np.asarray(disc(3).image), SIZE))
    np.testing.assert_array_equal(pipeline.predict(item), paint(pipeline.classify_nodes(item.data), item.segments))


def test_each_view_is_the_graph_of_its_own_segmentation() -> None:
    pipeline, seen = SuperpixelGnn(config(), TASK), disc(0)
    item = pipeline.prepare(seen)
    assert isinstance(item, SuperpixelViews)
    assert item.segments.shape == (3, 48, 48)
    image, mask = np.asarray(seen.image), np.asarray(seen.mask)
    for view, ids, settings in zip(item.views, item.segments, list_views(SIZE), strict=True):
        np.testing.assert_array_equal(ids, segment(image, settings))
        assert np.shares_memory(view.segments, item.segments)
        torch.testing.assert_close(view.data.x, build_graph(image, ids, pipeline.config.graph).x, rtol=0, atol=0)
        np.testing.assert_array_equal(view.data.y_counts.numpy(), count_classes(mask, ids, 2, 9))
    assert item.facts["num_nodes"] == sum(len(view.data.x) for view in item.views)
    assert item.facts["num_edges"] == sum(view.data.num_edges for view in item.views)
    assert item.facts["n_segments"] == sum(round(48 * 48 / size) for size in (30, 37.5, 24))


@pytest.mark.parametrize("conv", ["sage", "none", "gatv2"])
def test_the_prediction_is_the_geometric_mean_of_the_views_probabilities(conv: str) -> None:
    pipeline = fitted(conv=conv, precision="float32")
    item = pipeline.prepare(disc(3))
    assert pipeline.model is not None
    total = np.zeros((48, 48, 2))
    with torch.inference_mode():
        for view in item.views:
            data = view.data
            logits = pipeline.model(data.x, data.edge_index, data.edge_weight, data.edge_attr)
            total += logits.double().log_softmax(dim=1).numpy()[view.segments]
    clear = abs(total[..., 1] - total[..., 0]) > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(pipeline.predict(item)[clear], total.argmax(axis=-1)[clear])


def test_all_views_are_learned_from() -> None:
    pipeline = SuperpixelGnn(config(), TASK)
    items = [pipeline.prepare(disc(seed)) for seed in range(2)]
    pipeline.fit(items[:1], items[1:])
    assert pipeline.model is not None
    seen = torch.cat([view.data.x for view in items[0].views])
    torch.testing.assert_close(pipeline.model.state_dict()["feature_mean"], seen.mean(dim=0), rtol=1e-4, atol=1e-4)
    sampler = pipeline.make_sampler([view.data for view in items[0].views], np.empty(0, np.intp))
    nodes = sum(batch.num_nodes for batch in sampler.draw_epoch(1))
    assert nodes >= len(seen)


def test_the_validation_score_is_the_pooled_pixel_score_of_the_mean() -> None:
    pipeline, samples = SuperpixelGnn(config(), TASK), [disc(seed) for seed in range(4)]
    items = [pipeline.prepare(sample) for sample in samples]
    log = pipeline.fit(items[:2], items[2:])
    pooled = np.zeros((2, 2), np.int64)
    for sample, item in zip(samples[2:], items[2:], strict=True):
        pooled += confusion_matrix(np.asarray(sample.mask), pipeline.predict(item), 2, 9)
    assert log.best_score == pytest.approx(macro_dice(pooled))
    assert {"edge_message_share", "edge_flip_share"} <= set(log.facts)


@pytest.mark.parametrize("number", [1, 3])
def test_a_large_image_gets_the_classes_of_a_small_one(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = fitted(replace(SIZE, views=number))
    expected = pipeline.predict(pipeline.prepare(disc(0)))
    for band in (48 * 5, 48 * 48):
        monkeypatch.setattr("bench.pipelines.gnn.superpixel_gnn.BAND_PIXELS", band)
        out, told = np.full((48, 48), 7, np.uint8), list[float]()
        pipeline.predict_into(np.asarray(disc(0).image), out, tmp_path, told.append)
        np.testing.assert_array_equal(out, expected)
        assert told == sorted(told)
        assert told[-1] == 1


def test_the_cache_keeps_views_together_in_a_file_that_other_views_do_not_find(
    tmp_path: Path,
) -> None:
    made = SuperpixelGnn(config(cache=tmp_path), TASK).prepare(disc(0))
    again = SuperpixelGnn(config(cache=tmp_path), TASK).prepare(disc(0))
    alone = SuperpixelGnn(config(replace(SIZE, views=1), cache=tmp_path), TASK).prepare(disc(0))
    more = SuperpixelGnn(config(replace(SIZE, views=5), cache=tmp_path), TASK).prepare(disc(0))
    assert [item.facts["from_cache"] for item in (made, again, alone, more)] == [0, 1, 0, 0]
    assert len(list(tmp_path.iterdir())) == 3
    assert again.facts["made_seconds"] == pytest.approx(made.facts["made_seconds"])
    np.testing.assert_array_equal(again.segments, made.segments)
    np.testing.assert_array_equal(alone.segments, made.segments[0])
    np.testing.assert_array_equal(more.segments[:3], made.segments)
    for first, second in zip(made.views, again.views, strict=True):
        assert torch.equal(first.data.x, second.data.x)
        assert {name: first.facts[name] for name in COUNTS} == {name: second.facts[name] for name in COUNTS}


def test_a_run_learns_from_one_view_and_validates_and_paints_with_all(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    data = SyntheticConfig(image_size=[64, 64], train_images=3, val_images=1, test_images=2)
    settings = replace(
        config(SIZE, cache=tmp_path / "cache"), dataset=data, training=TrainingConfig(epochs=1, steps=None)
    )
    row, _ = run(settings, folder, {"run_id": "run", "settings_key": "settings"})
    assert len(list((tmp_path / "cache").iterdir())) == 3 + (1 + 2)
    assert row["n_segments"] == sum(round(64 * 64 / size) for size in (30, 37.5, 24))


def test_facts_of_views_add_up_to_those_of_their_image() -> None:
    cached = {"num_nodes": 5.0, **Origin(1.0, 2.0, 0.5, 100.0).facts()}
    fresh = {"num_nodes": 3.0, **Origin(0.0, 4.0, 6.0, 200.0).facts()}
    assert merge_facts([cached, fresh]) == {"num_nodes": 8, **Origin(0.0, 6.0, 6.5, 200.0).facts()}
    assert merge_facts([cached, cached])["from_cache"] == 1
    assert merge_facts([{"num_nodes": 5.0}, {"num_nodes": 3.0}]) == {"num_nodes": 8}


def test_the_oracle_of_several_views_paints_the_mean_of_their_true_shares() -> None:
    oracle, seen = Oracle(Config(DatasetConfig(), OracleConfig(), SIZE), TASK), disc(0)
    item, mask = oracle.prepare(seen), np.asarray(seen.mask)
    best = oracle.predict(item)
    segments = [segment(np.asarray(seen.image), view) for view in list_views(SIZE)]
    np.testing.assert_array_equal(best, paint_oracle_views(mask, segments, 2, 9))
    single = accuracy(confusion_matrix(mask, paint_oracle(mask, segments[0], 2, 9), 2, 9))
    assert accuracy(confusion_matrix(mask, best, 2, 9)) > single
    assert item.facts["num_nodes"] == sum(ids.max() + 1 for ids in segments)


def test_scores_of_several_views_have_their_common_ceiling() -> None:
    seen = disc(0)
    truth = np.asarray(seen.mask)
    segments = np.stack([segment(np.asarray(seen.image), view) for view in list_views(SIZE)])
    several, single = SplitScores(TASK, 2.0), SplitScores(TASK, 2.0)
    several.add(seen, truth, segments)
    single.add(seen, truth, segments[0])
    confusion = confusion_matrix(truth, paint_oracle_views(truth, list(segments), 2, 9), 2, 9)
    told, alone = (
        {(row["metric"], row["class"]): float(row["value"]) for row in scores.rows() if row["image"] == "all"}
        for scores in (several, single)
    )
    assert told["oracle_dice", "macro"] == pytest.approx(macro_dice(confusion))
    assert told["oracle_dice", "macro"] > alone["oracle_dice", "macro"]
    recalls = [boundary_recall(truth, ids, 2.0, 9) for ids in segments]
    assert told["boundary_recall", "macro"] == pytest.approx(np.mean(recalls))
    assert alone["boundary_recall", "macro"] == pytest.approx(recalls[0])
