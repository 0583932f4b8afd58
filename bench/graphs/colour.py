"""Colour of the segments: lightness of a pixel, chroma, and how far each channel is from the lightness.

The means of single channels hold neither their correlation nor how colourful pixels are whose colours cancel. The only
assumption is that channels compare, as they do once the data set has scaled each.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers, list_singles
from bench.graphs.moments import NODES
from bench.superpixels.runs import SegmentBlock, Slab


class Colour:
    """Sums over segments of lightness (mean of the channels), chroma (norm of the differences) and each difference.

    All are counted from the values of the image's first pixel, so that a bright background costs no digits.
    """

    def __init__(self, num_nodes: int, channels: int, storage: Storage) -> None:
        self._storage, self._base = storage, np.zeros(2 + channels)
        self._sums = storage.zeros((num_nodes, 2 + channels, 2), np.float64)

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add lightness, chroma and differences of the pixels of a slab to the sums of their segments.

        Args:
            slab: Rows of the image and its segments, from the first slab to the last.
            parts: The blocks of the slab.
            workers: Threads that share the blocks; no sum depends on their number.
        """
        channels, (_, height, width) = len(slab.pixels), slab.shape
        if slab.start == 0:
            _find_opponents(slab.pixels[:, 0, 0, :1], 0, self._base)
        pixels = slab.pixels.reshape(channels, -1, width)

        def add(index: int, _: int) -> NDArray[np.float64]:
            block = parts[index]
            sums: NDArray[np.float64] = _add_block(block, pixels, (block.first - slab.top) * height, height, self._base)
            return sums

        for block, sums in zip(parts, workers.run(add, list_singles(len(parts))), strict=True):
            self._sums[block.runs.ids] += sums

    def compute(self, counts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return mean and population standard deviation of each, (N, 2 + C, 2), of segments of `counts` (N,) pixels."""
        found = self._storage.empty(self._sums.shape, np.float32)
        for low, high in cut_bands(counts.shape, NODES):
            mean, square = np.moveaxis(self._sums[low:high] / counts[low:high, None, None], 2, 0)
            found[low:high, :, 0] = mean + self._base
            found[low:high, :, 1] = np.sqrt(np.maximum(square - mean**2, 0))
            self._storage.release()
        self._storage.drop(self._sums)
        return found


@njit(cache=True, nogil=True)
def _find_opponents(line, x, out):  # type: ignore[no-untyped-def]
    """Write lightness, chroma and differences of pixel `x` of a line (C, W) to `out` (2 + C,)."""
    channels = line.shape[0]
    light, strength = 0.0, 0.0
    for channel in range(channels):
        light += np.float64(line[channel, x])
    light /= channels
    for channel in range(channels):
        away = np.float64(line[channel, x]) - light
        strength += away * away
        out[2 + channel] = away
    out[0], out[1] = light, np.sqrt(strength)


@njit(cache=True, nogil=True)
def _add_block(block, pixels, line, height, base):  # type: ignore[no-untyped-def]
    """Sum values and squares beyond `base` over a block's own pixels: (segments, 2 + C, 2).

    `pixels` (C, lines, W) are those of the slab, in which the block begins with the line `line`.
    """
    runs = block.runs
    first, node, start, end = runs.first, runs.node, runs.start, runs.end
    sums = np.zeros((runs.ids.size, base.size, 2), dtype=np.float64)
    found = np.empty(base.size)
    for here in range((block.stop - block.first) * height):
        for run in range(first[here], first[here + 1]):
            if start[run] >= block.right:
                break
            into = sums[node[run]]
            for x in range(start[run], end[run]):
                _find_opponents(pixels[:, line + here], x, found)
                for part in range(base.size):
                    beyond = found[part] - base[part]
                    into[part, 0] += beyond
                    into[part, 1] += beyond * beyond
    return sums
