"""Laws of node features and edges, against loops over segments and against scipy and scikit-image."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import regionprops_table

from bench.config import GraphConfig, InputError
from bench.graphs import EDGES, FEATURES, build
from bench.graphs.edges import Pairs, directed, union
from bench.graphs.pooling import (
    pixel_counts,
    segment_centroids,
    segment_means,
    segment_moments,
    segment_quantiles,
)
from bench.graphs.texture import COARSE, FINE, enlarged, halved, responses, symmetric_eigenvalues
from bench.graphs.windows import cut

SHAPES = ((17, 23), (7, 8, 9))


def voronoi(shape: tuple[int, ...], count: int = 12) -> NDArray[np.int32]:
    """Segments nearest to random points; every id used."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (count, len(shape))) * np.array(shape)
    pixels = np.moveaxis(np.indices(shape), 0, -1)[..., None, :]
    nearest = ((pixels - points) ** 2).sum(axis=-1).argmin(axis=-1)
    return np.unique(nearest, return_inverse=True)[1].reshape(shape).astype(np.int32)


def noise(shape: tuple[int, ...], channels: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(*shape, channels)).astype(np.float32)


def by_segment(values: NDArray[np.float32], segments: NDArray[np.int32]) -> list[NDArray[np.float32]]:
    return [values[segments == node] for node in range(segments.max() + 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_quantiles_agree_with_numpy(shape: tuple[int, ...]) -> None:
    segments, values = voronoi(shape), noise(shape)[..., 0] + 1000
    counts, parts = pixel_counts(segments), by_segment(values, segments)
    levels = np.array([0.0, 0.1, 0.37, 0.5, 1.0])
    moments = segment_moments(values, segments, counts)
    np.testing.assert_allclose(moments[:, 0], [part.mean() for part in parts], rtol=1e-6)
    np.testing.assert_allclose(moments[:, 1], [part.std() for part in parts], rtol=1e-3)
    np.testing.assert_allclose(segment_means(values, segments, counts), moments[:, 0])
    np.testing.assert_allclose(
        segment_quantiles(values, segments, counts, levels), [np.quantile(part, levels) for part in parts], rtol=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_centroids_elongation_and_areas_agree_with_scikit_image(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    names = ("area", "centroid", "inertia_tensor_eigvals")
    props = regionprops_table(segments + 1, properties=names)
    centroids = np.stack([props[f"centroid-{axis}"] for axis in range(len(shape))], axis=1)
    np.testing.assert_allclose(segment_centroids(segments, pixel_counts(segments)), centroids, rtol=1e-5)
    log_area, elongation, compactness = FEATURES["shape"](noise(shape), segments).T
    np.testing.assert_allclose(np.exp(log_area), props["area"], rtol=1e-5)
    if len(shape) == 2:  # the inertia of a volume is another tensor
        inertia = np.stack([props["inertia_tensor_eigvals-0"], props["inertia_tensor_eigvals-1"]]) + 1 / 12
        np.testing.assert_allclose(1 - elongation, np.sqrt(inertia[1] / inertia[0]), atol=1e-3)
    assert ((compactness > 0) & (compactness <= 1)).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_cubes_are_compact_and_round_and_bars_are_neither(axes: int) -> None:
    shape = (4,) * axes
    segments = np.zeros((8, *shape[1:]), np.int32)
    segments[4:] = 1 + np.indices((4, *shape[1:]))[1]  # one cube, then bars
    log_area, elongation, compactness = FEATURES["shape"](noise(segments.shape), segments).T
    assert log_area[0] == pytest.approx(axes * np.log(4))
    assert elongation[0] == pytest.approx(0, abs=1e-6)
    assert compactness[0] == pytest.approx(1)
    assert (elongation[1:] > 0.5).all()
    assert (compactness[1:] < 0.95).all()


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_set_is_one_finite_row_per_segment_and_follows_its_id(name: str, shape: tuple[int, ...]) -> None:
    segments, image = voronoi(shape), noise(shape)
    rows = FEATURES[name](image, segments)
    assert rows.dtype == np.float32
    assert rows.shape[0] == segments.max() + 1
    assert np.isfinite(rows).all()
    renamed = np.random.default_rng(2).permutation(len(rows)).astype(np.int32)
    np.testing.assert_allclose(FEATURES[name](image, renamed[segments])[renamed], rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FEATURES)
def test_a_segment_of_one_pixel_and_a_constant_image_are_harmless(name: str) -> None:
    segments = np.zeros((6, 6), np.int32)
    segments[2, 3] = 1
    assert np.isfinite(FEATURES[name](np.full((6, 6, 1), 3, np.float32), segments)).all()


def test_the_published_eleven_are_mean_deviation_and_deciles() -> None:
    segments, image = voronoi((17, 23)), noise((17, 23), 1)
    part = image[segments == 3]
    expected = [part.mean(), part.std(), *np.quantile(part, np.arange(1, 10) / 10)]
    np.testing.assert_allclose(FEATURES["intensity"](image, segments)[3], expected, rtol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_eigenvalues_agree_with_numpy(axes: int) -> None:
    matrices = np.random.default_rng(0).normal(size=(5, axes, axes)).astype(np.float32)
    matrices = matrices + matrices.swapaxes(1, 2)
    upper = [matrices[:, row, column] for row, column in zip(*np.triu_indices(axes), strict=True)]
    found = np.stack(list(symmetric_eigenvalues(upper, axes)), axis=1)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrices)[:, ::-1], atol=1e-5)


def test_responses_know_a_ramp_a_blob_and_a_grating() -> None:
    rows, columns = np.indices((65, 65)).astype(np.float32)
    smooth, gradient, curvature, other, along, across = responses(columns * 0.5, 2.0)
    centre = (32, 32)
    assert smooth[centre] == pytest.approx(16, abs=1e-3)
    assert gradient[centre] == pytest.approx(2 * 0.5, abs=1e-3)
    assert curvature[centre] == pytest.approx(0, abs=1e-3)
    assert other[centre] == pytest.approx(0, abs=1e-3)
    assert along[centre] == pytest.approx(1, abs=1e-3)
    assert across[centre] == pytest.approx(0, abs=1e-3)
    blob = np.exp(-((rows - 32) ** 2 + (columns - 32) ** 2) / (2 * 4**2))
    strengths = [-list(responses(blob, sigma))[2][centre] for sigma in (*FINE, *COARSE)]
    assert int(np.argmax(strengths)) == FINE.index(4.0)


@pytest.mark.parametrize("shape", [(16, 16), (13, 9), (5, 1), (7, 6, 3)])
def test_halving_and_enlarging_return_to_the_size_and_keep_constants(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 2.5, np.float32)
    small = halved(halved(image))
    assert small.shape == tuple(math.ceil(size / 4) for size in shape)
    np.testing.assert_array_equal(enlarged(small, shape, 4), image)


def test_halving_takes_means_of_blocks_and_enlarging_puts_them_back_in_place() -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(halved(image), [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(enlarged(halved(image), (4, 4), 2)[1:3, 1:3], [[2.5, 4.5], [10.5, 12.5]])


def test_coarse_scales_agree_with_filters_at_full_resolution() -> None:
    segments = voronoi((240, 240), 60)
    image = gaussian_filter(np.random.default_rng(0).normal(size=(240, 240)), 10)[..., None].astype(np.float32)
    counts, per_scale = pixel_counts(segments), 6
    coarse = FEATURES["texture"](image, segments)[:, len(FINE) * 2 * per_scale :]
    within = (np.abs(segment_centroids(segments, counts) - 120) < 80).all(axis=1)  # derivatives at the border differ
    for number, sigma in enumerate(COARSE[:2]):
        expected = np.stack([segment_means(part, segments, counts) for part in responses(image[..., 0], sigma)])
        found = coarse[:, number * per_scale : (number + 1) * per_scale].T
        for one, other in zip(found[:, within], expected[:, within], strict=True):
            assert np.corrcoef(one, other)[0, 1] > 0.97
            assert np.abs(one - other).max() < 0.15 * np.abs(other).max()


def touching(segments: NDArray[np.int32]) -> set[tuple[int, int]]:
    """Pairs of segments that share a pixel face, by looking at every face."""
    pairs = set()
    for axis in range(segments.ndim):
        lines = np.moveaxis(segments, axis, 0)
        for one, two in zip(lines[1:].ravel().tolist(), lines[:-1].ravel().tolist(), strict=True):
            if one != two:
                pairs.add((min(one, two), max(one, two)))
    return pairs


def pairs_of(name: str, segments: NDArray[np.int32], neighbours: int = 3) -> set[tuple[int, int]]:
    centroids = segment_centroids(segments, pixel_counts(segments))
    found = EDGES[name](noise(segments.shape), segments, centroids, neighbours)
    assert len(found.index) == len(found.boundary) == len(found.contrast)
    return {(int(low), int(high)) for low, high in found.index}


@pytest.mark.parametrize("shape", SHAPES)
def test_adjacent_segments_are_those_that_share_a_face(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    assert pairs_of("adjacency", segments) == touching(segments)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_neighbours_are_those_of_a_distance_matrix(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    centroids = segment_centroids(segments, pixel_counts(segments))
    distances = np.linalg.norm(centroids[:, None] - centroids[None], axis=-1)
    nearest = np.argsort(distances, axis=1)[:, 1:4]
    expected = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row}
    assert pairs_of("knn", segments) == expected


def test_a_graph_with_fewer_nodes_than_neighbours_is_complete() -> None:
    segments = np.arange(4, dtype=np.int32).repeat(4).reshape(4, 4)
    assert pairs_of("knn", segments, neighbours=9) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_a_union_has_every_pair_once_and_keeps_what_is_known() -> None:
    touch = Pairs(np.array([[0, 1], [1, 2]]), np.array([4, 5], np.float32), np.array([0.3, 0.2], np.float32))
    near = Pairs(np.array([[0, 2], [1, 2]]), np.zeros(2, np.float32), np.zeros(2, np.float32))
    both = union([near, touch], 3)
    np.testing.assert_array_equal(both.index, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(both.boundary, [4, 0, 5])
    np.testing.assert_allclose(both.contrast, [0.3, 0, 0.2])


def test_two_halves_by_hand() -> None:
    segments = np.zeros((4, 6), np.int32)
    segments[:, 3:] = 1
    image = segments[..., None].astype(np.float32) * 2
    graph = build(image, segments, GraphConfig(features=["intensity"], edges=["adjacency"]))
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


@pytest.mark.parametrize("edges", [["adjacency"], ["knn"], ["adjacency", "knn"]])
@pytest.mark.parametrize("shape", SHAPES)
def test_edges_run_both_ways_without_loops_or_twins(shape: tuple[int, ...], edges: list[str]) -> None:
    segments = voronoi(shape)
    graph = build(noise(shape), segments, GraphConfig(features=["position"], edges=edges))
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
    assert edges == ["knn"] or touch <= ways


def test_weights_ignore_the_size_of_a_pixel_and_never_vanish() -> None:
    centroids = np.array([[0, 0], [0, 1], [0, 2], [0, 30]], np.float32)
    pairs = Pairs(np.array([[0, 1], [1, 2], [2, 3]]), np.ones(3, np.float32), np.ones(3, np.float32))
    means = np.zeros((4, 1), np.float32)
    near, far = (directed(pairs, centroids * scale, means).weights for scale in (1, 50))
    np.testing.assert_allclose(near, far, rtol=1e-5)
    assert near.min() > 1e-3
    assert near.max() == pytest.approx(0.5)


def test_one_segment_is_a_graph_without_edges() -> None:
    graph = build(noise((5, 5)), np.zeros((5, 5), np.int32), GraphConfig(edges=["adjacency", "knn"]))
    assert graph.num_nodes == 1
    assert graph.num_edges == 0
    assert graph.edge_attr.shape == (0, 6)


@pytest.mark.parametrize("config", [GraphConfig(features=["intensity", "shine"]), GraphConfig(edges=["adjacent"])])
def test_unknown_names_are_refused_by_setting(config: GraphConfig) -> None:
    with pytest.raises(InputError, match=r"graph\.(features|edges) must be one of"):
        build(noise((5, 5)), np.zeros((5, 5), np.int32), config)


@pytest.mark.parametrize("axes", [2, 3])
def test_windows_hold_every_node_once_and_the_edges_between_their_own(axes: int) -> None:
    segments = np.arange(6**axes, dtype=np.int32).reshape((6,) * axes)
    graph = build(noise(segments.shape), segments, GraphConfig(features=["position"]))
    graph.y_counts = torch.arange(graph.num_nodes)[:, None]
    parts = cut(graph, 12, np.random.default_rng(0))
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


def test_windows_of_a_small_graph_are_the_graph_and_others_move_with_the_generator() -> None:
    segments = np.arange(64, dtype=np.int32).reshape(8, 8)
    graph = build(noise((8, 8)), segments, GraphConfig(features=["position"]))
    graph.y_counts = torch.arange(64)[:, None]
    assert cut(graph, 64, np.random.default_rng(0)) == [graph]
    first, second = ([len(part.x) for part in cut(graph, 16, np.random.default_rng(seed))] for seed in (0, 1))
    assert first != second
