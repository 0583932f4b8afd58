"""Laws of edges, whole graphs and their windows, against loops over faces and against scipy."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.segments import SHAPES, noise, voronoi
from support.source import registry_keys

from bench.config import GraphConfig

if TYPE_CHECKING:
    import torch
    from numba import config
    from torch_geometric.data import Data

    from bench.graphs import build
    from bench.graphs.build import build_graph, build_graphs
    from bench.graphs.edges import EDGES, NodePairs, direct_pairs, unite_pairs
    from bench.graphs.features import FEATURES
    from bench.graphs.pooling import Requirements, pool_segments
    from bench.pipelines.gnn.sampler import GraphSampler
    from bench.pipelines.gnn.windows import cut_subgraphs


def touching(segments: NDArray[np.int32]) -> set[tuple[int, int]]:
    """NodePairs of segments that share a pixel face, by looking at every face."""
    pairs = set()
    for axis in range(segments.ndim):
        lines = np.moveaxis(segments, axis, 0)
        for one, two in zip(lines[1:].ravel().tolist(), lines[:-1].ravel().tolist(), strict=True):
            if one != two:
                pairs.add((min(one, two), max(one, two)))
    return pairs


def pairs_of(name: str, segments: NDArray[np.int32], neighbours: int = 3) -> set[tuple[int, int]]:
    finder = EDGES[name]
    found = finder.find(pool_segments(noise(segments.shape), segments, finder.requires), neighbours)
    assert len(found.index) == len(found.boundary) == len(found.contrast)
    return {(int(low), int(high)) for low, high in found.index}


@pytest.mark.parametrize("shape", SHAPES)
def test_adjacent_segments_are_those_that_share_a_face(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    assert pairs_of("adjacency", segments) == touching(segments)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_neighbours_are_those_of_a_distance_matrix(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    centroids = pool_segments(noise(shape), segments, Requirements()).centroids
    distances = np.linalg.norm(centroids[:, None] - centroids[None], axis=-1)
    nearest = np.argsort(distances, axis=1)[:, 1:4]
    expected = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row}
    assert pairs_of("knn", segments) == expected


def test_a_graph_with_fewer_nodes_than_neighbours_is_complete() -> None:
    segments = np.arange(4, dtype=np.int32).repeat(4).reshape(4, 4)
    assert pairs_of("knn", segments, neighbours=9) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_a_union_has_every_pair_once_and_keeps_what_is_known() -> None:
    touch = NodePairs(np.array([[0, 1], [1, 2]]), np.array([4, 5], np.float32), np.array([0.3, 0.2], np.float32))
    near = NodePairs(np.array([[0, 2], [1, 2]]), np.zeros(2, np.float32), np.zeros(2, np.float32))
    both = unite_pairs([near, touch], 3)
    np.testing.assert_array_equal(both.index, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(both.boundary, [4, 0, 5])
    np.testing.assert_allclose(both.contrast, [0.3, 0, 0.2])


def test_two_halves_by_hand() -> None:
    segments = np.zeros((4, 6), np.int32)
    segments[:, 3:] = 1
    image = segments[..., None].astype(np.float32) * 2
    graph = build_graph(image, segments, GraphConfig(features=["intensity"], edges=["adjacency"]))
    np.testing.assert_array_equal(graph.edge_index, [[1, 0], [0, 1]])
    share, contrast, difference, distance, down, right = graph.edge_attr.numpy().T
    np.testing.assert_allclose(share, 1)
    np.testing.assert_allclose(contrast, 2)
    np.testing.assert_allclose(difference, 2)
    np.testing.assert_allclose(distance, 1)
    np.testing.assert_allclose(down, 0)
    np.testing.assert_allclose(right, [-1, 1])
    np.testing.assert_allclose(graph.edge_weight, 0.5)
    np.testing.assert_array_equal(graph.num_pixels, [12, 12])
    np.testing.assert_allclose(graph.pos, [[1.5, 1], [1.5, 4]])


@pytest.mark.parametrize("edges", [["adjacency"], ["knn"], ["adjacency", "knn"], ["knn", "adjacency"]])
@pytest.mark.parametrize("shape", SHAPES)
def test_edges_run_both_ways_without_loops_or_twins(shape: tuple[int, ...], edges: list[str]) -> None:
    segments = voronoi(shape)
    graph = build_graph(noise(shape), segments, GraphConfig(features=["position"], edges=edges))
    index = graph.edge_index.numpy()
    ways = set(map(tuple, index.T.tolist()))
    assert len(ways) == index.shape[1]
    assert ways == {(target, source) for source, target in ways}
    assert (index[0] != index[1]).all()
    assert (np.diff(index[1]) >= 0).all()
    assert graph.edge_attr.shape == (index.shape[1], 4 + len(shape))
    touch = touching(segments)
    shares = np.bincount(index[1], weights=graph.edge_attr[:, 0].numpy())
    np.testing.assert_allclose(shares, 1 if "adjacency" in edges else 0, atol=1e-5)
    assert "adjacency" not in edges or touch <= ways


@pytest.mark.parametrize("name", registry_keys("bench/graphs/edges.py", "EDGES"))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_finder_gives_ascending_pairs_of_different_nodes(name: str, shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    found = EDGES[name].find(pool_segments(noise(shape), segments, EDGES[name].requires), 3)
    assert found.index.shape == (len(found.boundary), 2)
    assert found.boundary.dtype == found.contrast.dtype == np.float32
    assert (found.index[:, 0] < found.index[:, 1]).all()
    keys = found.index[:, 0] * (segments.max() + 1) + found.index[:, 1]
    assert (np.diff(keys) > 0).all()


@pytest.mark.parametrize(("shape", "rows"), [((200, 1100), (1, 130)), ((21, 9, 10), (1, 16))])
def test_a_graph_is_the_same_to_the_bit_in_any_bands_and_on_any_threads(
    shape: tuple[int, ...], rows: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, image = voronoi(shape, 60), noise(shape, 2)
    settings = GraphConfig(features=list(FEATURES), edges=list(EDGES))
    expected = build_graph(image, segments, settings).to_dict()
    for count, threads in zip(rows, (1, 3), strict=True):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        for name, value in build_graph(image, segments, settings, count).to_dict().items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize(("shape", "rows", "channels"), [((200, 1100), 70, 3), ((21, 9, 10), 8, 2)])
def test_graphs_that_share_one_walk_are_those_of_each_segmentation_alone(
    shape: tuple[int, ...], rows: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, views = noise(shape, channels), [voronoi(shape, count) for count in (60, 11, 97)]
    settings = GraphConfig(features=list(FEATURES), edges=list(EDGES))
    alone = [build_graph(image, segments, settings).to_dict() for segments in views]
    for count, threads in ((None, 1), (rows, 3)):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        together = list(build_graphs(image, views, settings, count))
        assert len(together) == len(alone)
        for graph, expected in zip(together, alone, strict=True):
            for name, value in graph.to_dict().items():
                np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_a_graph_that_was_let_go_is_gone_before_the_next_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    image, views = noise((30, 30)), [voronoi((30, 30), count) for count in (20, 30, 40)]
    before: list[bool] = []
    features: list[weakref.ref[NDArray[np.float32]]] = []

    def build_next(*given: Any) -> dict[str, NDArray[Any]]:
        before.append(any(array() is not None for array in features))
        columns = build_one(*given)
        features.append(weakref.ref(columns["x"]))
        return columns

    build_one = build._build_next
    monkeypatch.setattr(build, "_build_next", build_next)
    for graph in build_graphs(image, views, GraphConfig()):
        del graph
    assert before == [False, False, False]


def test_weights_ignore_the_size_of_a_pixel_and_never_vanish() -> None:
    centroids = np.array([[0, 0], [0, 1], [0, 2], [0, 30]], np.float32)
    pairs = NodePairs(np.array([[0, 1], [1, 2], [2, 3]]), np.ones(3, np.float32), np.ones(3, np.float32))
    means = np.zeros((4, 1), np.float32)
    near, far = (direct_pairs(pairs, centroids * scale, means).weights for scale in (1, 50))
    np.testing.assert_allclose(near, far, rtol=1e-5)
    assert near.min() > 1e-3
    assert near.max() == pytest.approx(0.5)


def test_bands_of_no_rows_and_an_image_that_does_not_fit_are_refused() -> None:
    segments = np.zeros((5, 5), np.int32)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        build_graph(noise((5, 5)), segments, GraphConfig(), rows=0)
    with pytest.raises(ValueError, match="over segments"):
        build_graph(noise((5, 6)), segments, GraphConfig())


def test_one_segment_is_a_graph_without_edges() -> None:
    graph = build_graph(noise((5, 5)), np.zeros((5, 5), np.int32), GraphConfig(edges=list(EDGES)))
    assert graph.num_nodes == 1
    assert graph.num_edges == 0
    assert graph.edge_attr.shape == (0, 6)


@pytest.mark.parametrize("axes", [2, 3])
def test_windows_hold_every_node_once_and_the_edges_between_their_own(axes: int) -> None:
    segments = np.arange(6**axes, dtype=np.int32).reshape((6,) * axes)
    graph = build_graph(noise(segments.shape), segments, GraphConfig(features=["position"]))
    graph.y_counts = torch.arange(graph.num_nodes)[:, None]
    parts = [window.extract() for window in cut_subgraphs(graph, 12, np.random.default_rng(0))]
    assert len(parts) > 2
    owner = {int(node): number for number, part in enumerate(parts) for node in part.y_counts}
    assert sorted(owner) == list(range(graph.num_nodes))
    assert sum(len(part.y_counts) for part in parts) == graph.num_nodes
    found = {}
    for part in parts:
        nodes = part.y_counts[:, 0]
        torch.testing.assert_close(part.pos, graph.pos[nodes])
        torch.testing.assert_close(part.x, graph.x[nodes])
        for (source, target), attributes in zip(nodes[part.edge_index].T.tolist(), part.edge_attr, strict=True):
            found[source, target] = attributes
    expected = {
        (source, target): attributes
        for (source, target), attributes in zip(graph.edge_index.T.tolist(), graph.edge_attr, strict=True)
        if owner[source] == owner[target]
    }
    assert set(found) == set(expected)
    for edge, attributes in expected.items():
        torch.testing.assert_close(found[edge], attributes)


@pytest.mark.parametrize("batch_nodes", [4, 13, 64, 200])
def test_batches_hold_every_node_once_and_no_more_nodes_than_fit(batch_nodes: int) -> None:
    def make(side: int, first: int) -> Data:
        segments = np.arange(side**2, dtype=np.int32).reshape(side, side)
        graph = build_graph(noise(segments.shape), segments, GraphConfig(features=["position"]))
        graph.y_counts = first + torch.arange(graph.num_nodes)[:, None]
        return graph

    graphs = [make(8, 0), make(12, 64), make(3, 208)]  # 217 nodes
    sampler = GraphSampler(graphs, batch_nodes, 0, np.empty(0, np.intp))
    for epoch in (1, 2):
        batches = list(sampler.draw_epoch(epoch))
        assert sorted(node for batch in batches for node in batch.y_counts.flatten().tolist()) == list(range(217))
        for batch in batches:
            alone = len(torch.unique(batch.batch)) == 1  # a window may have more nodes than it was cut for
            assert batch.num_nodes <= sampler.most_nodes or alone
    for graph in graphs:  # a graph that fits is never cut
        whole = set(graph.y_counts.flatten().tolist())
        if len(whole) <= sampler.most_nodes:
            assert any(whole <= set(batch.y_counts.flatten().tolist()) for batch in batches)


def test_windows_of_a_small_graph_are_the_graph_and_others_move_with_the_generator() -> None:
    segments = np.arange(64, dtype=np.int32).reshape(8, 8)
    graph = build_graph(noise((8, 8)), segments, GraphConfig(features=["position"]))
    graph.y_counts = torch.arange(64)[:, None]
    assert [window.extract() for window in cut_subgraphs(graph, 64, np.random.default_rng(0))] == [graph]
    first, second = (
        [part.num_nodes for part in cut_subgraphs(graph, 16, np.random.default_rng(seed))] for seed in (0, 1)
    )
    assert first != second
