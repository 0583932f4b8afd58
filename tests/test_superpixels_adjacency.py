"""Region adjacency against a hand-made image and against plain numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.superpixels.adjacency import find_adjacency


def naive(segments: NDArray[np.int32], image: NDArray[np.float32]) -> dict[tuple[int, int], list[float]]:
    """Pair -> the absolute differences across its faces, all channels."""
    found: dict[tuple[int, int], list[float]] = {}
    for axis, length in enumerate(segments.shape):
        one, two = range(length - 1), range(1, length)
        differences = np.abs(np.diff(image.astype(np.float64), axis=axis)).reshape(-1, image.shape[-1])
        sides = segments.take(one, axis).ravel(), segments.take(two, axis).ravel()
        for before, after, difference in zip(*(side.tolist() for side in sides), differences, strict=True):
            if before != after:
                found.setdefault((min(before, after), max(before, after)), []).extend(difference)
    return found


def test_by_hand() -> None:
    segments = np.array([[0, 0, 1], [2, 2, 1]], dtype=np.int32)
    image = np.array([[0, 1, 5], [3, 3, 3]], dtype=np.float32)[..., None]
    pairs, length, contrast = find_adjacency(segments, image)
    np.testing.assert_array_equal(pairs, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(length, [1, 2, 1])
    np.testing.assert_allclose(contrast, [4, (3 + 2) / 2, 0])


@pytest.mark.parametrize("shape", [(17, 23, 1), (17, 23, 3), (5, 9, 11, 2), (1, 30, 1), (400, 3, 1), (3, 1030, 1)])
@pytest.mark.parametrize("regions", [2, 40])
def test_agrees_with_plain_numpy(shape: tuple[int, ...], regions: int) -> None:
    rng = np.random.default_rng(regions)
    segments = rng.integers(0, regions, shape[:-1]).astype(np.int32)
    image = rng.normal(size=shape).astype(np.float32)
    pairs, length, contrast = find_adjacency(segments, image)
    for band, whole in zip(find_adjacency(segments, image, rows=1), (pairs, length, contrast), strict=True):
        np.testing.assert_array_equal(band, whole)
    expected = dict(sorted(naive(segments, image).items()))
    assert [tuple(pair) for pair in pairs.tolist()] == list(expected)
    np.testing.assert_array_equal(length, [len(values) // shape[-1] for values in expected.values()])
    np.testing.assert_allclose(contrast, [np.mean(values) for values in expected.values()])


def test_a_single_segment_touches_nothing() -> None:
    pairs, length, contrast = find_adjacency(np.zeros((3, 4), np.int32), np.zeros((3, 4, 1), np.float32))
    assert pairs.shape == (0, 2)
    assert length.shape == contrast.shape == (0,)


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="over segments"):
        find_adjacency(np.zeros((3, 4), np.int32), np.zeros((3, 4), np.float32))
