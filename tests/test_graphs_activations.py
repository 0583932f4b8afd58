"""Activations pooled into superpixels: the mean over their pixels, whatever is in memory, and tiles without seams."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.segments import noise, voronoi

from bench.graphs import activations
from bench.graphs.activations import pool_activations, sum_tile

STRIDES = (1, 4, 32)


class OnDemand:
    """An array that is read by slices, as a file is."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return np.array(self.values[key])


class Blocks:
    """Means of blocks of pixels, and their squares: a network that sees no further than a block."""

    channels = 2

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __call__(self, tile: NDArray[np.float32], /) -> NDArray[np.float32]:
        height, width, _ = tile.shape
        assert height % 32 == width % 32 == 0
        blocks = tile[..., 0].reshape(height // self.stride, self.stride, width // self.stride, self.stride)
        means = blocks.mean(axis=(1, 3))
        return np.stack([means, means**2])


def average(image: NDArray[np.float32], segments: NDArray[np.int32], stride: int) -> NDArray[np.float64]:
    """The same without tiles: every pixel takes the value of its block, and every segment their mean."""
    height, width = segments.shape
    padded = np.pad(image[..., 0], [(0, -height % 32), (0, -width % 32)], mode="reflect")
    blocks = padded.reshape(padded.shape[0] // stride, stride, padded.shape[1] // stride, stride).mean(axis=(1, 3))
    pixels = blocks.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]
    counts = np.bincount(segments.ravel())
    sums = [np.bincount(segments.ravel(), values.ravel()) for values in (pixels, pixels**2)]
    return np.stack(sums, axis=1) / counts[:, None]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "TILE", 96)
    monkeypatch.setattr(activations, "HALO", 32)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", [(70, 210), (96, 96), (40, 33)])
def test_features_are_means_over_the_pixels_of_a_segment(stride: int, shape: tuple[int, int]) -> None:
    image, segments = noise(shape), voronoi(shape)
    found = pool_activations(image, segments, int(segments.max()) + 1, Blocks(stride))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, average(image, segments, stride), rtol=1e-4, atol=1e-5)


def test_what_is_read_by_parts_gives_the_same_bits() -> None:
    image, segments = noise((150, 130)), voronoi((150, 130))
    nodes = int(segments.max()) + 1
    expected, done = pool_activations(image, segments, nodes, Blocks(4)), list[float]()
    found = pool_activations(OnDemand(image), OnDemand(segments), nodes, Blocks(4), done.append)
    np.testing.assert_array_equal(found, expected)
    assert done == sorted(done)
    assert done[-1] == 1


def test_slices_of_a_volume_are_encoded_one_by_one() -> None:
    image, segments = noise((3, 40, 50)), voronoi((3, 40, 50))
    found = pool_activations(image, segments, int(segments.max()) + 1, Blocks(4))
    counts = np.bincount(segments.ravel())
    total = np.zeros(found.shape)
    for plane, ids in zip(image, segments, strict=True):
        nodes, places = np.unique(ids, return_inverse=True)
        local: NDArray[np.int32] = places.reshape(ids.shape).astype(np.int32)
        total[nodes] += average(plane, local, 4) * np.bincount(local.ravel())[:, None]
    np.testing.assert_allclose(found, total / counts[:, None], rtol=1e-4, atol=1e-5)


def test_the_sums_of_a_tile_by_hand() -> None:
    activations_of = np.array([[[1, 2], [3, 4]]], np.float32)  # of 4 x 4 pixels at a stride of 2
    segments = np.array([[7, 7], [7, 3]])  # of the pixels 1..2 along both axes
    nodes, pixels, sums = sum_tile(activations_of, segments, (slice(1, 3), slice(1, 3)), 2)
    np.testing.assert_array_equal(nodes, [3, 7])
    np.testing.assert_array_equal(pixels, [1, 3])
    np.testing.assert_array_equal(sums, [[4], [1 + 2 + 3]])
