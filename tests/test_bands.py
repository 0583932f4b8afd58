"""Rows are read once, written once, in whole chunks, and hold no more memory than said."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays import rows as bands
from bench.arrays import tiles
from bench.arrays.rows import RowReader, RowWriter


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


@pytest.mark.parametrize("rows", [1, 7, 16, 100])
@pytest.mark.parametrize(("shape", "tile", "overlap"), [((50, 33), 16, 4), ((5, 20), 8, 0), ((33, 9), 48, 8)])
def test_an_image_walked_in_bands_is_copied_whole(rows: int, shape: tuple[int, int], tile: int, overlap: int) -> None:
    image = numbered(*shape)
    source, out = File(image, (8, 8)), File(np.full(shape, -1, np.int32), (8, 8))
    reader = RowReader(source, rows)
    cut = tiles.windows(shape, tile, overlap, 4)
    with RowWriter(out, np.dtype(np.int32), rows) as writer:
        tiles.stitch(((window, tiles.read(reader, window.read)) for window in cut), writer)
    np.testing.assert_array_equal(out.content, image)
    for file in (source, out):
        stops = [0, *(stop for _, stop in file.touched)]
        assert [start for start, _ in file.touched] == stops[:-1]  # every row once, from top to bottom
        assert all(stop % rows == 0 for stop in stops[:-1])  # in whole blocks but for the last one


def test_going_back_reads_again() -> None:
    image = numbered(40, 3)
    reader = RowReader(File(image, (1, 1)), 4)
    for start in (0, 20, 8, 9, 36, 0):
        np.testing.assert_array_equal(reader[start : start + 4, 1:3], image[start : start + 4, 1:3])


def test_no_more_rows_are_held_than_a_window_and_a_block() -> None:
    reader, writer = RowReader(File(numbered(400, 3), (1, 1)), 8), RowWriter(np.empty((400, 3)), np.dtype(int), 8)
    for start in range(0, 380, 12):
        writer[start : start + 12, :] = reader[start : start + 20, 0:3][:12]
        assert len(reader.block) <= 20 + 8
        assert len(writer.block) <= 12 + 8


def test_the_blocks_follow_the_chunks_as_far_as_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    out = File(np.zeros((64, 100), np.uint8), (16, 100))
    assert bands.writer(out, out.dtype).rows == 16
    assert bands.writer(out.content, out.dtype).rows == 1
    assert isinstance(bands.reader(out), RowReader)
    assert bands.reader(out.content) is out.content
    monkeypatch.setattr(bands, "BAND_BYTES", 900)
    assert bands.writer(out, out.dtype).rows == 1
    assert RowReader(out).rows == 8
    monkeypatch.setattr(bands, "BAND_BYTES", 90)
    assert bands.reader(out) is out


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
    assert list(bands.ahead(iter(range(5)))) == list(range(5))

    def failing() -> Any:
        yield 1
        raise OSError("the disk is gone")

    made = bands.ahead(failing())
    assert next(made) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)
