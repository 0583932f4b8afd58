"""Pixel values to one row per segment: one walk over the image in which every collector takes what it needs.

The partial sums of a block (`bench.superpixels.runs`) are added in the order of the blocks, so that every number is
the same to the last bit whatever the bands and the threads.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.threads import Workers, list_singles, start_workers
from bench.graphs.colour import Colour
from bench.graphs.quantiles import Quantiles
from bench.graphs.sums import powers
from bench.graphs.texture import Texture
from bench.superpixels.adjacency import Faces, Touching
from bench.superpixels.labels import count_pixels
from bench.superpixels.runs import SegmentBlock, Slab, count_run_pixels, cut_blocks, walk_slabs


@dataclass(frozen=True)
class Wants:
    """What to pool beside moments of intensity and place, which are always there."""

    levels: tuple[float, ...] = ()  # quantiles in [0, 1], ascending
    texture: bool = False
    faces: bool = False
    colour: bool = False  # of images of several channels

    def __or__(self, other: "Wants") -> "Wants":
        levels = tuple(sorted({*self.levels, *other.levels}))
        texture, faces = self.texture or other.texture, self.faces or other.faces
        return Wants(levels, texture, faces, self.colour or other.colour)


NOTHING = Wants()


@dataclass(frozen=True)
class Pooled:
    """What is known of N segments of an image of `shape` (*spatial) and C channels.

    `counts` (N,) pixels; `places` (N, 9) sums of z, y, x, zz, zy, zx, yy, yx, xx over them; `mean` and `deviation`
    (N, C); `quantiles` (N, C, Q) at `levels`; `texture` (N, C, columns); `colour` (N, 2 + C, 2); `border`
    (N,) faces at the image's border. What was not wanted is None, and so is the colour of a grey image.
    """

    shape: tuple[int, ...]
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float32] | None
    texture: NDArray[np.float32] | None
    colour: NDArray[np.float32] | None
    touching: Touching | None
    border: NDArray[np.int64] | None

    @cached_property
    def centroids(self) -> NDArray[np.float32]:
        """Mean pixel index along each axis, (N, spatial_axes)."""
        return (self.places[:, self._axes] / self.counts[:, None]).astype(np.float32)

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Of the pixel positions, (N, axes, axes), with the pixel's own extent (1/12) added."""
        mean = self.places[:, self._axes] / self.counts[:, None]
        square = np.array([[3, 4, 5], [4, 6, 7], [5, 7, 8]])[np.ix_(self._axes, self._axes)]
        second = self.places[:, square] / self.counts[:, None, None]
        return np.asarray(second - mean[:, :, None] * mean[:, None, :] + np.eye(len(self._axes)) / 12)

    @property
    def _axes(self) -> list[int]:
        return [0, 2] if len(self.shape) == 2 else [0, 1, 2]


class Collector(Protocol):
    """Takes what it needs of each slab."""

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None: ...


def pool(image: Readable, segments: Readable, wants: Wants, rows: int | None = None) -> Pooled:
    """Pool `image` (*spatial, C) over `segments` (*spatial), ids 0..N-1 all used, in bands of about `rows` rows.

    Both may be memory maps or files; the pages of the former are handed back. Raises ValueError for shapes that differ.
    """
    axes, channels = len(segments.shape), image.shape[-1]
    with start_workers(tuple(segments.shape)) as workers:
        walk = walk_slabs(image, segments, rows, _halo(wants))
        first = next(walk)
        parts = cut_blocks(first, workers)
        whole = first.stop == first.shape[0]
        counts = _sizes(parts, first.shape[1]) if whole else count_pixels(segments, rows, workers)
        moments = Moments(len(counts), channels)
        faces = Faces(channels) if wants.faces else None
        quantiles = Quantiles(counts, channels, wants.levels) if wants.levels else None
        texture = Texture(len(counts), channels, axes) if wants.texture else None
        colour = Colour(len(counts), channels) if wants.colour and channels > 1 else None
        wanted = (moments, faces, quantiles, texture, colour)
        collectors: list[Collector] = [item for item in wanted if item is not None]
        for slab in chain([first], walk):
            parts = parts if slab is first else cut_blocks(slab, workers)
            for collector in collectors:
                collector.collect(slab, parts, workers)
    mean, deviation = moments.finished(counts)
    return Pooled(
        tuple(segments.shape),
        counts,
        moments.places,
        mean,
        deviation,
        wants.levels,
        quantiles.found if quantiles else None,
        texture.columns(counts) if texture else None,
        colour.columns(counts) if colour else None,
        faces.touching(len(counts)) if faces else None,
        faces.border(len(counts)) if faces else None,
    )


def _halo(wants: Wants) -> int:
    """How many more rows of pixels the collectors look at."""
    return max(Faces.halo * wants.faces, Texture.halo * wants.texture)


def _sizes(parts: list[SegmentBlock], height: int) -> NDArray[np.int64]:
    """Pixels of each segment of an image that is in memory with all its blocks."""
    counts = np.zeros(max(int(block.runs.ids.max()) for block in parts) + 1, np.int64)
    for block in parts:
        counts[block.runs.ids] += count_run_pixels(*block.runs, (block.stop - block.first) * height, block.right)
    return counts


class Moments:
    """Sums of place, and of intensity beyond that of the first pixel: a bright background costs no digits."""

    def __init__(self, num_nodes: int, channels: int) -> None:
        self.places = np.zeros((num_nodes, 9), np.int64)
        self.offset = np.zeros(channels, np.float32)
        self._sums = np.zeros((num_nodes, channels, 2))

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        if slab.start == 0:
            self.offset = slab.pixels[:, 0, 0, 0].copy()
        _, height, width = slab.shape
        pixels = slab.pixels.reshape(len(slab.pixels), -1, width)

        def add(index: int, _: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            block = parts[index]
            line = (block.first - slab.top) * height
            places, sums = _moments(
                *block.runs, pixels, self.offset, line, block.first, block.stop, block.right, height
            )
            return places, sums

        for block, (places, sums) in zip(parts, workers.run(add, list_singles(len(parts))), strict=True):
            self.places[block.runs.ids] += places
            self._sums[block.runs.ids] += sums

    def finished(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and population standard deviation, each (N, C)."""
        mean, square = np.moveaxis(self._sums / counts[:, None, None], 2, 0)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return (mean + self.offset).astype(np.float32), deviation.astype(np.float32)


@njit(cache=True, nogil=True)
def _moments(first, node, start, end, ids, pixels, offset, line, row, stop, right, height):  # type: ignore[no-untyped-def]
    """Sums over the block's own pixels; its first line is `line` of the pixels."""
    places = np.zeros((ids.size, 9), dtype=np.int64)
    sums = np.zeros((ids.size, offset.size, 2), dtype=np.float64)
    for here in range((stop - row) * height):
        z, y = row + here // height, here % height
        for run in range(first[here], first[here + 1]):
            low, high = np.int64(start[run]), np.int64(end[run])
            if low >= right:
                break
            count = high - low
            x = (low + high - 1) * count // 2
            xx = (high - 1) * high * (2 * high - 1) // 6 - (low - 1) * low * (2 * low - 1) // 6
            to = places[node[run]]
            to[0] += z * count
            to[1] += y * count
            to[2] += x
            to[3] += z * z * count
            to[4] += z * y * count
            to[5] += z * x
            to[6] += y * y * count
            to[7] += y * x
            to[8] += xx
            for channel in range(offset.size):
                total, square = powers(pixels[channel, line + here, low:high], np.float64(offset[channel]))
                sums[node[run], channel, 0] += total
                sums[node[run], channel, 1] += square
    return places, sums
