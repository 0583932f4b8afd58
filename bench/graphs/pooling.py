"""Pixel values to one row per segment: one walk over the image in which every collector reads the pixels it needs.

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
from bench.graphs.sums import sum_powers
from bench.graphs.texture import Texture
from bench.superpixels.adjacency import Faces, TouchingPairs
from bench.superpixels.labels import count_pixels
from bench.superpixels.runs import SegmentBlock, Slab, count_run_pixels, cut_blocks, walk_slabs


@dataclass(frozen=True)
class Requirements:
    """What must be pooled beside the moments of intensity and place, which always are."""

    levels: tuple[float, ...] = ()  # quantiles in [0, 1], ascending
    texture: bool = False
    faces: bool = False
    colour: bool = False  # of images of several channels

    def __or__(self, other: "Requirements") -> "Requirements":
        levels = tuple(sorted({*self.levels, *other.levels}))
        texture, faces = self.texture or other.texture, self.faces or other.faces
        return Requirements(levels, texture, faces, self.colour or other.colour)


MOMENTS_ALONE = Requirements()


@dataclass(frozen=True)
class SegmentStatistics:
    """Statistics of the N segments of an image. What was not required is None, and so is the colour of a grey image.

    Attributes:
        shape: Spatial shape of the image.
        counts: Pixels (N,).
        places: Sums (N, 9) of z, y, x, zz, zy, zx, yy, yx, xx over the pixels; y is 0 in an image of two axes.
        mean: Mean intensity (N, C).
        deviation: Population standard deviation of the intensity (N, C).
        levels: Levels of the quantiles in [0, 1], ascending.
        quantiles: Quantiles of the intensity (N, C, Q).
        texture: Means and deviations of filter responses (N, C, columns).
        colour: Mean and deviation of lightness, chroma and differences (N, 2 + C, 2).
        touching: Pairs of segments that share pixel faces.
        border: Faces (N,) at the border of the image.
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
    touching: TouchingPairs | None
    border: NDArray[np.int64] | None

    @cached_property
    def centroids(self) -> NDArray[np.float32]:
        """Mean pixel index along each axis, (N, spatial_axes)."""
        return (self.places[:, self._axes] / self.counts[:, None]).astype(np.float32)

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (N, axes, axes) of the pixel positions, with the extent of a pixel (1/12) added."""
        mean = self.places[:, self._axes] / self.counts[:, None]
        square = np.array([[3, 4, 5], [4, 6, 7], [5, 7, 8]])[np.ix_(self._axes, self._axes)]
        second = self.places[:, square] / self.counts[:, None, None]
        return np.asarray(second - mean[:, :, None] * mean[:, None, :] + np.eye(len(self._axes)) / 12)

    @property
    def _axes(self) -> list[int]:
        return [0, 2] if len(self.shape) == 2 else [0, 1, 2]


class Collector(Protocol):
    """Adds up something over the pixels of each segment, slab by slab."""

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add the pixels of a slab.

        Args:
            slab: Rows of the image and its segments; slabs come from the first row to the last.
            parts: The blocks of the slab.
            workers: Threads that share the blocks.
        """


def pool_segments(
    image: Readable, segments: Readable, requirements: Requirements, rows: int | None = None
) -> SegmentStatistics:
    """Pool the pixels of each segment, in one walk over the image. Pages of memory maps are handed back.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        segments: (*spatial) int32, ids 0..N-1 all used.
        requirements: What is pooled beside moments.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.

    Returns:
        The statistics, the same to the last bit whatever `rows` and the threads.

    Raises:
        ValueError: Image and segments have different shapes, or `rows` is less than 1.
    """
    axes, channels = len(segments.shape), image.shape[-1]
    with start_workers(tuple(segments.shape)) as workers:
        walk = walk_slabs(image, segments, rows, _count_halo(requirements))
        first = next(walk)
        parts = cut_blocks(first, workers)
        whole = first.stop == first.shape[0]
        counts = _count_pixels(parts, first.shape[1]) if whole else count_pixels(segments, rows, workers)
        moments = PixelMoments(len(counts), channels)
        faces = Faces(channels) if requirements.faces else None
        quantiles = Quantiles(counts, channels, requirements.levels) if requirements.levels else None
        texture = Texture(len(counts), channels, axes) if requirements.texture else None
        colour = Colour(len(counts), channels) if requirements.colour and channels > 1 else None
        required = (moments, faces, quantiles, texture, colour)
        collectors: list[Collector] = [item for item in required if item is not None]
        for slab in chain([first], walk):
            parts = parts if slab is first else cut_blocks(slab, workers)
            for collector in collectors:
                collector.collect(slab, parts, workers)
    mean, deviation = moments.compute(counts)
    return SegmentStatistics(
        tuple(segments.shape),
        counts,
        moments.places,
        mean,
        deviation,
        requirements.levels,
        quantiles.found if quantiles else None,
        texture.compute(counts) if texture else None,
        colour.compute(counts) if colour else None,
        faces.merge_pairs(len(counts)) if faces else None,
        faces.sum_border(len(counts)) if faces else None,
    )


def _count_halo(requirements: Requirements) -> int:
    """Return how many rows of pixels beyond a slab the collectors read."""
    return max(Faces.halo * requirements.faces, Texture.halo * requirements.texture)


def _count_pixels(parts: list[SegmentBlock], height: int) -> NDArray[np.int64]:
    """Count the pixels of each segment of an image that is in memory with all its blocks."""
    counts = np.zeros(max(int(block.runs.ids.max()) for block in parts) + 1, np.int64)
    for block in parts:
        counts[block.runs.ids] += count_run_pixels(block, (block.stop - block.first) * height)
    return counts


class PixelMoments:
    """Sums of place, and of intensity beyond that of the image's first pixel: a bright background costs no digits."""

    def __init__(self, num_nodes: int, channels: int) -> None:
        self.places = np.zeros((num_nodes, 9), np.int64)
        self.offset = np.zeros(channels, np.float32)
        self._sums = np.zeros((num_nodes, channels, 2))

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add the pixels of a slab, as `Collector.collect`."""
        if slab.start == 0:
            self.offset = slab.pixels[:, 0, 0, 0].copy()
        _, height, width = slab.shape
        pixels = slab.pixels.reshape(len(slab.pixels), -1, width)

        def add(index: int, _: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            block = parts[index]
            line = (block.first - slab.top) * height
            places, sums = _add_block(block, pixels, line, height, self.offset)
            return places, sums

        for block, (places, sums) in zip(parts, workers.run(add, list_singles(len(parts))), strict=True):
            self.places[block.runs.ids] += places
            self._sums[block.runs.ids] += sums

    def compute(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and population standard deviation, each (N, C), of segments of `counts` (N,) pixels."""
        mean, square = np.moveaxis(self._sums / counts[:, None, None], 2, 0)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return (mean + self.offset).astype(np.float32), deviation.astype(np.float32)


@njit(cache=True, nogil=True)
def _add_block(block, pixels, line, height, offset):  # type: ignore[no-untyped-def]
    """Sum places (segments, 9), and intensities beyond `offset` with squares (segments, C, 2), over a block's pixels.

    `pixels` (C, lines, W) are those of the slab, in which the block begins with the line `line`; a row of the image has
    `height` lines. A run adds its places in closed form and its intensities pixel by pixel.
    """
    runs, row = block.runs, block.first
    first, node, start, end, ids = runs.first, runs.node, runs.start, runs.end, runs.ids
    places = np.zeros((ids.size, 9), dtype=np.int64)
    sums = np.zeros((ids.size, offset.size, 2), dtype=np.float64)
    for here in range((block.stop - row) * height):
        z, y = row + here // height, here % height
        for run in range(first[here], first[here + 1]):
            low, high = np.int64(start[run]), np.int64(end[run])
            if low >= block.right:
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
                total, square = sum_powers(pixels[channel, line + here, low:high], np.float64(offset[channel]))
                sums[node[run], channel, 0] += total
                sums[node[run], channel, 1] += square
    return places, sums
