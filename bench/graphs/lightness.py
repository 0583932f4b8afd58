"""Lightness of a pixel, the mean of its channels, pooled as if it were a grey image: filtered once, not by channel.

That is a third of the work on three channels, with what tells the colours apart left to `bench.graphs.colour`. The only
assumption is that channels compare, as they do once the data set has scaled each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers
from bench.graphs.moments import PixelMoments
from bench.graphs.quantiles import Quantiles
from bench.graphs.texture import Pyramid, Texture
from bench.superpixels.runs import SegmentBlock, Slab


@dataclass(frozen=True)
class LightStatistics:
    """Statistics of the lightness in N segments.

    Attributes:
        mean: Mean (N, 1).
        deviation: Population standard deviation (N, 1).
        levels: Levels of the quantiles in [0, 1], ascending.
        quantiles: Quantiles (N, 1, Q).
        texture: Means and deviations of filter responses at each scale (N, columns), as in `bench.graphs.texture`.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float32]
    texture: list[NDArray[np.float32]]

    def take_nodes(self, low: int, high: int) -> "LightStatistics":
        """Return the statistics of the segments low..high."""
        rows = slice(low, high)
        texture = [part[rows] for part in self.texture]
        return LightStatistics(self.mean[rows], self.deviation[rows], self.levels, self.quantiles[rows], texture)


class Lightness:
    """Collects the lightness of several segmentations of an image; the `levels` in [0, 1] of its quantiles ascend.

    `pyramid` has the coarser levels of the lightness of a volume.
    """

    def __init__(
        self,
        counts: Sequence[NDArray[np.int64]],
        axes: int,
        levels: tuple[float, ...],
        spacing: tuple[float, ...],
        pyramid: Pyramid | None,
        storage: Storage,
    ) -> None:
        self._counts, self._levels = counts, levels
        self._texture = Texture(counts, 1, axes, spacing, pyramid, storage)
        self._moments = [PixelMoments(len(pixels), 1, storage) for pixels in counts]
        self._quantiles = [Quantiles(pixels, 1, levels, storage) for pixels in counts]

    def collect(
        self,
        slabs: Sequence[Slab],
        parts: Sequence[list[SegmentBlock]],
        ranges: Sequence[tuple[int, int]],
        workers: Workers,
    ) -> None:
        """Add the lightness of the pixels of a slab in every view.

        Args:
            slabs: The slab of each view, from the first slab of the image to the last; they share their pixels.
            parts: The blocks of each of them.
            ranges: The first segment of each view in this slab or a later one, and the one after the last in this slab.
            workers: Threads that share the blocks.
        """
        pixels = slabs[0].pixels.mean(axis=0, dtype=np.float32, keepdims=True)
        lit = [replace(slab, pixels=pixels) for slab in slabs]
        self._texture.collect(lit, parts, ranges, workers)
        for moments, quantiles, slab, blocks in zip(self._moments, self._quantiles, lit, parts, strict=True):
            moments.collect(slab, blocks, workers)
            quantiles.collect(slab, blocks, workers)

    def take(self, view: int) -> LightStatistics:
        """Return what was found in a view; its texture is let go."""
        mean, deviation = self._moments[view].compute(self._counts[view])
        quantiles = self._quantiles[view].found
        return LightStatistics(mean, deviation, self._levels, quantiles, self._texture.take(view))
