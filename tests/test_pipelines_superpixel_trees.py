"""Boosted trees on superpixels: what they learn, that they need no torch, and the same mask however it is computed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import Config, DatasetConfig, GraphConfig, InputError, SuperpixelsConfig, SuperpixelTreesConfig
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix, macro_dice

if TYPE_CHECKING:
    from bench.pipelines.scratch import store_array
    from bench.pipelines.trees.nodes import (
        draw_nodes,
        encode_drawn,
        encode_nodes,
        find_node_bins,
        gather_drawn,
        tabulate_nodes,
    )
    from bench.pipelines.trees.superpixel_trees import SuperpixelTrees
    from bench.superpixels.registry import segment

ROOT = Path(__file__).parents[1]
FEW = SuperpixelTreesConfig(hops=[1, 3], iterations=20, validate_every=5, patience=2, least_nodes=5)
SIZE = SuperpixelsConfig(superpixel_size=20)


def task(classes: int = 2, axes: int = 2) -> Task:
    return Task(tuple(f"class {label}" for label in range(classes)), 1, axes, ignore_index=9)


def disc(seed: int, shape: tuple[int, ...] = (64, 72), classes: int = 2) -> Sample:
    """A disc, and one in it, on noise; ignored pixels in a corner."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.4, 0.6) * size for size in shape]
    place = np.indices(shape)
    square = sum((axis - middle) ** 2 for axis, middle in zip(place, centre, strict=True))
    mask = (square < min(shape) ** 2 / 9).astype(np.int64)
    mask[square < min(shape) ** 2 / 36] = classes - 1
    image = (2 * mask + rng.normal(0, 0.4, shape))[..., None].astype(np.float32)
    mask[:4, :4] = 9
    return Sample(str(seed), image, mask)


def config(superpixels: SuperpixelsConfig = SIZE, pipeline: SuperpixelTreesConfig = FEW) -> Config:
    return Config(DatasetConfig(), pipeline, superpixels, GraphConfig(features=["intensity", "shape"]))


def fitted(settings: Config, kind: Task, shape: tuple[int, ...] = (64, 72)) -> SuperpixelTrees:
    pipeline = SuperpixelTrees(settings, kind)
    items = [pipeline.prepare(disc(seed, shape, kind.num_classes)) for seed in range(3)]
    pipeline.fit(items[:2], items[2:])
    return pipeline


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_discs(classes: int) -> None:
    pipeline, new = fitted(config(), task(classes)), disc(7, classes=classes)
    predicted = pipeline.predict(pipeline.prepare(new))
    assert macro_dice(confusion_matrix(np.asarray(new.mask), predicted, classes, 9)) > 0.85


@pytest.mark.parametrize("views", [1, 3])
def test_the_kept_score_is_that_of_the_painted_validation_images(views: int) -> None:
    pipeline = SuperpixelTrees(config(replace(SIZE, views=views)), task())
    samples = [disc(seed) for seed in range(4)]
    items = [pipeline.prepare(sample) for sample in samples]
    log = pipeline.fit(items[:2], items[2:])
    confusion = sum(
        confusion_matrix(np.asarray(sample.mask), pipeline.predict(item), 2, 9)
        for sample, item in zip(samples[2:], items[2:], strict=True)
    )
    assert log.best_score == macro_dice(np.asarray(confusion)) == max(row.val_score for row in log.history)
    assert log.best_step in [row.step for row in log.history]
    assert log.stopped in ("patience", "steps")
    assert all(row.train_loss > 0 for row in log.history)


@pytest.mark.parametrize("shape", [(47, 90), (9, 24, 30)])
@pytest.mark.parametrize("views", [1, 2])
def test_bands_and_scratch_give_the_same_mask(
    shape: tuple[int, ...], views: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = fitted(config(replace(SIZE, views=views)), task(axes=len(shape)), (12, 20, 24)[-len(shape) :])
    new = disc(7, shape)
    out: NDArray[np.int32] = np.full(shape, -1, np.int32)
    monkeypatch.setattr("bench.pipelines.trees.superpixel_trees.BAND_PIXELS", 200)
    pipeline.predict_into(new.image, out, tmp_path, lambda _: None)
    np.testing.assert_array_equal(out, pipeline.predict(pipeline.prepare(new)))


@pytest.mark.parametrize("method", ["skimage_slic", "felzenszwalb", "compact_watershed"])
def test_a_method_that_needs_the_whole_image_predicts_as_in_the_run(method: str, tmp_path: Path) -> None:
    pipeline, new = fitted(config(replace(SIZE, method=method)), task()), disc(7)
    out: NDArray[np.int32] = np.full(new.mask.shape, -1, np.int32)
    pipeline.predict_into(new.image, out, tmp_path, lambda _: None)
    np.testing.assert_array_equal(out, pipeline.predict(pipeline.prepare(new)))


def test_nodes_are_drawn_by_class_and_weigh_as_many_pixels_as_count() -> None:
    nodes = [np.array([[4, 1], [0, 0], [1, 3], [2, 2]]), np.array([[0, 5], [3, 0]])]
    drawn = draw_nodes([store_array(own, None) for own in nodes], 100, np.random.default_rng(0))
    assert [ids.tolist() for ids in drawn.nodes] == [[0, 2, 3], [0, 1]]  # a node without a counted pixel is none
    np.testing.assert_array_equal(drawn.labels, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(drawn.weights, [5, 4, 4, 5, 3])


def test_the_seed_decides_which_nodes_are_drawn() -> None:
    few = replace(config(), pipeline=replace(FEW, sample_nodes=60))
    edges = [fitted(replace(few, seed=seed), task()).fitted().edges for seed in (0, 0, 1)]
    np.testing.assert_array_equal(edges[0], edges[1])
    assert not np.array_equal(edges[0], edges[2])


@pytest.mark.parametrize("at_once", [1 << 21, 50])
def test_bins_of_means_are_those_of_their_hops(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few features are in memory at a time."""
    monkeypatch.setattr("bench.pipelines.trees.nodes.HELD_VALUES", at_once)
    image = np.asarray(disc(1).image)
    [table] = tabulate_nodes(image, [segment(image, SIZE)], GraphConfig(features=["intensity"]), None)
    counts = store_array(np.eye(2, dtype=np.int64)[np.arange(table.num_nodes) % 2], None)
    sample = draw_nodes([counts], 10**6, np.random.default_rng(0))
    drawn = gather_drawn([table], sample, [1, 2], None)
    both = find_node_bins(drawn, np.random.default_rng(0))
    own = find_node_bins(gather_drawn([table], sample, [], None), np.random.default_rng(0))
    features = len(table.rows)
    np.testing.assert_array_equal(both.edges[:features], own.edges)
    codes = encode_nodes(table, both, [1, 2], None).open()
    assert codes.shape == (table.num_nodes, 3 * features)
    np.testing.assert_array_equal(codes[:, :features], encode_nodes(table, own, [], None).open())
    np.testing.assert_array_equal(codes, encode_drawn(drawn, both).T)  # all nodes were drawn
    assert codes[:, features : 2 * features].std(axis=0).min() > 0


@pytest.mark.parametrize("views", [1, 3])
def test_a_large_image_is_prepared_in_bands_to_the_same_tables(views: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = GraphConfig(features=["intensity", "quantiles", "texture", "lightness", "colour", "shape", "position"])
    settings = replace(config(replace(SIZE, views=views)), graph=features)
    kind = replace(task(), in_channels=2)
    noise = np.random.default_rng(0).normal(size=(150, 40, 2)).astype(np.float32)
    sample = Sample("noise", noise, np.arange(150 * 40).reshape(150, 40) % 2)
    whole = SuperpixelTrees(settings, kind).prepare(sample)
    monkeypatch.setattr("bench.pipelines.trees.nodes.SLAB_VALUES", 64 * 40 * 2)
    monkeypatch.setattr("bench.pipelines.trees.nodes.HELD_VALUES", 5000)
    monkeypatch.setattr("bench.pipelines.in_memory.SMALL_VALUES", 1)
    monkeypatch.setattr("bench.pipelines.trees.superpixel_trees.TOGETHER", 1)
    monkeypatch.setattr("bench.pipelines.trees.superpixel_trees.BAND_PIXELS", 1000)
    banded = SuperpixelTrees(settings, kind).prepare(sample)
    assert banded.facts == whole.facts
    np.testing.assert_array_equal(banded.segments, whole.segments)
    for one, other in zip(banded.tables, whole.tables, strict=True):
        for name in ("rows", "pixels", "starts", "neighbours"):
            np.testing.assert_array_equal(getattr(one, name).open(), getattr(other, name).open())
    for mine, theirs in zip(banded.counts, whole.counts, strict=True):
        np.testing.assert_array_equal(mine.open(), theirs.open())


def test_items_take_no_memory_and_no_open_file_and_leave_nothing_behind(tmp_path: Path) -> None:
    settings = replace(config(replace(SIZE, views=2)), graph=GraphConfig(["intensity"], scratch_dir=str(tmp_path)))
    pipeline, sample = SuperpixelTrees(settings, task()), disc(0, (128, 144))
    pipeline.prepare(sample)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    tracemalloc.start()
    items = [pipeline.reduce_item(pipeline.prepare(sample)) for _ in range(4)]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    nodes = sum(table.num_nodes for item in items for table in item.tables)
    assert held < 20 * nodes  # a row of features alone has 44 bytes
    assert not descriptors.exists() or len(list(descriptors.iterdir())) <= before
    assert len(list(tmp_path.iterdir())) == 4 * 2 * 5
    copied = pickle.loads(pickle.dumps(items[0]))
    np.testing.assert_array_equal(copied.tables[1].rows.open(), items[0].tables[1].rows.open())
    del items, copied
    assert not list(tmp_path.iterdir())


def test_a_folder_for_tables_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    pipeline = SuperpixelTrees(replace(config(), graph=GraphConfig(scratch_dir=str(tmp_path / "missing"))), task())
    with pytest.raises(InputError, match=r"graph.scratch_dir .*missing"):
        pipeline.prepare(disc(0))


@pytest.mark.parametrize("views", [1, 2])
def test_a_run_predicts_where_its_folder_for_tables_is_not_there(views: int, tmp_path: Path) -> None:
    settings = config(replace(SIZE, views=views))
    here, new = fitted(settings, task()), disc(7)
    here.save(tmp_path / "checkpoint.pt")
    away = replace(settings, graph=replace(settings.graph, scratch_dir=str(tmp_path / "missing")))
    pipeline = SuperpixelTrees(away, task())
    pipeline.load(tmp_path / "checkpoint.pt")
    (tmp_path / "scratch").mkdir()
    out, mask, shares = np.empty((64, 72), np.uint8), np.empty((64, 72), np.uint8), np.empty((2, 64, 72), np.float32)
    pipeline.predict_into(new.image, out, tmp_path / "scratch", lambda _: None)
    pipeline.predict_probabilities(new.image, mask, shares, tmp_path / "scratch", lambda _: None)
    for found in (out, mask):
        np.testing.assert_array_equal(found, here.predict(here.prepare(new)))


def test_no_torch_and_no_library_of_learning_is_loaded() -> None:
    code = (
        "import sys; from bench.config import *; from bench.datasets.sample import Task;"
        "from bench.pipelines.registry import build_pipeline;"
        "build_pipeline(Config(DatasetConfig(), SuperpixelTreesConfig()), Task(('a', 'b'), 1, 2));"
        "sys.exit(bool({'torch', 'sklearn', 'skimage', 'pandas', 'dask'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong", [{"hops": [2, 1]}, {"hops": [0]}, {"sample_nodes": 1}, {"leaves": 1}, {"least_nodes": 0}, {"min_gain": -1}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"pipeline.{next(iter(wrong))}"):
        SuperpixelTreesConfig(**wrong)  # type: ignore[arg-type]


def test_effort_scales_the_iterations() -> None:
    assert SuperpixelTreesConfig(iterations=500).scale_work(0.1) == SuperpixelTreesConfig(iterations=50)
    assert SuperpixelTreesConfig(iterations=5).scale_work(0.01).iterations == 1
