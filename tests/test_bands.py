"""Rows are read once, written once, in whole chunks, and hold no more memory than said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.arrays.rows import RowReader, RowWriter, cut_bands, read_by_rows, write_by_rows
from bench.learning.prefetch import prefetch

if TYPE_CHECKING:
    from bench.superpixels.runs import PlaneReader


class File:
    """An array that notes which rows are read or written."""

    def __init__(self, content: NDArray[Any], chunks: tuple[int, ...]) -> None:
        self.content, self.chunks = content, chunks
        self.shape, self.dtype = content.shape, content.dtype
        self.touched: list[tuple[int, int]] = []

    def _rows(self, key: Any) -> slice:
        rows: slice = key[0] if isinstance(key, tuple) else key
        self.touched.append((rows.start, rows.stop))
        return rows

    def __getitem__(self, key: Any) -> NDArray[Any]:
        self._rows(key)
        return np.asarray(self.content[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._rows(key)
        self.content[key] = value


def numbered(*shape: int) -> NDArray[np.int32]:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def test_planes_of_windows_are_those_of_the_image_and_rows_are_read_once() -> None:
    image = numbered(40, 5, 3)
    file = File(image, (1, 1, 1))
    reader = PlaneReader(file, (1, 5), 16)
    for top, bottom in [(0, 6), (0, 10), (4, 20), (12, 28), (20, 36), (30, 40), (38, 40)]:
        expected = np.moveaxis(image[top:bottom, None], -1, 0)
        np.testing.assert_array_equal(reader.read(top, bottom), expected)
    assert [row for start, stop in file.touched for row in range(start, stop)] == list(range(40))


@pytest.mark.parametrize("rows", [1, 7, 16, 100])
@pytest.mark.parametrize(("shape", "tile", "overlap"), [((50, 33), 16, 4), ((5, 20), 8, 0), ((33, 9), 48, 8)])
def test_an_image_walked_in_bands_is_copied_whole(rows: int, shape: tuple[int, int], tile: int, overlap: int) -> None:
    image = numbered(*shape)
    source, out = File(image, (8, 8)), File(np.full(shape, -1, np.int32), (8, 8))
    reader = RowReader(source, image.dtype, rows)
    cut = tiles.cut_windows(shape, tile, overlap, 4)
    with RowWriter(out, np.dtype(np.int32), rows) as writer:
        tiles.stitch(((window, tiles.read_padded(reader, window.read)) for window in cut), writer)
    np.testing.assert_array_equal(out.content, image)
    for file in (source, out):
        stops = [0, *(stop for _, stop in file.touched)]
        assert [start for start, _ in file.touched] == stops[:-1]  # every row once, from top to bottom
        assert all(stop % rows == 0 for stop in stops[:-1])  # in whole blocks but for the last one


def test_going_back_reads_again() -> None:
    image = numbered(40, 3)
    reader = RowReader(File(image, (1, 1)), image.dtype, 4)
    for start in (0, 20, 8, 9, 36, 0):
        np.testing.assert_array_equal(reader[start : start + 4, 1:3], image[start : start + 4, 1:3])


def test_no_more_rows_are_held_than_a_window_and_a_block() -> None:
    reader = RowReader(File(numbered(400, 3), (1, 1)), np.int32, 8)
    writer = RowWriter(np.empty((400, 3)), np.dtype(int), 8)
    for start in range(0, 380, 12):
        writer[start : start + 12, :] = reader[start : start + 20, 0:3][:12]
        assert len(reader.block) <= 20 + 8
        assert len(writer.block) <= 12 + 8


def test_the_blocks_follow_the_chunks_as_far_as_they_fit() -> None:
    out = File(np.zeros((64, 100), np.uint8), (16, 100))
    assert write_by_rows(out, out.dtype).depth == 16
    assert write_by_rows(out.content, out.dtype).depth == 1
    assert write_by_rows(out, out.dtype, most_bytes=900).depth == 1
    assert read_by_rows(out.content) is out.content
    for most_bytes, most_rows, depth in ((1 << 20, 1024, 1024), (1 << 20, 64, 64), (900, 1024, 8), (100, 1024, 1)):
        reader = read_by_rows(out, most_bytes, most_rows)
        assert isinstance(reader, RowReader)
        assert reader.depth == depth
    assert read_by_rows(out, most_bytes=90) is out


@pytest.mark.parametrize(("shape", "values", "rows", "multiple"), [
    ((13, 4, 2), 20, None, 1), ((13, 4, 2), 3, None, 1), ((50, 3), 40, None, 4), ((50, 3), 2, None, 4),
    ((50, 3), 0, 17, 4), ((50, 3), 0, 2, 4), ((5,), 2, None, 1), ((0, 7), 10, None, 1), ((3, 0), 10, None, 1),
])  # fmt: skip
def test_bands_cover_the_rows_once_and_hold_no_more_than_wanted(
    shape: tuple[int, ...], values: int, rows: int | None, multiple: int
) -> None:
    bands = cut_bands(shape, values, rows, multiple)
    assert [row for start, stop in bands for row in range(start, stop)] == list(range(shape[0]))
    for start, stop in bands[:-1]:
        assert (stop - start) % multiple == 0
    row = int(np.prod(shape[1:]))
    for start, stop in bands:
        height = stop - start
        assert height <= multiple or height <= (rows or 0) or height * row <= values
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        cut_bands(shape, rows=0)


def test_rows_come_in_the_type_wanted_without_a_copy_where_they_have_it(tmp_path: Path) -> None:
    image = numbered(20, 3)
    assert np.shares_memory(RowReader(image, np.int32).read_rows(3, 9), image)
    mapped = np.memmap(tmp_path / "image", np.int32, "w+", shape=image.shape)
    mapped[:] = image
    locked = image.copy()
    locked.flags.writeable = False
    for source in (image[:, ::-1][:, ::-1], mapped, locked, File(image, (1, 1))):
        reader = RowReader(source, np.float32)
        for start, stop in ((0, 7), (5, 12), (11, 20), (15, 20)):
            rows = reader.read_rows(start, stop)
            assert rows.dtype == np.float32
            assert rows.flags.c_contiguous
            assert rows.flags.writeable
            np.testing.assert_array_equal(rows, image[start:stop])


def test_nothing_is_written_at_the_end_of_a_walk_that_failed() -> None:
    out = File(np.zeros((8, 2), int), (4, 2))
    writer = RowWriter(out, out.dtype, 4)
    writer[0:2, :] = 1
    with pytest.raises(KeyError, match="gone"), writer:
        raise KeyError("gone")
    assert out.touched == []
    writer.close()
    assert out.touched == [(0, 2)]


def test_what_is_made_ahead_is_the_same_and_so_is_an_error() -> None:
    assert list(prefetch(iter(range(5)))) == list(range(5))

    def failing() -> Any:
        yield 1
        raise OSError("the disk is gone")

    made = prefetch(failing())
    assert next(made) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)
