"""Windows cover an image once, stitching undoes cutting, and tiled prediction equals untiled prediction."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bench import tiles
from bench.tiles import blend, read, stitch, windows

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
    for window in windows(shape, tile_size, overlap, stride):
        visits[window.keep] += 1
    assert (visits == 1).all()


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_windows_are_aligned_and_keep_the_halo_away(
    shape: tuple[int, ...], tile_size: int, overlap: int, stride: int
) -> None:
    cut = windows(shape, tile_size, overlap, stride)
    assert len({window.shape for window in cut}) == 1
    for window in cut:
        for axis, (seen, kept, length) in enumerate(zip(window.read, window.keep, shape, strict=True)):
            step = stride if isinstance(stride, int) else stride[axis]
            halo = overlap if isinstance(overlap, int) else overlap[axis]
            assert seen.start % step == 0
            assert seen.stop % step == 0
            assert kept.start - seen.start >= (halo if kept.start else 0)
            assert seen.stop - kept.stop >= (halo if kept.stop < length else 0)


def test_a_pixel_is_kept_by_the_window_in_which_it_lies_furthest_inside() -> None:
    cut = windows((50,), 16, 3, 2)
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
    stitch(((w, read(image, w.read)) for w in windows(shape, tile_size, overlap, stride)), out)
    np.testing.assert_array_equal(out, image)


@pytest.mark.parametrize(("shape", "tile_size", "overlap", "stride"), SHAPES)
def test_blending_undoes_cutting(shape: tuple[int, ...], tile_size: int, overlap: int, stride: int) -> None:
    mask = np.random.default_rng(0).integers(0, 3, shape)
    scores = np.eye(3, dtype=np.float32)[mask]
    out = np.full(shape, -1)
    blend(((w, read(scores, w.read)) for w in windows(shape, tile_size, overlap, stride)), out)
    np.testing.assert_array_equal(out, mask)


def test_blending_equals_a_weighted_sum_over_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    cut = windows((37, 21), 16, 4, 4)
    scored = [(w, rng.random((*w.shape, 3), dtype=np.float32)) for w in cut]
    weights = tiles._gaussian((16, 16))
    sums = np.zeros((40, 24, 3))
    for window, tile in scored:
        sums[window.read] += tile * weights[..., None]
    out = np.full((37, 21), -1)
    blend(scored, out)
    np.testing.assert_array_equal(out, sums[:37, :21].argmax(axis=-1))


def test_reading_beyond_the_edges_mirrors_as_numpy_does() -> None:
    image = np.arange(5 * 4 * 2).reshape(5, 4, 2)
    padded = np.pad(image, ((3, 11), (0, 9), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(read(image, [slice(-3, 16), slice(0, 13)]), padded)
    np.testing.assert_array_equal(read(np.ones((1, 1)), [slice(-2, 3), slice(0, 4)]), np.ones((5, 4)))


def test_reading_touches_only_what_it_needs() -> None:
    asked: list[tuple[slice, ...]] = []

    class Recorder:
        shape = (1000, 1000)

        def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.float64]:
            asked.append(key)
            return np.zeros([part.stop - part.start for part in key])

    read(Recorder(), [slice(990, 1010), slice(0, 8)])
    assert asked == [(slice(989, 1000), slice(0, 8))]


@pytest.mark.parametrize(("size", "overlap", "stride"), [(48, 0, 32), (64, 17, 32), (8, 4, 1), (8, -1, 1)])
def test_tiles_that_cannot_advance_are_refused(size: int, overlap: int, stride: int) -> None:
    with pytest.raises(ValueError, match=r"overlap must lie in|cannot be cut"):
        windows((100, 100), size, overlap, stride)


def predicted(
    network: nn.Module, image: NDArray[np.float32], tile_size: int, overlap: int, stride: int
) -> NDArray[np.float32]:
    """Scores (H, W, K) of `network`, tile by tile."""
    cut = windows(image.shape[:2], tile_size, overlap, stride)
    out = np.full((*image.shape[:2], 2), np.nan, np.float32)
    stitch(((w, forward(network, read(image, w.read))) for w in cut), Channels(out))
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
    return forward(network, read(image, whole))[:height, :width]


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
