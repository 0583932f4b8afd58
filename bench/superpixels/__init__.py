"""Images to superpixels. A method is a function (image, config) -> segments; a new one costs a file and a line here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.scratch import Image
from bench.config import SuperpixelsConfig
from bench.superpixels.compact_watershed import compact_watershed
from bench.superpixels.felzenszwalb import felzenszwalb
from bench.superpixels.grid import grid
from bench.superpixels.skimage_slic import skimage_slic
from bench.superpixels.slic import slic

Segmenter = Callable[[NDArray[np.float32], SuperpixelsConfig], NDArray[np.int32]]
BandedSegmenter = Callable[[Image, SuperpixelsConfig, Path | None, int | None], NDArray[np.int32]]

BANDED: dict[str, BandedSegmenter] = {"grid": grid, "slic": slic}  # those that need not have all in memory
SUPERPIXELS: dict[str, Segmenter] = {
    "skimage_slic": skimage_slic,
    "felzenszwalb": felzenszwalb,
    "compact_watershed": compact_watershed,
    "grid": grid,
    "slic": slic,
}


def segment(
    image: Image, config: SuperpixelsConfig, scratch: Path | None = None, rows: int | None = None
) -> NDArray[np.int32]:
    """Segments of `image` (*spatial, C) of any scale: (*spatial) int32, ids 0..N-1 all used, each connected by faces.

    Given the folder `scratch`, what is as large as the image lives there in files, of which about `rows` rows of the
    first axis are in memory at a time, and the segments are a read-only memory map that stays there; `image` may be
    anything that gives its rows when asked. Neither `scratch` nor `rows` changes the segments. Raises ValueError for
    an unknown method, one that cannot work in `scratch`, another number of axes than 2 or 3 and the channels, an empty
    or a non-finite image.
    """
    if config.method not in SUPERPIXELS:
        raise ValueError(f"superpixels.method must be one of {', '.join(SUPERPIXELS)}, got {config.method!r}")
    if len(image.shape) not in (3, 4) or 0 in image.shape:
        raise ValueError(f"image must be (*spatial, C) with 2 or 3 spatial axes and no empty axis, got {image.shape}")
    if config.method in BANDED:
        whole = scratch is None and rows is None
        return BANDED[config.method](np.asarray(image, np.float32) if whole else image, config, scratch, rows)
    if scratch is not None:
        able = " and ".join(BANDED)
        raise ValueError(f"superpixels.method {config.method} needs the whole image in memory; {able} can use scratch")
    return SUPERPIXELS[config.method](np.asarray(image, dtype=np.float32), config)


def warm_up(ndim: int, channels: int, config: SuperpixelsConfig | None = None) -> None:
    """Compile what `segment` needs for images of `ndim` spatial axes and `channels`, on a tiny image."""
    ramp = np.arange(8**ndim * channels, dtype=np.float32).reshape((8,) * ndim + (channels,))
    segment(ramp, SuperpixelsConfig(superpixel_size=16.0) if config is None else config)
