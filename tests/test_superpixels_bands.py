"""Superpixels band by band: the same segments whatever the bands, the threads and where the arrays live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays import threads
from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers
from bench.config import SuperpixelsConfig
from bench.superpixels.registry import SUPERPIXELS, segment

if TYPE_CHECKING:
    from scipy import ndimage

    from bench.superpixels.connectivity import connect
    from bench.superpixels.slic import slic


SHAPES = [(90, 41, 1), (90, 41, 3), (90, 1, 1), (1, 90, 1), (13, 21, 17, 1), (13, 21, 17, 3), (1, 40, 30, 2)]
SIZES = [12.0, 700.0]  # with 700 a segment spans many bands, and none is as large as a cell of its own


def rough(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Structure under noise: many small pieces, wherever a seam may lie."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(size=shape)
    blobs = ndimage.gaussian_filter(grain, [4.0] * (len(shape) - 1) + [0.0])
    return (5 * blobs + 0.3 * grain).astype(np.float32)


class Rows:
    """A source that gives its rows when asked, but never all of them at once."""

    def __init__(self, array: NDArray[np.float32], most: int) -> None:
        self.array, self.most = array, most
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        part: NDArray[Any] = self.array[key]
        assert part.shape[0] <= self.most
        return part

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> NDArray[Any]:
        raise AssertionError("asked for the whole image")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_bands_and_scratch_change_nothing(shape: tuple[int, ...], size: float, threads: int, tmp_path: Path) -> None:
    image = rough(shape)
    for sigma in (0.0, 1.0):
        config = SuperpixelsConfig(superpixel_size=size, compactness=0.05, sigma=sigma, iterations=5)
        whole = segment(image, config)
        for rows in (None, 1, 4, 13, 1000):
            for scratch in (None, tmp_path):
                np.testing.assert_array_equal(slic(image, config, scratch, rows, threads), whole)


@pytest.mark.parametrize("method", ["grid", "slic"])
def test_only_a_few_rows_are_read_at_a_time(method: str, tmp_path: Path) -> None:
    image = rough((64, 33, 1))
    config = SuperpixelsConfig(method=method, superpixel_size=40.0)
    np.testing.assert_array_equal(segment(Rows(image, 5 + 8), config, tmp_path, 5), segment(image, config))


@pytest.mark.parametrize("method", ["grid", "slic"])
@pytest.mark.parametrize("shape", [(40, 33, 1), (9, 15, 12, 2)])
def test_scratch_holds_the_segments_and_nothing_else(method: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    image = rough(shape)
    found = segment(image, SuperpixelsConfig(method=method, superpixel_size=20.0), tmp_path)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert (found.dtype, found.shape) == (np.int32, shape[:-1])
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [4 * found.size]
    segment(-image, SuperpixelsConfig(method=method, superpixel_size=20.0), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_leaves_nothing_in_scratch(tmp_path: Path) -> None:
    image = rough((40, 33, 1))
    image[20, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        segment(image, SuperpixelsConfig(), tmp_path, 7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 60, 23), (11, 14, 9)])
def test_pieces_at_the_seams_are_the_same(shape: tuple[int, int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, shape).astype(np.int32)
    image = rng.integers(0, 60000, (2, *shape)).astype(np.uint16)
    found = []
    for threads_used, scratch, band in [(1, None, labels.size), (2, None, 40), (1, tmp_path, 9), (3, tmp_path, 200)]:
        pieces = labels.copy()
        with Workers(threads_used) as workers, Storage(scratch) as storage:
            connect(pieces, image, 7, workers, storage, band)
        found.append(pieces)
    assert 3 < len(np.unique(found[0])) <= labels.size / 7, "pieces of one label are told apart, and small ones join"
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_lists_of_pieces_may_be_cut_anywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    labels, image = rng.integers(0, 3, (1, 50, 50)).astype(np.int32), rng.integers(0, 60000, (1, 1, 50, 50))
    found = []
    for scratch, at_once in ((None, 1 << 20), (tmp_path, 3)):
        pieces = labels.copy()
        with Workers(1) as workers, Storage(scratch) as storage:
            connect(pieces, image.astype(np.uint16), 30, workers, storage, 300, at_once)
        found.append(pieces)
    np.testing.assert_array_equal(found[1], found[0])
    assert 1 < len(np.unique(found[0])) < 50 * 50 / 30


@pytest.mark.parametrize("name", sorted(SUPERPIXELS))
def test_scratch_changes_no_segment_of_any_method(name: str, tmp_path: Path) -> None:
    image, config = rough((30, 40, 1)), SuperpixelsConfig(method=name, superpixel_size=25.0)
    np.testing.assert_array_equal(segment(image, config, tmp_path), segment(image, config))


def test_bands_have_at_least_a_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must be at least 1"):
        segment(rough((20, 20, 1)), SuperpixelsConfig(), tmp_path, 0)


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with Storage(tmp_path) as storage, pytest.raises(OSError, match=r"no room for .* of scratch in"):
        storage.empty((1 << 55,), np.uint8)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_files_survives_its_release(tmp_path: Path) -> None:
    with Storage(tmp_path) as storage:
        numbers = storage.zeros((5000,), np.int64)
        assert not numbers.any()
        numbers[:] = np.arange(5000)
        storage.release()
        np.testing.assert_array_equal(numbers, np.arange(5000))
        joined = storage.concatenate(np.full((length, 2), length, np.int32) for length in (3, 0, 2))
        np.testing.assert_array_equal(joined[:, 1], [3, 3, 3, 2, 2])
        assert storage.concatenate(np.empty((0, 2), np.int32) for _ in range(2)).shape == (0, 2)


def test_bands_from_any_start() -> None:
    assert threads.split_range(10, 2, 4) == [(4, 7), (7, 10)]
