"""A multi-scale filter bank, pooled into segments block by block: no response is ever in memory for a whole image.

Smoothed intensity, gradient magnitude, eigenvalues of the Hessian and square roots of those of the structure tensor,
with derivatives multiplied by sigma so that they compare across scales. Beyond the image its border is repeated.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands
from bench.arrays.scratch import Storage
from bench.arrays.threads import WORTH_PIECE, WORTH_THREADS, Workers, list_singles, split_range
from bench.graphs.filters import TRUNCATE, Level, Sums, sum_plane_responses
from bench.graphs.segment_sums import Key, SegmentSums, add_rows
from bench.graphs.volume import measure_margin, sum_volume_responses
from bench.superpixels.runs import SLAB_PIXELS, SegmentBlock, Slab, stack_blocks
from bench.superpixels.smoothing import sample_gaussian

FINE = (1.0, 2.0, 4.0)  # standard deviations of the Gaussians, in pixels
COARSE = (8.0, 16.0, 32.0)
_WIDEST = 4.0  # standard deviation of a Gaussian, in pixels of the level on which it is applied

Pyramid = dict[int, NDArray[np.float32]]  # levels (channels, D, H, W) of a whole volume by stride, all but the finest


def list_strides() -> list[int]:
    """Return the image pixels per pixel of each scale's level: coarse scales are filtered where sigma is 4 pixels."""
    return [max(int(sigma / _WIDEST), 1) for sigma in (*FINE, *COARSE)]


class Texture:
    """Filters an image once and pools the responses in several segmentations ("views") of it.

    Means and deviations at the fine scales, means at the coarse ones. Responses at coarse scales hardly vary within a
    segment. They are computed on a halved, quartered, ... image: that of a slab, or of a volume, whose slabs have few
    rows and would need many around them, a `pyramid` of the whole, which takes a seventh of its values. In a volume
    `spacing`, the length of a pixel along each axis, divides the Gaussians and their derivatives. Columns live in
    `storage`.
    """

    halo = (2 * (sample_gaussian(_WIDEST, TRUNCATE).size - 1) + 1) * max(list_strides())

    def __init__(
        self,
        counts: Sequence[NDArray[np.int64]],
        channels: int,
        axes: int,
        spacing: tuple[float, ...],
        pyramid: Pyramid | None,
        storage: Storage,
    ) -> None:
        self._pyramid, self._spacing = pyramid, spacing
        self._offset = np.zeros(channels, np.float32)
        self._views = [SegmentSums(pixels, 2 + 2 * axes, self._offset, storage) for pixels in counts]

    def collect(
        self,
        slabs: Sequence[Slab],
        parts: Sequence[Sequence[SegmentBlock]],
        ranges: Sequence[tuple[int, int]],
        workers: Workers,
    ) -> None:
        """Filter every channel of a slab at every scale.

        Args:
            slabs: The slab of each view; they share their pixels.
            parts: The blocks of each of them.
            ranges: The first segment of each view in this slab or a later one, and the one after the last in this slab.
            workers: Threads that share the blocks.
        """
        slab, stacked = slabs[0], [stack_blocks(blocks) for blocks in zip(*parts, strict=True)]
        if slab.start == 0:
            self._offset[:] = slab.pixels[:, 0, 0, 0]
        for view, (first, stop) in zip(self._views, ranges, strict=True):
            view.advance(first, stop, workers)
        add_up = sum_plane_responses if slab.axes == 2 else sum_volume_responses
        for channel in range(len(slab.pixels)):
            for scale, part in enumerate(self._list_levels(slab, channel, workers)):
                self._add((channel, scale), parts, add_up(part, slab, stacked, len(slabs), workers), workers)
                if slab.stop == slab.shape[0]:
                    for view in self._views:
                        view.finish((channel, scale), workers)

    def _list_levels(self, slab: Slab, channel: int, workers: Workers) -> Iterator[Level]:
        """Yield a channel of a slab at each scale."""
        values, stride, top = slab.pixels[channel], 1, slab.top
        for scale, (sigma, needed) in enumerate(zip((*FINE, *COARSE), list_strides(), strict=True)):
            if self._pyramid is not None and needed > 1:
                values, stride, top = self._pyramid[needed][channel], needed, 0
            while stride < needed:
                values, stride = halve(values, workers), 2 * stride
            scaled = (sigma / stride, self._offset[channel], scale < len(FINE), self._spacing)
            yield Level(values, top // stride, -(-slab.shape[0] // stride), stride, *scaled)

    def take(self, view: int) -> list[NDArray[np.float32]]:
        """Return what was found in a view: of each channel and scale the columns (N, ...) of the responses.

        They are mean and deviation of each response in turn at a fine scale, means at a coarse one.
        """
        return self._views[view].take()

    def _add(self, key: Key, parts: Sequence[Sequence[SegmentBlock]], found: Sequence[Sums], workers: Workers) -> None:
        """Add the sums of stacked blocks to those of each view, block by block in their order.

        Args:
            key: The channel and the scale.
            parts: The blocks of each view.
            found: Sums and sums of squares of each stacked block.
            workers: Threads that share the views and their segments.
        """
        tasks = []
        starts = [0] * len(found)  # of the segments of a view among those of its stacked blocks
        for view, blocks in zip(self._views, parts, strict=True):
            into, ids = view.open_sums(key, squared=key[1] < len(FINE)), [block.runs.ids for block in blocks]
            for low, high in split_range(view.stop, workers.threads, view.first, WORTH_PIECE):
                tasks.append((into, view.first, low, high, list(zip(ids, found, starts, strict=True))))
            starts = [start + block.runs.ids.size for start, block in zip(starts, blocks, strict=True)]

        def add(index: int, _: int) -> None:
            into, first, low, high, pieces = tasks[index]
            for ids, (sums, squares), start in pieces:
                add_rows(into, first, ids, sums, squares, start, low, high)

        workers.run(add, list_singles(len(tasks)))


def measure_halo(axes: int, spacing: tuple[float, ...]) -> int:
    """Return how many rows beyond a slab the filters reach; of a volume those of the finest level alone.

    Args:
        axes: Spatial axes.
        spacing: Length of a pixel along each.
    """
    return Texture.halo if axes == 2 else measure_margin(_WIDEST / spacing[0])


def halve_volume(image: Readable, grey: bool, rows: int | None, workers: Workers) -> Pyramid:
    """Make the coarser levels of a volume, which is read in bands.

    Args:
        image: (D, H, W, C).
        grey: Whether the levels are those of the mean of the channels.
        rows: About how many rows of the first axis a band has; None leaves that to the size of the image.
        workers: Threads that share the work on a band.

    Returns:
        The levels by stride.
    """
    *shape, channels = image.shape
    strides = sorted({*list_strides()} - {1})
    size = {stride: tuple(-(-length // stride) for length in shape) for stride in strides}
    found = {stride: np.empty((1 if grey else channels, *size[stride]), np.float32) for stride in strides}
    reader = RowReader(image, np.float32)
    for start, stop in cut_bands(tuple(shape), SLAB_PIXELS, rows, strides[-1]):
        planar = np.ascontiguousarray(np.moveaxis(reader.read_rows(start, stop), -1, 0))
        if grey:
            planar = planar.mean(axis=0, dtype=np.float32, keepdims=True)
        for channel, values in enumerate(planar):
            stride = 1
            for needed in strides:
                while stride < needed:
                    values, stride = halve(values, workers), 2 * stride
                found[stride][channel, start // stride : -(-stop // stride)] = values
    return found


def halve(values: NDArray[np.float32], workers: Workers) -> NDArray[np.float32]:
    """Average every 2 pixels along each axis of (D, H, W); an odd end is repeated, an axis of one pixel stays."""
    step = tuple(2 if size > 1 else 1 for size in values.shape)
    out = np.empty(tuple(-(-size // each) for size, each in zip(values.shape, step, strict=True)), np.float32)
    pieces = 4 * workers.threads if out.size >= WORTH_THREADS else 1
    workers.run(lambda low, high: _halve_rows(values, out, step, low, high), split_range(len(out), pieces))
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
