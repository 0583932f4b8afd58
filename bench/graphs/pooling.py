"""Pixel values to one row per segment: one walk over the image in which every collector reads the pixels it needs.

The partial sums of a block (`bench.superpixels.runs`) are added in the order of the blocks, so that every number is
the same to the last bit whatever the bands and the threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.arrays.heap import trim_after
from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.spacing import relate_spacing
from bench.arrays.threads import Workers, start_workers
from bench.graphs.colour import Colour
from bench.graphs.lightness import Lightness, LightStatistics
from bench.graphs.moments import NODES, PixelMoments
from bench.graphs.quantiles import Quantiles
from bench.graphs.texture import Pyramid, Texture, halve_volume, measure_halo
from bench.superpixels.adjacency import Faces, TouchingPairs
from bench.superpixels.labels import count_pixels
from bench.superpixels.runs import SLAB_PIXELS, SegmentBlock, Slab, count_run_pixels, cut_blocks, walk_slabs


@dataclass(frozen=True)
class Requirements:
    """What must be pooled beside the moments of intensity and place, which always are."""

    levels: tuple[float, ...] = ()  # quantiles in [0, 1], ascending
    texture: bool = False
    faces: bool = False
    colour: bool = False  # of images of several channels
    light_levels: tuple[float, ...] = ()  # quantiles of the lightness; not empty: its moments and texture as well

    def __or__(self, other: "Requirements") -> "Requirements":
        levels = tuple(sorted({*self.levels, *other.levels}))
        light_levels = tuple(sorted({*self.light_levels, *other.light_levels}))
        texture, faces = self.texture or other.texture, self.faces or other.faces
        return Requirements(levels, texture, faces, self.colour or other.colour, light_levels)


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
        texture: Means and deviations of filter responses, of each channel and scale (N, columns).
        colour: Mean and deviation of lightness, chroma and differences (N, 2 + C, 2).
        light: Moments, quantiles and texture of the lightness, the mean of a pixel's channels.
        touching: Pairs of segments that share pixel faces.
        faces: Faces (N,) of each segment, those at the border of the image included.
        spacing: Length of a pixel along each axis, in units of the shortest one.
        storage: Where arrays as long as there are nodes or pairs are put.
    """

    shape: tuple[int, ...]
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float32] | None
    texture: list[NDArray[np.float32]] | None
    colour: NDArray[np.float32] | None
    light: LightStatistics | None
    touching: TouchingPairs | None
    faces: NDArray[np.int64] | None
    spacing: tuple[float, ...]
    storage: Storage = field(default_factory=lambda: Storage(None))

    @cached_property
    def centroids(self) -> NDArray[np.float32]:
        """Mean position along each axis, pixel index times spacing, (N, spatial_axes)."""
        found = self.storage.empty((len(self.counts), len(self._axes)), np.float32)
        for low, high in cut_bands(self.counts.shape, NODES):
            mean = self.places[low:high, self._axes] / self.counts[low:high, None]
            found[low:high] = mean * np.array(self.spacing)
            self.storage.release()
        return found

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (N, axes, axes) of the positions, with the extent of a pixel (1/12 of its square) added."""
        mean = self.places[:, self._axes] / self.counts[:, None]
        square = np.array([[3, 4, 5], [4, 6, 7], [5, 7, 8]])[np.ix_(self._axes, self._axes)]
        second = self.places[:, square] / self.counts[:, None, None]
        found = second - mean[:, :, None] * mean[:, None, :] + np.eye(len(self._axes)) / 12
        return np.asarray(found * np.outer(self.spacing, self.spacing))

    def take_nodes(self, low: int, high: int) -> "SegmentStatistics":
        """Return the statistics of the nodes low..high; which of them touch is left out."""
        rows = slice(low, high)
        return replace(
            self,
            counts=self.counts[rows],
            places=self.places[rows],
            mean=self.mean[rows],
            deviation=self.deviation[rows],
            quantiles=None if self.quantiles is None else self.quantiles[rows],
            texture=None if self.texture is None else [part[rows] for part in self.texture],
            colour=None if self.colour is None else self.colour[rows],
            light=None if self.light is None else self.light.take_nodes(low, high),
            faces=None if self.faces is None else self.faces[rows],
            touching=None,
            storage=Storage(None),
        )

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
    image: Readable,
    segments: Readable,
    requirements: Requirements,
    rows: int | None = None,
    spacing: Sequence[float] | None = None,
) -> SegmentStatistics:
    """Pool the pixels of each segment of one segmentation, in memory and in one walk over the image.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        segments: (*spatial) int32 with ids 0..N-1 all used.
        requirements: What is pooled beside moments.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.
        spacing: Length of a pixel along each axis, in any unit; None: pixels are cubes.

    Returns:
        The statistics of the N segments, the same to the last bit whatever `rows` and the threads.

    Raises:
        ValueError: Image and segments have different shapes, or `rows` is less than 1.
    """
    [found] = pool_views(image, [segments], requirements, rows, spacing)
    return found


def pool_views(
    image: Readable,
    views: Sequence[Readable],
    requirements: Requirements,
    rows: int | None = None,
    spacing: Sequence[float] | None = None,
    storage: Storage | None = None,
) -> list[SegmentStatistics]:
    """Pool the pixels of each segment of several segmentations, in one walk over the image.

    The image is read and filtered once for all of them. Pages of memory maps are handed back.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes.
        views: Segmentations, each (*spatial) int32 with ids 0..N-1 all used.
        requirements: What is pooled beside moments.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.
        spacing: Length of a pixel along each axis, in any unit; None: pixels are cubes.
        storage: Where arrays as long as there are nodes or pairs are put; None: in memory.

    Returns:
        The statistics of each segmentation, the same to the last bit whatever the others, `rows` and the threads.

    Raises:
        ValueError: Image and segments have different shapes, or `rows` is less than 1.
    """
    shape = tuple(views[0].shape)
    pitch, storage = relate_spacing(spacing, len(shape)), storage or Storage(None)
    collected = _collect(image, views, requirements, rows, pitch, storage)
    found: list[SegmentStatistics] = []
    while collected.pools:  # what was collected of a view goes before that of the next is put together
        view, pool = len(found), collected.pools.pop(0)
        texture = None if collected.texture is None else collected.texture.take(view)
        light = None if collected.light is None else collected.light.take(view)
        found.append(pool.compute(shape, pitch, texture, light))
        storage.release()
        trim_after(prod(image.shape))
    return found


@dataclass(frozen=True)
class _Collected:
    """What one walk collected: of each view alone, and of all at once."""

    pools: "list[_Pool]"
    texture: Texture | None
    light: Lightness | None


def _collect(
    image: Readable,
    views: Sequence[Readable],
    requirements: Requirements,
    rows: int | None,
    spacing: tuple[float, ...],
    storage: Storage,
) -> _Collected:
    """Walk over the image; its pixels are let go on return."""
    shape, axes, channels = views[0].shape, len(views[0].shape), image.shape[-1]
    with start_workers(tuple(views[0].shape)) as workers:
        pyramids = [_make_pyramid(image, grey, requirements, rows, workers) for grey in (False, True)]
        walk = walk_slabs(image, views, rows, _count_halo(requirements, axes, spacing))
        slabs = next(walk)
        blocks = [cut_blocks(slab, workers) for slab in slabs]
        counts = [
            _count_all(slab, parts, segments, rows, workers, storage)
            for slab, parts, segments in zip(slabs, blocks, views, strict=True)
        ]
        texture = Texture(counts, channels, axes, spacing, pyramids[0], storage) if requirements.texture else None
        levels = requirements.light_levels
        light = Lightness(counts, axes, levels, spacing, pyramids[1], storage) if levels else None
        pools = [_Pool(pixels, channels, requirements, storage) for pixels in counts]
        filtering = [shared for shared in (texture, light) if shared is not None]
        several = len(filtering) > 0 and slabs[0].stop < shape[0]
        firsts = [_find_firsts(view, rows) if several else None for view in views]
        while slabs:
            ranges = [_find_range(*each) for each in zip(slabs, blocks, firsts, strict=True)]
            for shared in filtering:
                shared.collect(slabs, blocks, ranges, workers)
            for pool, slab, parts in zip(pools, slabs, blocks, strict=True):
                pool.collect(slab, parts, workers)
            storage.release()
            slabs = next(walk, ())
            blocks = [cut_blocks(slab, workers) for slab in slabs]
    return _Collected(pools, texture, light)


class _Pool:
    """What is collected of one segmentation of `counts` (N,) pixels each, beside what views share."""

    def __init__(self, counts: NDArray[np.int64], channels: int, requirements: Requirements, storage: Storage) -> None:
        levels = requirements.levels
        self.counts, self.levels, self.storage = counts, levels, storage
        self.moments = PixelMoments(len(counts), channels, storage)
        self.faces = Faces(channels, storage, len(counts)) if requirements.faces else None
        self.quantiles = Quantiles(counts, channels, levels, storage) if levels else None
        self.colour = Colour(len(counts), channels, storage) if requirements.colour and channels > 1 else None

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add the pixels of a slab to everything that is collected of this segmentation.

        Args:
            slab: Rows of the image and its segments, from the first slab to the last.
            parts: The blocks of the slab.
            workers: Threads that share the blocks.
        """
        collectors: tuple[Collector | None, ...] = (self.moments, self.faces, self.quantiles, self.colour)
        for collector in collectors:
            if collector is not None:
                collector.collect(slab, parts, workers)

    def compute(
        self,
        shape: tuple[int, ...],
        spacing: tuple[float, ...],
        texture: list[NDArray[np.float32]] | None,
        light: LightStatistics | None,
    ) -> SegmentStatistics:
        """Put the statistics of the segmentation together, once, after all slabs were collected.

        Args:
            shape: Spatial shape of the image.
            spacing: Length of a pixel along each axis, in units of the shortest one.
            texture: Columns (N, ...) of this segmentation; None where they were not required.
            light: Statistics of the lightness in this segmentation; None where they were not required.

        Returns:
            The statistics of its N segments.
        """
        mean, deviation = self.moments.compute(self.counts)
        touching = self.faces.merge_pairs(len(self.counts)) if self.faces else None
        return SegmentStatistics(
            shape,
            self.counts,
            self.moments.places,
            mean,
            deviation,
            self.levels,
            self.quantiles.found if self.quantiles else None,
            texture,
            self.colour.compute(self.counts) if self.colour else None,
            light,
            touching,
            self.faces.sum_faces(touching) if self.faces and touching else None,
            spacing,
            self.storage,
        )


def _make_pyramid(
    image: Readable, grey: bool, requirements: Requirements, rows: int | None, workers: Workers
) -> Pyramid | None:
    """Make the coarser levels of a volume, or of its lightness, where they are filtered."""
    filtered = len(requirements.light_levels) > 0 if grey else requirements.texture
    return halve_volume(image, grey, rows, workers) if filtered and len(image.shape) == 4 else None


def _find_range(slab: Slab, parts: Sequence[SegmentBlock], firsts: NDArray[np.int32] | None) -> tuple[int, int]:
    """Return the first id in a slab or a later one, and the one after the last in the slab.

    Args:
        slab: The slab.
        parts: Its blocks.
        firsts: As `_find_firsts` returns them; None: the first id is 0.
    """
    return 0 if firsts is None else int(firsts[slab.start]), max(int(block.runs.ids.max()) for block in parts) + 1


def _find_firsts(segments: Readable, rows: int | None) -> NDArray[np.int32]:
    """Return for each row of the first axis the least id in it and in all below it."""
    reader = RowReader(segments, np.int32)
    least = [
        reader.read_rows(start, stop).reshape(stop - start, -1).min(axis=1)
        for start, stop in cut_bands(segments.shape, SLAB_PIXELS, rows)
    ]
    return np.minimum.accumulate(np.concatenate(least)[::-1])[::-1]


def _count_halo(requirements: Requirements, axes: int, spacing: tuple[float, ...]) -> int:
    """Return how many rows of pixels beyond a slab the collectors read."""
    filtered = requirements.texture or len(requirements.light_levels) > 0
    return max(Faces.halo * requirements.faces, measure_halo(axes, spacing) * filtered)


def _count_all(
    slab: Slab, parts: list[SegmentBlock], segments: Readable, rows: int | None, workers: Workers, storage: Storage
) -> NDArray[np.int64]:
    """Count the pixels (N,) of each segment: by the blocks of the first slab if that is the whole image."""
    if slab.stop < slab.shape[0]:
        return count_pixels(segments, rows, workers, storage)
    counts = np.zeros(max(int(block.runs.ids.max()) for block in parts) + 1, np.int64)
    for block in parts:
        counts[block.runs.ids] += count_run_pixels(block, (block.stop - block.first) * slab.shape[1])
    return counts
