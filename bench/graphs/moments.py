"""Sums over the pixels of each segment of their places, their intensities and the squares of these."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import Workers, list_singles
from bench.graphs.sums import add_to_segments, sum_powers
from bench.superpixels.runs import SegmentBlock, Slab

NODES = 1 << 14  # whose sums are turned into columns at a time


class PixelMoments:
    """Sums of place, and of intensity beyond that of the image's first pixel: a bright background costs no digits."""

    def __init__(self, num_nodes: int, channels: int, storage: Storage) -> None:
        self._storage = storage
        self.places = storage.zeros((num_nodes, 9), np.int64)
        self.offset = np.zeros(channels, np.float32)
        self._sums = storage.zeros((num_nodes, channels, 2), np.float64)

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Add places and intensities of the pixels of a slab to the sums of their segments.

        Args:
            slab: Rows of the image and its segments, from the first slab to the last.
            parts: The blocks of the slab.
            workers: Threads that share the blocks; no sum depends on their number.
        """
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
            add_to_segments(self.places, block.runs.ids, places)
            add_to_segments(self._sums.reshape(len(self._sums), -1), block.runs.ids, sums.reshape(len(sums), -1))

    def compute(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and population standard deviation, each (N, C), of segments of `counts` (N,) pixels."""
        found, deviation = (self._storage.empty(self._sums.shape[:2], np.float32) for _ in range(2))
        for low, high in cut_bands(counts.shape, NODES):
            mean, square = np.moveaxis(self._sums[low:high] / counts[low:high, None, None], 2, 0)
            deviation[low:high] = np.sqrt(np.maximum(square - mean**2, 0))
            found[low:high] = mean + self.offset
            self._storage.release()
        self._storage.drop(self._sums)
        return found, deviation


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
