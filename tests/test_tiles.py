"""Windows cover an image once, stitching undoes cutting, and tiled prediction equals untiled prediction."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.arrays.tiles import blend, cut_windows, read_padded, stitch

if TYPE_CHECKING:
    import torch
    from torch import nn


SHAPES = [
    ((7,), 4, 1, 1),
    ((1, 1), 4, 1, 2),
    ((10, 13), 4, 0, 1),
    ((10, 13), 6, 2, 1),
    ((33, 70), 32, 8, 8),
    ((5, 100), 16, 4, 4),
    ((64, 64), 64, 16, 32),
    ((65, 97), 64, 16, 32),
    ((3, 20, 19), (1, 8, 8), (0, 2, 2), (1, 4, 4)),
    ((9, 9, 9), 6, 1, 2),
]


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_every_pixel_is_kept_by_one_window(shape: tuple[int, ...], tile_size: int, overlap: int, stride: int) -> None:
    visits = np.zeros(shape, int)
    for window in cut_windows(shape, tile_size, overlap, stride):
        visits[window.keep] += 1
    assert (visits == 1).all()


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_windows_are_aligned_and_keep_the_halo_away(
    shape: tuple[int, ...], tile_size: int, overlap: int, stride: int
) -> None:
    cut = cut_windows(shape, tile_size, overlap, stride)
    assert len({window.shape for window in cut}) == 1
    for window in cut:
        for axis, (seen, kept, length) in enumerate(zip(window.read, window.keep, shape, strict=True)):
            step = stride if isinstance(stride, int) else stride[axis]
            halo = overlap if isinstance(overlap, int) else overlap[axis]
            assert seen.start % step == 0
            assert seen.stop % step == 0
            assert kept.start - seen.start >= (halo if kept.start else 0)
            assert seen.stop - kept.stop >= (halo if kept.stop < length else 0)


@pytest.mark.parametrize(("tile_size", "overlap", "stride"), [(16, 3, 2), (64, 16, 32), (8, 0, 1), (48, 16, 4)])
def test_an_axis_has_as_few_windows_as_tiles_allow_and_they_are_as_short_as_their_number(
    tile_size: int, overlap: int, stride: int
) -> None:
    def count(length: int, size: int) -> int:
        return len(cut_windows((length,), size, overlap, stride))

    for length in range(1, 300):
        cut = cut_windows((length,), tile_size, overlap, stride)
        [size] = {window.shape[0] for window in cut}
        assert size <= tile_size
        advance = (tile_size - 2 * overlap) // stride * stride
        extended = -(-length // stride) * stride
        assert len(cut) == max(-(-(extended - tile_size) // advance), 0) + 1
        shorter = size - stride
        if shorter >= stride and (shorter - 2 * overlap) // stride >= 1:
            assert count(length, shorter) > len(cut)


def test_a_pixel_is_kept_by_the_window_in_which_it_lies_furthest_inside() -> None:
    cut = cut_windows((50,), 16, 3, 2)
    last = len(cut) - 1
    for pixel in range(50):
        depths = [
            min(
                pixel - window.read[0].start if index else 99,  # nothing lies beyond the image: its edge is no edge
                window.read[0].stop - 1 - pixel if index < last else 99,
            )
            for index, window in enumerate(cut)
        ]
        (keeper,) = [index for index, window in enumerate(cut) if window.keep[0].start <= pixel < window.keep[0].stop]
        assert depths[keeper] == max(depths)


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_stitching_undoes_cutting(shape: tuple[int, ...], tile_size: int, overlap: int, stride: int) -> None:
    image = np.random.default_rng(0).integers(0, 99, shape)
    out = np.full(shape, -1)
    stitch(((w, read_padded(image, w.read)) for w in cut_windows(shape, tile_size, overlap, stride)), out)
    np.testing.assert_array_equal(out, image)


def windowed(scores: NDArray[np.float32], cut: list[tiles.Window]) -> Iterator[NDArray[np.float32]]:
    """The tiles (K, *tile) of `scores` (*spatial, K)."""
    return (np.moveaxis(read_padded(scores, window.read), -1, 0).copy() for window in cut)


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_blending_undoes_cutting(shape: tuple[int, ...], tile_size: int, overlap: int, stride: int) -> None:
    mask = np.random.default_rng(0).integers(0, 3, shape)
    cut = cut_windows(shape, tile_size, overlap, stride)
    out = np.full(shape, -1)
    blend(cut, windowed(np.eye(3, dtype=np.float32)[mask], cut), out)
    np.testing.assert_array_equal(out, mask)


def gaussian(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Weights (*shape) in closed form."""
    axes = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / max(n / 8, 1) for n in shape), indexing="ij")
    weights: NDArray[np.float64] = np.exp(-0.5 * np.sum(np.square(axes), axis=0))
    return weights


BLENDED = [*SHAPES, ((50, 70), 16, 6, 2), ((37, 21), 16, 4, 4), ((2, 9, 40, 33), (1, 4, 16, 16), (0, 1, 6, 4), 1)]


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), BLENDED)
def test_blending_equals_accumulating_and_dividing_over_the_whole_image(
    shape: tuple[int, ...], tile_size: int, overlap: int, stride: int
) -> None:
    rng, cut = np.random.default_rng(0), cut_windows(shape, tile_size, overlap, stride)
    scored = [rng.random((5, *w.shape), dtype=np.float32) for w in cut]
    weights, extended = gaussian(cut[0].shape), cut[-1].read
    sums = np.zeros((5, *(axis.stop for axis in extended)))
    total = np.zeros(sums.shape[1:])
    for window, tile in zip(cut, scored, strict=True):
        sums[(slice(None), *window.read)] += tile * weights
        total[window.read] += weights
    means = (sums / total)[(slice(None), *(slice(0, length) for length in shape))]
    out = np.full(shape, -1)
    blend(cut, (tile.copy() for tile in scored), out)
    got = np.take_along_axis(means, out[None], axis=0)[0]
    np.testing.assert_allclose(got, means.max(axis=0), rtol=1e-5)
    assert np.mean(out == means.argmax(axis=0)) > 0.999


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), BLENDED)
def test_blended_sums_are_those_of_the_whole_image_to_the_bit(
    shape: tuple[int, ...], tile_size: int, overlap: int, stride: int
) -> None:
    """The sums that the classes are taken from, added up in the order of the windows."""
    rng, cut = np.random.default_rng(0), cut_windows(shape, tile_size, overlap, stride)
    scored = [rng.random((1, *w.shape), dtype=np.float32) for w in cut]
    expected = np.zeros([axis.stop for axis in cut[-1].read], np.float32)
    for window, tile in zip(cut, scored, strict=True):
        weighted = tile[0]
        for axis, length in enumerate(window.shape):
            weighted = weighted * tiles.sample_weights(length).reshape(-1, *(1 for _ in shape[axis + 1 :]))
        expected[window.read] += weighted
    out = np.full(shape, np.nan, np.float32)
    blend(cut, (tile.copy() for tile in scored), out, choose=lambda sums: sums[0])
    np.testing.assert_array_equal(out, expected[tuple(slice(0, length) for length in shape)])


def test_the_first_of_equal_scores_wins_as_with_numpy() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (300, 7, 9)).astype(np.float32)
    for few in (scores[:1], scores[:5], scores):
        np.testing.assert_array_equal(tiles.choose_largest(few.copy()), few.argmax(axis=0))


def test_blending_holds_what_tiles_share_and_not_the_image() -> None:
    """Of 4 classes on 256 x 2048 pixels, of which two rows of tiles share 16 rows: 2 MiB of the whole image's 8 MiB."""
    shape = (256, 2048)
    cut = cut_windows(shape, 64, 8, 8)
    out = np.zeros(shape, np.uint8)
    tracemalloc.start()
    blend(cut, (np.ones((4, *window.shape), np.float32) for window in cut), out)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 << 20


def test_blending_lets_go_of_a_tile_before_it_asks_for_the_next_one() -> None:
    cut = cut_windows((64, 64), 32, 4, 4)
    made: list[weakref.ref[NDArray[np.float32]]] = []

    def tile(window: tiles.Window) -> NDArray[np.float32]:
        assert not [one for one in made if one() is not None]
        scores = np.ones((2, *window.shape), np.float32)
        made.append(weakref.ref(scores))
        return scores

    blend(cut, (tile(window) for window in cut), np.zeros((64, 64), np.uint8))
    assert len(made) == len(cut) > 2


def test_reading_beyond_the_edges_mirrors_as_numpy_does() -> None:
    image = np.arange(5 * 4 * 2).reshape(5, 4, 2)
    padded = np.pad(image, ((3, 11), (0, 9), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(read_padded(image, [slice(-3, 16), slice(0, 13)]), padded)
    np.testing.assert_array_equal(read_padded(np.ones((1, 1)), [slice(-2, 3), slice(0, 4)]), np.ones((5, 4)))


def test_reading_touches_only_what_it_needs() -> None:
    asked: list[tuple[slice, ...]] = []

    class Recorder:
        shape = (1000, 1000)

        def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.float64]:
            asked.append(key)
            return np.zeros([part.stop - part.start for part in key])

    read_padded(Recorder(), [slice(990, 1010), slice(0, 8)])
    assert asked == [(slice(989, 1000), slice(0, 8))]


@pytest.mark.parametrize(("size", "overlap", "stride"), [(48, 0, 32), (64, 17, 32), (8, 4, 1), (8, -1, 1)])
def test_tiles_that_cannot_advance_are_refused(size: int, overlap: int, stride: int) -> None:
    with pytest.raises(ValueError, match=r"overlap must lie in|cannot be cut"):
        cut_windows((100, 100), size, overlap, stride)


def predicted(
    network: nn.Module, image: NDArray[np.float32], tile_size: int, overlap: int, stride: int
) -> NDArray[np.float32]:
    """Scores (H, W, K) of `network`, tile by tile."""
    cut = cut_windows(image.shape[:2], tile_size, overlap, stride)
    out = np.full((*image.shape[:2], 2), np.nan, np.float32)
    stitch(((w, forward(network, read_padded(image, w.read))) for w in cut), Channels(out))
    return out


class Channels:
    """An output whose trailing axis rides along."""

    def __init__(self, out: NDArray[np.float32]) -> None:
        self.out, self.shape = out, out.shape[:2]

    def __setitem__(self, key: tuple[slice, ...], value: NDArray[np.float32]) -> None:
        self.out[key] = value


def forward(network: nn.Module, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        scores: torch.Tensor = network(torch.from_numpy(tile).permute(2, 0, 1)[None])
    return scores[0].permute(1, 2, 0).numpy()


def untiled(network: nn.Module, image: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    whole = [slice(0, -(-length // stride) * stride) for length in (height, width)]
    return forward(network, read_padded(image, whole))[:height, :width]


def plain() -> nn.Module:
    """Receptive field of 3 + 3 + 3: a halo of 3."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
    )


def strided() -> nn.Module:
    """Total stride 4; the halo is at most 1 + 2 + 4 + 2 + 1 = 10 and the positions within a cell: under 16."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(4, 2, 3, padding=1),
    )


@pytest.mark.parametrize(("build", "overlap", "stride", "tile_size"), [(plain, 3, 1, 17), (strided, 16, 4, 48)])
@pytest.mark.parametrize("shape", [(101, 67), (50, 9), (16, 130)])
def test_tiled_equals_untiled(
    build: Callable[[], nn.Module], overlap: int, stride: int, tile_size: int, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = build().eval()
    image = np.random.default_rng(0).standard_normal((*shape, 1), dtype=np.float32)
    np.testing.assert_allclose(
        predicted(network, image, tile_size, overlap, stride), untiled(network, image, stride), rtol=0, atol=1e-5
    )


def test_a_halo_that_is_too_small_shows() -> None:
    torch.manual_seed(0)
    network = plain().eval()
    image = np.random.default_rng(0).standard_normal((64, 64, 1), dtype=np.float32)
    assert np.abs(predicted(network, image, 16, 2, 1) - untiled(network, image, 1)).max() > 1e-3


def test_misaligned_windows_show() -> None:
    torch.manual_seed(0)
    network = strided().eval()
    image = np.random.default_rng(0).standard_normal((101, 67, 1), dtype=np.float32)
    tiled = predicted(network, image, 52, 16, 1)
    assert np.abs(tiled - untiled(network, image, 4)).max() > 1e-3
