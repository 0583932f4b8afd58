"""Decoding chunk by chunk changes nothing but what is decoded: every slice is that of the array, and no chunk twice."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays.chunked import Box, ChunkedArray, cut_boxes, enlarge_chunks, split_key

KEYS: list[Any] = [
    (),
    ...,
    3,
    -1,
    slice(2, 7),
    slice(None, None, -2),
    slice(9, 2),
    (slice(1, 9), slice(3, 4)),
    (..., slice(-3, None)),
    (2, ..., 1),
    (slice(8, 1, -3), np.int64(4)),
    np.array([1, 5]),
    (slice(None), None, 2),
    (slice(0, 99), slice(5, 99)),
]


class Watched:
    """An array of numbers in chunks of 4 x 3, and how often each value was decoded."""

    def __init__(self, shape: tuple[int, ...] = (11, 8), keeps: int | None = None) -> None:
        self.values = np.arange(np.prod(shape)).reshape(shape).astype(np.int32)
        self.decoded = np.zeros(shape, int)
        self.array = ChunkedArray(shape, self.values.dtype, (4, 3), self.read, keeps=keeps, unit_values=1)

    def read(self, box: Box) -> NDArray[Any]:
        self.decoded[box] += 1
        return self.values[box].copy()


@pytest.mark.parametrize("keeps", [None, 0, 10**6])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_slice_is_that_of_the_array(key: Any, keeps: int | None) -> None:
    watched = Watched(keeps=keeps)
    for _ in range(2):
        np.testing.assert_array_equal(watched.array[key], watched.values[key])


def test_an_index_beyond_the_end_is_refused() -> None:
    with pytest.raises(IndexError, match="index 11 is out of bounds"):
        Watched().array[11]


def test_a_walk_in_bands_decodes_every_chunk_once() -> None:
    watched = Watched()
    for start in range(11):
        watched.array[start : start + 1]
        watched.array[max(start - 2, 0) : start + 2]  # overlapping, as tiles are
    assert watched.decoded.min() == watched.decoded.max() == 1


def test_a_window_decodes_only_the_chunks_it_touches() -> None:
    watched = Watched()
    watched.array[5:6, 4:5]
    assert {tuple(place) for place in np.argwhere(watched.decoded)} == set(product(range(4, 8), range(3, 6)))


def test_what_is_kept_is_bounded() -> None:
    watched = Watched((400, 8))
    for start in range(0, 400, 4):
        watched.array[start : start + 3]
    assert 0 < watched.array.kept_bytes <= watched.array.keeps == 2 * 4 * 8 * 4


def test_all_of_it_is_decoded_at_once_and_not_kept() -> None:
    watched = Watched(keeps=10**6)
    watched.array[...]
    assert watched.array.kept_bytes == 0
    np.testing.assert_array_equal(np.asarray(watched.array), watched.values)


@pytest.mark.parametrize(("chunks", "shape"), [((4, 3), (11, 8)), ((1, 7, 7), (5, 40, 30)), ((64, 64), (64, 64))])
def test_units_are_whole_chunks_and_large_enough(chunks: tuple[int, ...], shape: tuple[int, ...]) -> None:
    unit = enlarge_chunks(chunks, shape, 200)
    assert all(large % small == 0 for large, small in zip(unit, chunks, strict=True))
    covers = all(large >= length for large, length in zip(unit, shape, strict=True))
    assert covers or np.prod(unit) >= 200


def test_a_box_holds_what_a_key_asks_for() -> None:
    assert split_key((slice(8, 1, -3), 2), (11, 8)) == ((slice(2, 9), slice(2, 3)), (slice(None, None, -3), 0))
    assert split_key(True, (11, 8)) is None


@pytest.mark.parametrize(
    ("shape", "sides"), [((11, 8), (4, 3)), ((5, 9, 4), (1, 4, 4)), ((3,), (7,)), ((0, 4), (2, 2))]
)
def test_boxes_tile_an_array_in_raster_order(shape: tuple[int, ...], sides: tuple[int, ...]) -> None:
    order = np.full(shape, -1)
    for number, box in enumerate(cut_boxes(shape, sides)):
        assert (order[box] == -1).all()
        assert all(part.stop - part.start <= side for part, side in zip(box, sides, strict=True))
        order[box] = number
    assert (order >= 0).all()
    for axis in range(len(shape)):
        assert (np.diff(order, axis=axis) >= 0).all()
