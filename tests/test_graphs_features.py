"""Laws of node features, against loops over segments and against scipy and scikit-image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.segments import SHAPES, by_segment, noise, voronoi
from support.source import registry_keys

from bench.arrays.threads import Workers
from bench.config import GraphConfig, InputError

if TYPE_CHECKING:
    from numba import config
    from scipy.ndimage import gaussian_filter
    from skimage.measure import regionprops_table
    from support.reference_texture import halved as reference_halved
    from support.reference_texture import texture

    from bench.graphs.build import build_graph
    from bench.graphs.features import FEATURES, FeatureSet, compute_features
    from bench.graphs.pooling import Requirements, pool_segments
    from bench.graphs.texture import COARSE, FINE, halve, halve_volume
    from bench.graphs.volume import filter_volume, find_eigenvalues, measure_margin


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_quantiles_agree_with_numpy(shape: tuple[int, ...]) -> None:
    segments, image = voronoi(shape), noise(shape) + 1000
    parts = by_segment(image, segments)
    levels = (0.0, 0.1, 0.37, 0.5, 1.0)
    pooled = pool_segments(image, segments, Requirements(levels))
    np.testing.assert_array_equal(pooled.counts, [len(part) for part in parts])
    np.testing.assert_allclose(pooled.mean, [part.mean(axis=0) for part in parts], rtol=1e-6)
    np.testing.assert_allclose(pooled.deviation, [part.std(axis=0, dtype=float) for part in parts], rtol=1e-5)
    assert pooled.quantiles is not None
    np.testing.assert_allclose(pooled.quantiles, [np.quantile(part, levels, axis=0).T for part in parts], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_colour_agrees_with_numpy_and_is_nothing_in_grey(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    image = np.concatenate([noise(shape) + 1000, noise(shape)[..., ::-1] * 3, noise(shape) ** 2], axis=-1)
    channels = image.shape[-1]
    expected = []
    for part in by_segment(image.astype(np.float64), segments):
        light = part.mean(axis=1)
        away = part - light[:, None]
        planes = [light, np.linalg.norm(away, axis=1), *away.T]
        expected.append([f(plane) for plane in planes for f in (np.mean, np.std)])
    found = compute_features(["colour"], image, segments)
    assert found.shape[1] == 4 + 2 * channels
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert compute_features(["colour"], image[..., :1], segments).shape == (len(found), 0)
    with pytest.raises(InputError, match="say nothing of an image of one channel"):
        build_graph(image[..., :1], segments, GraphConfig(features=["colour"]))


OWN_SETS = {
    "right": lambda found: found.mean,
    "a row too few": lambda found: found.mean[:-1],
    "without columns": lambda found: found.mean[:, 0],
}


@pytest.mark.parametrize("kind", OWN_SETS)
def test_a_set_of_another_shape_is_refused_by_its_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "own", FeatureSet(OWN_SETS[kind]))
    segments, image = np.arange(16, dtype=np.int32).reshape(4, 4), noise((4, 4))
    if kind == "right":
        np.testing.assert_array_equal(compute_features(["own"], image, segments), image.reshape(16, -1))
        return
    with pytest.raises(InputError, match="own must have a row of columns for each of"):
        compute_features(["own"], image, segments)


@pytest.mark.parametrize("shape", SHAPES)
def test_lightness_is_what_the_grey_sets_say_of_the_mean_of_the_channels(shape: tuple[int, ...]) -> None:
    segments, image = voronoi(shape), noise(shape, 3)
    grey = image.mean(axis=-1, keepdims=True)
    expected = compute_features(["intensity", "quantiles", "texture"], grey, segments)
    np.testing.assert_array_equal(compute_features(["lightness"], grey, segments), expected)
    np.testing.assert_allclose(compute_features(["lightness"], image, segments), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_centroids_elongation_and_areas_agree_with_scikit_image(shape: tuple[int, ...]) -> None:
    segments = voronoi(shape)
    names = ("area", "centroid", "inertia_tensor_eigvals")
    props = regionprops_table(segments + 1, properties=names)
    centroids = np.stack([props[f"centroid-{axis}"] for axis in range(len(shape))], axis=1)
    np.testing.assert_allclose(pool_segments(noise(shape), segments, Requirements()).centroids, centroids, rtol=1e-5)
    log_area, elongation, compactness = compute_features(["shape"], noise(shape), segments).T
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
    log_area, elongation, compactness = compute_features(["shape"], noise(segments.shape), segments).T
    assert log_area[0] == pytest.approx(axes * np.log(4))
    assert elongation[0] == pytest.approx(0, abs=1e-6)
    assert compactness[0] == pytest.approx(1)
    assert (elongation[1:] > 0.5).all()
    assert (compactness[1:] < 0.95).all()


@pytest.mark.parametrize("name", registry_keys("bench/graphs/features.py", "FEATURES"))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_set_is_one_finite_row_per_segment_and_follows_its_id(name: str, shape: tuple[int, ...]) -> None:
    segments, image = voronoi(shape), noise(shape)
    rows = compute_features([name], image, segments)
    assert rows.dtype == np.float32
    assert rows.shape[0] == segments.max() + 1
    assert np.isfinite(rows).all()
    renamed = np.random.default_rng(2).permutation(len(rows)).astype(np.int32)
    np.testing.assert_allclose(compute_features([name], image, renamed[segments])[renamed], rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", registry_keys("bench/graphs/features.py", "FEATURES"))
def test_a_segment_of_one_pixel_and_a_constant_image_are_harmless(name: str) -> None:
    segments = np.zeros((6, 6), np.int32)
    segments[2, 3] = 1
    assert np.isfinite(compute_features([name], np.full((6, 6, 1), 3, np.float32), segments)).all()


def test_the_published_eleven_are_mean_deviation_and_deciles() -> None:
    segments, image = voronoi((17, 23)), noise((17, 23), 1)
    part = image[segments == 3]
    expected = [part.mean(), part.std(), *np.quantile(part, np.arange(1, 10) / 10)]
    np.testing.assert_allclose(compute_features(["intensity"], image, segments)[3], expected, rtol=1e-5)


@pytest.mark.parametrize(("shape", "channels"), [((61, 83), 2), ((9, 10, 11), 1), ((1, 40), 1), ((40, 1), 1)])
def test_texture_agrees_with_scipy_also_at_the_border(shape: tuple[int, ...], channels: int) -> None:
    segments, image = voronoi(shape), noise(shape, channels)
    expected = texture(image, segments)
    found = compute_features(["texture"], image, segments)
    assert found.shape == expected.shape
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(found - expected) <= 1e-4 * scale).all()


def test_texture_joins_its_blocks_without_a_seam() -> None:
    segments, image = voronoi((130, 1100), 40), noise((130, 1100), 1)
    expected = texture(image, segments)
    difference = np.abs(compute_features(["texture"], image, segments) - expected)
    assert (difference <= 1e-4 * np.abs(expected).max(axis=0)).all()


def test_a_bright_background_costs_no_digits() -> None:
    segments, image = voronoi((40, 50)), gaussian_filter(noise((40, 50), 1), (2, 2, 0))
    dark, bright = (compute_features(["texture"], image + step, segments) for step in (0, 256))
    bright[:, [0, 12, 24, 36, 42, 48]] -= 256  # the means of the smoothed intensity
    np.testing.assert_allclose(bright, dark, atol=2e-4)


def test_eigenvalues_agree_with_numpy() -> None:
    matrices = np.random.default_rng(0).normal(size=(7, 3, 3)).astype(np.float32)
    matrices = matrices + matrices.swapaxes(1, 2)
    matrices[5:] = np.eye(3, dtype=np.float32) * np.array([0, 2], np.float32)[:, None, None]
    upper = np.stack([matrices[:, row, column] for row, column in zip(*np.triu_indices(3), strict=True)])
    with Workers(1) as workers:
        found = find_eigenvalues(upper.reshape(6, 7, 1, 1), workers)
    np.testing.assert_allclose(found.reshape(3, 7).T, np.linalg.eigvalsh(matrices)[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (40.0, 1.0, 2.0)])
def test_rows_and_strips_of_a_volume_are_filtered_as_the_whole(spacing: tuple[float, ...]) -> None:
    """A part with the margin around it has the bits that it has in the whole, on any number of threads."""
    volume = noise((40, 140, 7), 1)[..., 0]
    margin = measure_margin(2.0 / spacing[0])
    with Workers(1) as alone, Workers(2) as two:
        whole = filter_volume(volume, 2.0, alone, spacing)
        np.testing.assert_array_equal(filter_volume(volume, 2.0, two, spacing), whole)
        for first, last in ((0, 3), (15, 23), (36, 40)):
            top, bottom = max(first - margin, 0), min(last + margin, 40)
            rows = (first - top, last - top)
            part = filter_volume(np.ascontiguousarray(volume[top:bottom]), 2.0, two, spacing, rows)
            np.testing.assert_array_equal(part, whole[first:last])


@pytest.mark.parametrize("grey", [False, True])
def test_the_levels_of_a_volume_are_those_of_the_whole_in_any_bands(grey: bool) -> None:
    image = noise((21, 9, 11), 3)
    with Workers(1) as workers:
        expected = np.moveaxis(image, -1, 0)
        expected = expected.mean(axis=0, keepdims=True) if grey else expected
        levels = halve_volume(image, grey, 8, workers)
        assert {2, 4} <= set(levels)
        for stride, level in levels.items():
            half = int(np.log2(stride))
            for channel, values in zip(level, expected, strict=True):
                whole = np.ascontiguousarray(values)
                for _ in range(half):
                    whole = halve(whole, workers)
                np.testing.assert_array_equal(channel, whole)


def test_texture_knows_a_ramp_and_a_blob() -> None:
    rows, columns = np.indices((65, 65)).astype(np.float32)
    centre = np.zeros((65, 65), np.int32)
    centre[32, 32] = 1
    smooth, _, gradient, _, one, _, other, _, along, _, across, _ = compute_features(
        ["texture"], columns[..., None] * 0.5, centre
    )[1, 12:24]  # at two pixels
    np.testing.assert_allclose([smooth, gradient, one, other, along, across], [16, 2 * 0.5, 0, 0, 1, 0], atol=1e-3)
    blob = np.exp(-((rows - 32) ** 2 + (columns - 32) ** 2) / (2 * 4**2))[..., None]
    found = compute_features(["texture"], blob, centre)[1]
    strengths = [-found[12 * scale + 6] for scale in range(len(FINE))]
    strengths += [-found[12 * len(FINE) + 6 * scale + 3] for scale in range(len(COARSE))]
    assert int(np.argmax(strengths)) == FINE.index(4.0)


@pytest.mark.parametrize("shape", [(16, 1, 16), (13, 1, 9), (5, 1, 1), (7, 6, 3)])
def test_halving_takes_means_of_cubes_and_repeats_an_odd_end(shape: tuple[int, int, int]) -> None:
    image = noise(shape, 1)[..., 0]
    with Workers(1) as workers:
        np.testing.assert_allclose(halve(image, workers), reference_halved(image.astype(float)), atol=1e-6)


@pytest.mark.parametrize(("shape", "rows"), [((200, 1100), (1, 130)), ((21, 9, 10), (1, 16))])
def test_features_are_the_same_to_the_bit_in_any_bands_and_from_any_source(
    shape: tuple[int, ...], rows: tuple[int, ...], tmp_path: Path
) -> None:
    segments, image = voronoi(shape, 60), noise(shape, 2)
    expected = compute_features(list(FEATURES), image, segments)
    mapped = np.memmap(tmp_path / "image", np.float32, "w+", shape=image.shape)
    mapped[:] = image
    for count in rows:
        np.testing.assert_array_equal(compute_features(list(FEATURES), image, segments, count), expected)
        np.testing.assert_array_equal(compute_features(list(FEATURES), mapped, OnDemand(segments), count), expected)


def test_features_are_the_same_to_the_bit_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    segments, image = voronoi((300, 600), 200), noise((300, 600), 2)
    found = []
    for threads in (1, 5):
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", threads)
        found.append(compute_features(list(FEATURES), image, segments))
    np.testing.assert_array_equal(found[0], found[1])


class OnDemand:
    """An array that can only be read forwards, by slices of its first axis."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values, self.shape = values, values.shape

    def __getitem__(self, key: slice) -> NDArray[Any]:
        assert isinstance(key, slice)
        return self._values[key]
