"""Graphs on the disk: to the bit what those in memory are, from preparing to prediction; and gone afterwards."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakValueDictionary, ref

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Data

    from bench.arrays.scratch import Storage
    from bench.arrays.selection import find_median
    from bench.graphs.build import build_columns, build_graph
    from bench.pipelines.gnn.columns import is_on_disk, release_columns, store_columns
    from bench.pipelines.gnn.graph import is_large
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn
    from bench.pipelines.gnn.windows import cut_subgraphs
    from bench.pipelines.scratch import open_scratch, store_array, warn_of_memory
    from bench.superpixels.views import list_views


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)


class OnDemand:
    """An image that is read by slices of rows alone, never whole."""

    def __init__(self, values: Any) -> None:
        self._values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key: Any) -> Any:
        rows = key[0] if isinstance(key, tuple) else key
        assert isinstance(rows, slice)
        assert rows.stop - rows.start < len(self._values), "the whole image was read at once"
        return self._values[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise AssertionError("the whole image was read at once")


def disc(seed: int, on_demand: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((96, 80))
    mask = ((rows - 40) ** 2 + (columns - rng.integers(25, 53)) ** 2 < 400).astype(np.int64)
    image = (2 * mask + rng.normal(0, 0.3, mask.shape))[..., None].astype(np.float32)
    mask[:5, :5] = 9
    return Sample(str(seed), OnDemand(image) if on_demand else image, mask)


def make_pipeline(scratch: Path | None, views: int = 1) -> SuperpixelGnn:
    pipeline = SuperpixelGnnConfig(model=GnnConfig("sage", 8, 2, 0.1), batch_nodes=100, predict_nodes=40)
    features = ["intensity", "quantiles", "shape"]  # texture would read more rows around a band than these images have
    graph = GraphConfig(features, scratch_dir=None if scratch is None else str(scratch))
    superpixels = SuperpixelsConfig(superpixel_size=20, views=views)
    training = TrainingConfig(epochs=3, steps=None)
    return SuperpixelGnn(Config(DatasetConfig(), pipeline, superpixels, graph, training, device="cpu"), TASK)


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image counts as large, and is read in bands of a few rows."""
    monkeypatch.setattr("bench.pipelines.gnn.graph.HELD_VALUES", 1)
    monkeypatch.setattr("bench.pipelines.in_memory.SMALL_VALUES", 1)
    monkeypatch.setattr("bench.pipelines.gnn.columns.TAKEN", 7)
    monkeypatch.setattr("bench.pipelines.gnn.columns.ENTRIES", 50)
    monkeypatch.setattr("bench.superpixels.runs.SLAB_PIXELS", 64 * 80)
    monkeypatch.setattr("bench.superpixels.labels.BAND_PIXELS", 30 * 80)
    monkeypatch.setattr("bench.superpixels.scaling.SCRATCH_VALUES", 30 * 80)
    monkeypatch.setattr("bench.pipelines.gnn.superpixel_gnn.BAND_PIXELS", 30 * 80)


@pytest.mark.parametrize("views", [1, 3])
def test_a_large_image_is_prepared_by_rows_to_the_graph_it_has_in_memory(
    views: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    expected = make_pipeline(None, views).prepare(disc(0))
    request.getfixturevalue("small_bands")
    item = make_pipeline(tmp_path, views).prepare(disc(0, on_demand=True))
    np.testing.assert_array_equal(item.segments, expected.segments)
    assert item.facts == expected.facts
    for graph, other in zip(item.graphs, expected.graphs, strict=True):
        assert is_on_disk(graph)
        assert not is_on_disk(other)
        assert set(graph.keys()) == set(other.keys())
        for name, tensor in other.to_dict().items():
            assert graph[name].dtype == tensor.dtype, name
            assert torch.equal(graph[name], tensor), name


@pytest.fixture
def stored_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are prepared in memory, and every graph is put in a file."""
    monkeypatch.setattr("bench.pipelines.gnn.graph.LEAST_NODES", 1)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("way", ["small_bands", "stored_graphs"])
def test_training_and_prediction_from_the_disk_give_the_same_weights_and_mask(
    way: str, views: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fitted = []
    for scratch in (None, tmp_path):
        if scratch is not None:
            request.getfixturevalue(way)
        pipeline = make_pipeline(scratch, views)
        on_demand = way == "small_bands" and scratch is not None
        train, val, test = (pipeline.prepare(disc(seed, on_demand=on_demand)) for seed in (1, 2, 3))
        assert [is_on_disk(graph) for graph in train.graphs] == [scratch is not None] * views
        log = pipeline.fit([pipeline.reduce_item(train)], [val])
        assert pipeline.model is not None
        stored = log.facts.pop("stored_bytes")
        assert (stored > 0) == (scratch is not None)
        fitted.append((log.best_score, log.facts, pipeline.model.state_dict(), pipeline.predict(test)))
    (score, facts, weights, mask), (other_score, other_facts, other_weights, other_mask) = fitted
    assert score == other_score
    assert facts == other_facts
    for name, tensor in weights.items():
        assert torch.equal(tensor, other_weights[name]), name
    np.testing.assert_array_equal(mask, other_mask)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("large", [False, True])
def test_graphs_of_an_image_that_is_predicted_once_are_made_one_after_the_other(
    large: bool, views: int, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(tmp_path, views)
    pipeline.fit([pipeline.prepare(disc(1))], [pipeline.prepare(disc(2))])
    kept = pipeline.prepare(disc(3))
    expected = pipeline.predict(kept)
    if large:
        request.getfixturevalue("small_bands")
    item = pipeline.prepare_once(disc(3, on_demand=large))
    np.testing.assert_array_equal(item.segments, kept.segments)
    vote, graphs = pipeline.vote_nodes, list[ReferenceType[Data]]()

    def vote_alone(data: Data) -> NDArray[Any]:
        assert all(graph() is None for graph in graphs)
        assert is_on_disk(data) == large
        assert "y_counts" not in data
        graphs.append(ref(data))
        return vote(data)

    monkeypatch.setattr(pipeline, "vote_nodes", vote_alone)
    np.testing.assert_array_equal(pipeline.predict(item), expected)
    assert len(graphs) == views
    assert item.facts == kept.facts
    del item, kept
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("stored_graphs")
def test_no_more_graphs_are_put_in_files_than_the_system_may_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.pipelines.gnn.graph.MOST_STORED", 2)
    monkeypatch.setattr("bench.pipelines.gnn.graph._STORED", WeakValueDictionary())
    items = [make_pipeline(tmp_path).prepare(disc(seed)) for seed in range(3)]
    assert [is_on_disk(item.graphs[0]) for item in items] == [True, True, False]
    assert len({path.parent for path in tmp_path.rglob("*.bin")}) == 2
    del items
    gc.collect()
    assert is_on_disk(make_pipeline(tmp_path).prepare(disc(3)).graphs[0])


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("views", [1, 3])
def test_a_graph_that_was_made_in_bands_lies_in_two_files(views: int, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, views)
    reduced = pipeline.reduce_item(pipeline.prepare(disc(1, on_demand=True)))
    gc.collect()
    assert len(reduced.graphs) == views
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2 * views  # columns, and true classes


@pytest.mark.usefixtures("small_bands")
def test_files_go_with_what_they_hold(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path)
    item = pipeline.prepare(disc(1, on_demand=True))
    assert len(list(tmp_path.iterdir())) > 0
    reduced = pipeline.reduce_item(item)
    x = reduced.graphs[0].x.clone()
    del item
    gc.collect()
    assert torch.equal(reduced.graphs[0].x, x)
    del reduced
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def make_graph() -> Data:
    rng = np.random.default_rng(0)
    edges = np.array([[1, 2, 0, 3, 0], [0, 0, 1, 1, 2]])
    return Data(
        x=torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)),
        pos=torch.from_numpy(rng.uniform(0, 9, (4, 2)).astype(np.float32)),
        num_pixels=torch.arange(4),
        y_counts=torch.arange(8).reshape(4, 2),
        edge_index=torch.from_numpy(edges),
        edge_attr=torch.from_numpy(rng.normal(size=(5, 6)).astype(np.float32)),
        edge_weight=torch.zeros(5),
    )


def test_a_stored_graph_keeps_its_values_when_its_pages_are_handed_back(tmp_path: Path) -> None:
    graph = make_graph()
    stored = store_columns(graph, str(tmp_path))
    for _ in range(2):
        for name, tensor in graph.to_dict().items():
            assert torch.equal(stored[name], tensor), name
        release_columns(stored)
    release_columns(graph)  # harmless
    assert stored.num_nodes == graph.num_nodes
    empty = replace_edges(graph)
    assert store_columns(empty, str(tmp_path)).edge_attr.shape == (0, 6)


def replace_edges(graph: Data) -> Data:
    alone = graph.clone()
    alone.edge_index, alone.edge_attr = graph.edge_index[:, :0], graph.edge_attr[:0]
    alone.edge_weight = graph.edge_weight[:0]
    return alone


def test_windows_of_a_stored_graph_are_those_of_the_graph(tmp_path: Path) -> None:
    graph = make_graph()
    stored = store_columns(graph, str(tmp_path))
    pairs = list(zip(*(cut_subgraphs(one, 2, np.random.default_rng(3)) for one in (graph, stored)), strict=True))
    assert len(pairs) > 1
    for window, other in pairs:
        part, same = window.extract(), other.extract()
        for name, tensor in part.to_dict().items():
            assert torch.equal(tensor, same[name]), name


def test_columns_and_rows_of_a_stored_array_need_no_map(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 900)).astype(np.float32)
    stored = store_array(values, str(tmp_path))
    np.testing.assert_array_equal(stored.read_columns(3, 880), values[:, 3:880])
    stored.write_rows(2, -values[2:4])
    np.testing.assert_array_equal(stored.open(), np.concatenate([values[:2], -values[2:4], values[4:]]))


@pytest.mark.parametrize(("stored", "kind", "warned"), [(9 << 20, "tmpfs", 1), (0, "tmpfs", 0), (9 << 20, "ext4", 0)])
def test_files_that_lie_in_memory_are_warned_of(tmp_path: Path, stored: int, kind: str, warned: int) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nnone {tmp_path.resolve()} {kind} rw 0 0\n", encoding="utf-8")
    found = warn_of_memory(str(tmp_path / "scratch"), stored, mounts)
    assert len(found) == warned
    assert all("9 MiB" in flag and "graph.scratch_dir" in flag for flag in found)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"graph\.scratch_dir .*missing cannot be used"):
        open_scratch(str(tmp_path / "missing"))


@pytest.mark.parametrize(("shape", "channels", "edges"), [((200, 130), 2, ["adjacency"]), ((9, 20, 21), 1, ["knn"])])
def test_columns_that_are_made_in_files_are_those_made_in_memory(
    shape: tuple[int, ...], channels: int, edges: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    coarse = np.ix_(*(np.arange(length) // 5 for length in shape))
    segments = rng.permutation(5000)[np.ravel_multi_index(coarse, [50] * len(shape), mode="wrap") % 5000]
    segments = np.unique(segments, return_inverse=True)[1].reshape(shape).astype(np.int32)  # ids in no order
    image = rng.normal(0, 1, (*shape, channels)).astype(np.float32)
    config = GraphConfig(["intensity", "quantiles", "texture", "lightness", "colour", "shape", "position"], edges)
    expected = build_graph(image, segments, config).to_dict()
    for place in ("moments", "colour", "pooling", "features", "segment_sums"):
        monkeypatch.setattr(f"bench.graphs.{place}.NODES", 30)
    monkeypatch.setattr("bench.graphs.segment_sums.OPEN", 60)  # of ids in no order nearly all are open at once
    monkeypatch.setattr("bench.superpixels.adjacency.PAIRS", 70)
    monkeypatch.setattr("bench.graphs.edges.PAIRS", 70)
    monkeypatch.setattr("bench.arrays.selection.AT_ONCE", 50)
    with Storage(tmp_path) as storage:
        [columns] = build_columns(image, [segments], config, rows=8, storage=storage)
        for name, tensor in expected.items():
            kept = storage.keep(columns[name], tmp_path / name)
            assert isinstance(kept, np.memmap), name
            np.testing.assert_array_equal(kept, tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("count", [1, 10, 101, 3000])
def test_a_median_in_bands_is_that_of_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    for values in (rng.random(count) * 100, rng.integers(0, 5, count).astype(np.float64), np.full(count, 3.3)):
        assert find_median(values, Storage(None), 16) == np.median(values)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no file that is always full")
def test_a_full_disk_is_named_where_rows_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Storage(tmp_path) as storage:
        monkeypatch.setattr(storage, "start_file", lambda: Path("/dev/full"))
        column = storage.start_rows(np.float64, (2,))
        with pytest.raises(OSError, match=r"no room for scratch in .*No space left"):
            column.append(np.ones((1000, 2)))


def test_an_array_is_filled_part_by_part_in_memory_and_in_files_alike(tmp_path: Path) -> None:
    parts = [
        np.arange(6, dtype=np.int64).reshape(3, 2),
        np.empty((0, 2), np.int64),
        np.full((2, 4), 7, np.int64)[:, ::2],
    ]
    for place in (None, tmp_path):
        with Storage(place) as storage:
            filled = storage.fill((5, 2), np.float32, iter(parts))
            storage.release()
            np.testing.assert_array_equal(filled, np.concatenate(parts))
            assert filled.dtype == np.float32
            assert storage.fill((0, 2), np.float32, ()).shape == (0, 2)
            storage.drop(filled)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_added_at_the_end_and_up_in_memory_and_in_files_alike(tmp_path: Path) -> None:
    parts = [np.arange(6, dtype=np.int64).reshape(3, 2), np.full((2, 2), 7, np.int64), np.empty((0, 2), np.int64)]
    for place in (None, tmp_path):
        with Storage(place) as storage:
            column, sums = storage.start_rows(np.int64, (2,)), storage.start_sums(2)
            for part in parts:
                column.append(part)
            for first in (4, 0, 9):
                sums.add(first, parts[0])
            np.testing.assert_array_equal(column.finish(), np.concatenate(parts))
            found = sums.finish()
            assert found.shape == (12, 2)
            np.testing.assert_array_equal(found[[0, 4, 11]], parts[0][[0, 0, 2]])
            assert found.sum() == 3 * parts[0].sum()
    assert list(tmp_path.iterdir()) == []


def test_what_is_prepared_for_a_fit_lies_on_the_disk_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there are files for it."""
    views = list_views(SuperpixelsConfig(views=3))
    assert is_large((800, 700, 1), views, for_a_fit=True)
    assert not is_large((800, 700, 1), views)
    monkeypatch.setattr("bench.pipelines.gnn.graph.MOST_STORED", 0)
    assert not is_large((800, 700, 1), views, for_a_fit=True)
    assert is_large((8000, 700, 1), views, for_a_fit=True)
