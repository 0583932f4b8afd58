"""What the channels of a pixel say together: its lightness, how far each channel is from it, how far all are.

Means of channels tell neither their correlation nor how colourful pixels are whose colours cancel. Nothing is assumed
of the channels but that they compare, as they do once the data set has scaled each.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, list_singles
from bench.superpixels.runs import SegmentBlock, Slab


class Colour:
    """Sums over segments of lightness (mean of the channels), chroma (norm of what differs) and each difference.

    All beyond the values of the image's first pixel, so that a bright background costs no digits.
    """

    def __init__(self, num_nodes: int, channels: int) -> None:
        self._base = np.zeros(2 + channels)
        self._sums = np.zeros((num_nodes, 2 + channels, 2))

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        channels, (_, height, width) = len(slab.pixels), slab.shape
        if slab.start == 0:
            _opponents(slab.pixels[:, 0, 0, :1], 0, self._base)
        pixels = slab.pixels.reshape(channels, -1, width)

        def add(index: int, _: int) -> NDArray[np.float64]:
            block = parts[index]
            line, lines = (block.first - slab.top) * height, (block.stop - block.first) * height
            sums: NDArray[np.float64] = _sums(*block.runs, pixels, self._base, line, lines, block.right)
            return sums

        for block, sums in zip(parts, workers.run(add, list_singles(len(parts))), strict=True):
            self._sums[block.runs.ids] += sums

    def columns(self, counts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean and population standard deviation of each, (N, 2 + C, 2)."""
        mean, square = np.moveaxis(self._sums / counts[:, None, None], 2, 0)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return np.stack([mean + self._base, deviation], axis=2).astype(np.float32)


@njit(cache=True, nogil=True)
def _opponents(line, x, out):  # type: ignore[no-untyped-def]
    """Lightness, chroma and differences of pixel `x` of a line (C, W), into `out` (2 + C,)."""
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
def _sums(first, node, start, end, ids, pixels, base, line, lines, right):  # type: ignore[no-untyped-def]
    """Sums and squares beyond `base` over the block's own pixels; its first line is `line` of the pixels."""
    sums = np.zeros((ids.size, base.size, 2), dtype=np.float64)
    found = np.empty(base.size)
    for here in range(lines):
        for run in range(first[here], first[here + 1]):
            if start[run] >= right:
                break
            into = sums[node[run]]
            for x in range(start[run], end[run]):
                _opponents(pixels[:, line + here], x, found)
                for part in range(base.size):
                    beyond = found[part] - base[part]
                    into[part, 0] += beyond
                    into[part, 1] += beyond * beyond
    return sums
