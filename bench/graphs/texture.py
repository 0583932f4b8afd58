"""A multi-scale filter bank, pooled into segments block by block: no response is ever in memory for a whole image.

Smoothed intensity, gradient magnitude, eigenvalues of the Hessian and square roots of those of the structure tensor,
with derivatives multiplied by sigma so that they compare across scales. Beyond the image its border is repeated.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, split_range
from bench.graphs.filters import TRUNCATE, Level, sum_plane_responses
from bench.graphs.volume import sum_volume_responses
from bench.superpixels.runs import SegmentBlock, Slab
from bench.superpixels.smoothing import sample_gaussian

FINE = (1.0, 2.0, 4.0)  # standard deviations of the Gaussians, in pixels
COARSE = (8.0, 16.0, 32.0)
_WIDEST = 4.0  # standard deviation of a Gaussian, in pixels of the level on which it is applied


def list_strides() -> list[int]:
    """Return the image pixels per pixel of each scale's level: coarse scales are filtered where sigma is 4 pixels."""
    return [max(int(sigma / _WIDEST), 1) for sigma in (*FINE, *COARSE)]


class Texture:
    """Collects the responses of every channel and scale: sums and squares at the fine scales, sums at the coarse ones.

    Responses at coarse scales hardly vary within a segment. They are computed on a halved, quartered, ... image.
    """

    halo = (2 * (sample_gaussian(_WIDEST, TRUNCATE).size - 1) + 1) * max(list_strides())

    def __init__(self, num_nodes: int, channels: int, axes: int) -> None:
        self._responses = 2 + 2 * axes
        scales = len(FINE) + len(COARSE)
        self._sums = np.zeros((num_nodes, channels, scales, self._responses))
        self._squares = np.zeros((num_nodes, channels, len(FINE), self._responses))
        self._offset = np.zeros(channels, np.float32)

    def collect(self, slab: Slab, parts: list[SegmentBlock], workers: Workers) -> None:
        """Filter every channel of a slab at every scale, as `bench.graphs.pooling.Collector.collect`."""
        if slab.start == 0:
            self._offset = slab.pixels[:, 0, 0, 0].copy()
        add_up = sum_plane_responses if slab.axes == 2 else sum_volume_responses
        for channel, pixels in enumerate(slab.pixels):
            level, stride = pixels, 1
            for scale, (sigma, needed) in enumerate(zip((*FINE, *COARSE), list_strides(), strict=True)):
                while stride < needed:
                    level, stride = halve(level, workers), 2 * stride
                fine = scale < len(FINE)
                height = -(-slab.shape[0] // stride)
                part = Level(level, slab.top // stride, height, stride, sigma / stride, self._offset[channel], fine)
                for block, (sums, squares) in zip(parts, add_up(part, slab, parts, workers), strict=True):
                    self._sums[block.runs.ids, channel, scale] += sums
                    if fine:
                        self._squares[block.runs.ids, channel, scale] += squares

    def compute(self, counts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (N, C, columns): mean and deviation of each response at each fine scale, then means at the coarse."""
        sums = self._sums / counts[:, None, None, None]
        fine = sums[:, :, : len(FINE)]
        deviation = np.sqrt(np.maximum(self._squares / counts[:, None, None, None] - fine**2, 0))
        sums[:, :, :, 0] += self._offset[:, None]
        nodes, channels = sums.shape[:2]
        both = np.stack([fine, deviation], axis=-1).reshape(nodes, channels, -1)
        coarse = sums[:, :, len(FINE) :].reshape(nodes, channels, -1)
        return np.concatenate([both, coarse], axis=2).astype(np.float32)


def halve(values: NDArray[np.float32], workers: Workers) -> NDArray[np.float32]:
    """Average every 2 pixels along each axis of (D, H, W); an odd end is repeated, an axis of one pixel stays."""
    step = tuple(2 if size > 1 else 1 for size in values.shape)
    out = np.empty(tuple(-(-size // each) for size, each in zip(values.shape, step, strict=True)), np.float32)
    workers.run(lambda low, high: _halve_rows(values, out, step, low, high), split_range(len(out), 4 * workers.threads))
    return out


@njit(cache=True, nogil=True)
def _halve_rows(values, out, step, low, high):  # type: ignore[no-untyped-def]
    """Write the rows low..high of the halved image to `out`; `step` is 2 along axes that are halved, else 1."""
    depth, height, width = values.shape
    half = np.float32(0.5)
    for z in range(low, high):
        near, far = z * step[0], min(z * step[0] + step[0] - 1, depth - 1)
        for y in range(out.shape[1]):
            up, down = y * step[1], min(y * step[1] + step[1] - 1, height - 1)
            for x in range(out.shape[2]):
                left, right = x * step[2], min(x * step[2] + step[2] - 1, width - 1)
                one = (values[near, up, left] + values[far, up, left]) * half
                two = (values[near, up, right] + values[far, up, right]) * half
                if down != up:
                    one = (one + (values[near, down, left] + values[far, down, left]) * half) * half
                    two = (two + (values[near, down, right] + values[far, down, right]) * half) * half
                out[z, y, x] = (one + two) * half
