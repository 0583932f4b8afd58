"""Our SLIC against laws: a plain reference, SciPy where it says the same, and any number of threads."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers, split_range
from bench.superpixels.grid import number_cells

if TYPE_CHECKING:
    from scipy import ndimage

    from bench.superpixels.clustering import cluster, is_coarse, lay_out_blocks
    from bench.superpixels.connectivity import connect, label_pieces
    from bench.superpixels.smoothing import LEVELS, smooth_and_quantise


SHAPES = [(1, 37, 53), (1, 1, 41), (1, 41, 1), (7, 12, 19)]


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=shape), [1.5] * 3 + [0] * (len(shape) - 3)).astype(np.float32)


def quarter(shape: tuple[int, int, int], cells: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Every other pixel of every other row of each block."""
    along = [
        np.concatenate([np.arange(stop - start) for start, stop in pairwise(axis.edges.tolist())])
        for axis in lay_out_blocks(shape, cells)[:3]
    ]
    z, y, x = np.meshgrid(*along, indexing="ij")
    return np.asarray(((z + y) % 2 == 0) & (x % 2 == 0))


def plain_clusters(
    image: NDArray[np.uint16], cells: tuple[int, int, int], weight: float, iterations: int
) -> NDArray[np.int64]:
    """SLIC over the neighbouring cells in plain numpy, one cluster at a time."""
    shape, count = image.shape[1:], int(np.prod(cells))
    own = number_cells(shape, cells)
    owners = np.stack(np.unravel_index(own, cells))
    places = np.concatenate([np.indices(shape), image]).astype(np.float64)  # (3 + C, D, H, W)
    counted = quarter(shape, cells) if is_coarse(own.size, count) else np.ones(shape, dtype=np.bool_)
    labels = own.astype(np.int64)
    for _ in range(iterations - 1):
        best = np.full(shape, np.inf)
        nearest = labels.copy()
        for k in range(count):
            centre = places[:, (labels == k) & counted].mean(axis=1)
            squares = (places - centre[:, None, None, None]) ** 2
            distance = squares[3:].sum(axis=0) + weight * squares[:3].sum(axis=0)
            cell = np.array(np.unravel_index(k, cells))[:, None, None, None]
            closer = (np.abs(owners - cell).max(axis=0) <= 1) & (distance < best)
            best[closer], nearest[closer] = distance[closer], k
        labels = nearest
    return labels


@pytest.mark.parametrize(
    ("shape", "cells"), [((1, 37, 53), (1, 4, 6)), ((1, 1, 41), (1, 1, 5)), ((7, 12, 19), (2, 3, 4))]
)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 4])
def test_clusters_agree_with_plain_numpy(
    shape: tuple[int, int, int], cells: tuple[int, int, int], channels: int, iterations: int
) -> None:
    with Workers(1) as workers, Storage(None) as storage:
        image = smooth_and_quantise(noise(*shape, channels), 0.0, workers, storage, shape[0])
        labels = cluster(image, cells, (0.3 * LEVELS / 8) ** 2, iterations, workers, storage, image[0].size)
    assert np.mean(labels == plain_clusters(image, cells, (0.3 * LEVELS / 8) ** 2, iterations)) > 0.999


@pytest.mark.parametrize("shape", [(1, 70, 53), (9, 12, 19)])
@pytest.mark.parametrize("channels", [1, 3])
def test_threads_change_nothing(shape: tuple[int, int, int], channels: int) -> None:
    results = []
    for threads in (1, 2, 5):
        with Workers(threads) as workers, Storage(None) as storage:
            image = smooth_and_quantise(noise(*shape, channels), 1.0, workers, storage, shape[0])
            labels = cluster(image, (1, 6, 5), 1e6, 6, workers, storage, image[0].size)
            connect(labels, image, 20, workers, storage, labels.size)
            results.append(labels)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
def test_smoothing_agrees_with_scipy(shape: tuple[int, int, int], sigma: float) -> None:
    volume = noise(*shape, 2)
    scaled = (volume - volume.min()) / (volume.max() - volume.min())
    expected = ndimage.gaussian_filter(scaled, [sigma if length > 1 else 0 for length in shape] + [0]) * LEVELS
    with Workers(2) as workers, Storage(None) as storage:
        found = smooth_and_quantise(volume, sigma, workers, storage, shape[0])
    assert np.abs(found - np.moveaxis(expected, -1, 0)).max() < 0.6


def pieces_of(labels: NDArray[np.int32], image: NDArray[np.uint16], smallest: int, threads: int) -> NDArray[np.int32]:
    pieces = labels.copy()
    with Workers(threads) as workers, Storage(None) as storage:
        assert connect(pieces, image, smallest, workers, storage, pieces.size) == pieces.max() + 1
    return pieces


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_pieces_agree_with_scipy(shape: tuple[int, int, int], threads: int) -> None:
    labels = np.random.default_rng(3).integers(0, 3, shape).astype(np.int32)
    merged = np.zeros(shape, dtype=np.int64)
    for value in range(3):
        found, _ = ndimage.label(labels == value)
        merged += np.where(found > 0, found + merged.max(), 0)
    values, first, inverse = np.unique(merged, return_index=True, return_inverse=True)
    rank = np.empty(values.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(values.size)
    found = pieces_of(labels, np.zeros((1, *shape), dtype=np.uint16), 1, threads)
    np.testing.assert_array_equal(found, rank[inverse.reshape(shape)])


def plain_merge(pieces: NDArray[np.int32], image: NDArray[np.uint16], smallest: int) -> NDArray[np.int32]:
    """Small pieces join their most alike neighbour, one after the other, looked up in the pixels each time."""
    pieces = pieces.astype(np.int64)
    for piece in range(pieces.max() + 1):
        mine = pieces == piece
        near = ndimage.binary_dilation(mine) & ~mine
        if 0 < np.count_nonzero(mine) < smallest and near.any():
            mean = image[:, mine].mean(axis=1)
            others = np.unique(pieces[near])
            gaps = [np.square(image[:, pieces == other].mean(axis=1) - mean).sum() for other in others]
            pieces[mine] = others[int(np.argmin(gaps))]
    return label_pieces(pieces)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_small_pieces_join_their_most_alike_neighbour(shape: tuple[int, int, int], channels: int) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, shape).astype(np.int32)
    image = rng.integers(0, 60000, (channels, *shape)).astype(np.uint16)
    found = pieces_of(labels, image, 6, 1)
    assert np.bincount(found.ravel()).min() >= 6
    np.testing.assert_array_equal(found, plain_merge(label_pieces(labels), image, 6))
    for threads in (2, 5):
        np.testing.assert_array_equal(pieces_of(labels, image, 6, threads), found)


def test_one_piece_remains_when_all_are_small() -> None:
    labels = np.arange(6, dtype=np.int32).reshape(1, 2, 3)
    np.testing.assert_array_equal(
        pieces_of(labels, np.zeros((1, 1, 2, 3), dtype=np.uint16), 100, 1), np.zeros((1, 2, 3))
    )


def test_bands_cover_everything_once() -> None:
    assert split_range(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert split_range(2, 5) == [(0, 1), (1, 2)]
    assert split_range(0, 4) == [(0, 0)]
