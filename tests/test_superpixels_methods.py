"""The contract of every superpixel method, over the registry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from support.source import ROOT

from bench.config import InputError, SuperpixelsConfig
from bench.superpixels.grid import segment_grid
from bench.superpixels.registry import SUPERPIXELS, Method, segment
from bench.superpixels.scaling import choose_n_segments, fit_grid

if TYPE_CHECKING:
    from scipy import ndimage

    from bench.superpixels.labels import paint_oracle


METHODS = sorted(SUPERPIXELS)


def blobs(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Smooth random structure with some noise, on an arbitrary scale."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, [2.0] * (len(shape) - 1) + [0.0])
    return (3000 * smooth + 20 * noise - 50).astype(np.float32)


def assert_partition(segments: NDArray[np.int32], shape: tuple[int, ...]) -> None:
    assert segments.dtype == np.int32
    assert segments.shape == shape
    ids, first = np.unique(segments, return_index=True)
    assert ids[0] == 0
    assert ids[-1] == len(ids) - 1
    assert first.size == ids.size
    for index, box in enumerate(ndimage.find_objects(segments + 1)):
        assert ndimage.label(segments[box] == index)[1] == 1


WRONG_IDS: dict[str, Callable[[NDArray[np.int32]], NDArray[np.integer]]] = {
    "not contiguous": lambda ids: (2 * ids).astype(np.int32),
    "from 1 on": lambda ids: ids + 1,
    "negative": lambda ids: ids - 1,
    "another type": lambda ids: ids.astype(np.int64),
    "another shape": lambda ids: ids[1:],
}


@pytest.mark.parametrize("mistake", [None, *WRONG_IDS])
def test_what_a_method_returns_is_looked_at(mistake: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def segment_own(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.integer]:
        ids = segment_grid(image, config)
        return ids if mistake is None else WRONG_IDS[mistake](ids)

    monkeypatch.setattr(Method, "load", lambda _: segment_own)
    monkeypatch.setitem(SUPERPIXELS, "own", Method("own:own"))
    config = SuperpixelsConfig("own", superpixel_size=16)
    if mistake is None:
        assert_partition(segment(blobs(20, 20, 1), config), (20, 20))
        return
    with pytest.raises(InputError, match=r"superpixels\.method=own must return int32 ids 0\.\.N-1"):
        segment(blobs(20, 20, 1), config)


SHAPES: dict[str, tuple[int, ...]] = {
    "plane": (40, 52, 1),
    "two channels": (33, 40, 2),
    "three channels are no colour": (33, 40, 3),
    "volume": (9, 20, 24, 1),
    "volume of two channels": (6, 16, 18, 2),
    "column": (61, 1, 1),
    "row": (1, 61, 1),
    "slab": (1, 20, 24, 1),
    "one pixel": (1, 1, 1),
    "four pixels": (2, 2, 1),
    "constant": (30, 31, 1),
    "constant volume": (5, 12, 11, 2),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [9.0, 60.0])
def test_segments_partition_the_image_into_connected_pieces(method: str, name: str, size: float) -> None:
    config = SuperpixelsConfig(method=method, superpixel_size=size)
    image = np.full(SHAPES[name], 7, np.float32) if "constant" in name else blobs(*SHAPES[name])
    assert_partition(segment(image, config), SHAPES[name][:-1])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_image_gives_the_same_segments(method: str) -> None:
    config = SuperpixelsConfig(method=method, superpixel_size=30.0)
    image = blobs(50, 60, 1)
    kept = image.copy()
    np.testing.assert_array_equal(segment(image, config), segment(image.copy(), config))
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("method", METHODS)
def test_shift_and_gain_of_the_intensities_change_nothing(method: str) -> None:
    image = np.round(blobs(40, 40, 1)).astype(np.float32)
    config = SuperpixelsConfig(method=method, superpixel_size=30.0)
    np.testing.assert_array_equal(segment(image, config), segment(4 * image + 1024, config))


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_segments_is_near_the_number_asked_for(method: str) -> None:
    image = blobs(96, 96, 1)
    count = segment(image, SuperpixelsConfig(method=method, superpixel_size=None, n_segments=144)).max() + 1
    assert 0.6 * 144 <= count <= 1.4 * 144


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"grid"}))
def test_a_sharp_edge_is_a_boundary(method: str) -> None:
    image = np.zeros((48, 48, 1), dtype=np.float32)
    image[:, 22:] = 1
    segments = segment(image, SuperpixelsConfig(method=method, superpixel_size=36.0, sigma=0.0, compactness=0.1))
    mask = (image[..., 0] > 0).astype(np.uint8)
    assert np.mean(paint_oracle(mask, segments, 2) != mask) <= (0.03 if method == "compact_watershed" else 0)


WARM_UP = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from bench.superpixels.registry import segment, warm_up_segmentation
from bench.config import SuperpixelsConfig

def list_compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("bench.")]
    kernels = {one.py_func: one for module in modules for one in vars(module).values() if isinstance(one, Dispatcher)}
    return {(kernel.__name__, types) for kernel in kernels.values() for types in kernel.signatures}

shape = eval(sys.argv[1])
warm_up_segmentation(len(shape) - 1, shape[-1])
before = list_compiled()
segment(np.random.default_rng(0).random(shape, np.float32), SuperpixelsConfig())
print(len(before), *sorted({name for name, _ in list_compiled() - before}))
"""


@pytest.mark.parametrize("shape", [(40, 40, 1), (20, 20, 20, 2)])
def test_after_the_warm_up_an_image_is_segmented_by_kernels_that_are_compiled(shape: tuple[int, ...]) -> None:
    """In a process of its own: in this one other tests have compiled them."""
    command = [sys.executable, "-c", WARM_UP, str(shape)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    count, *compiled = done.stdout.split()
    assert int(count) > 10
    assert compiled == []


def test_unusable_images_and_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of .*slic"):
        segment(blobs(4, 4, 1), SuperpixelsConfig(method="slick"))
    with pytest.raises(ValueError, match="spatial axes"):
        segment(np.zeros((4, 4), dtype=np.float32), SuperpixelsConfig())
    with pytest.raises(ValueError, match="finite"):
        segment(np.full((4, 4, 1), np.nan, dtype=np.float32), SuperpixelsConfig(method="felzenszwalb"))


def test_grid_shape_meets_the_number_asked_for() -> None:
    assert fit_grid((100, 100), 100) == (10, 10)
    assert fit_grid((1, 100), 10) == (1, 10)
    assert fit_grid((3, 20, 40), 8) == (1, 2, 4)
    assert fit_grid((5, 5), 25) == (5, 5)


def test_the_number_asked_for_follows_the_size() -> None:
    assert choose_n_segments((100, 50), SuperpixelsConfig(superpixel_size=100.0)) == 50
    assert choose_n_segments((10, 10), SuperpixelsConfig(superpixel_size=None, n_segments=7)) == 7
    assert choose_n_segments((2, 2), SuperpixelsConfig(superpixel_size=100.0)) == 1
