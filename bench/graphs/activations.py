"""Activations of a network pooled into superpixels tile by tile; the network comes from elsewhere, as a function.

The tiles are those of the image, whatever part of it is in memory: features are the same to the last bit of an array,
a memory map and a file, even of a network that sees further than the overlap of the tiles.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Typed
from bench.arrays.rows import read_by_rows
from bench.arrays.tiles import Window, cut_windows, read_padded

TILE = 256  # side of a tile in pixels
HALO = 64  # pixels of a tile beside what it keeps, on each side
GRID = 32  # origins and sides of tiles are multiples of it


class Activations(Protocol):
    """What gives the activations of a tile."""

    @property
    def stride(self) -> int:
        """Pixels along the side of an activation, a power of two up to `GRID`."""

    @property
    def channels(self) -> int:
        """Activations of a place."""

    def __call__(self, tile: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Return the activations (D, H / stride, W / stride) of a tile (H, W, C)."""


def pool_activations(
    image: Typed,
    segments: Typed,
    num_nodes: int,
    encode: Activations,
    progress: Callable[[float], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Return the mean activations over the pixels of each segment, each pixel having those of its place.

    In memory are a tile, and the rows of the image that a row of tiles needs. Of a volume each slice along the first
    axis is encoded alone.

    Args:
        image: Grey values (*spatial, C).
        segments: Ids 0..N-1 of the segments (*spatial).
        num_nodes: N.
        encode: Gives the activations of a tile.
        progress: Receives the share that is done, in [0, 1].

    Returns:
        Means (N, D).
    """
    shape = tuple(segments.shape)
    sums, counts = np.zeros((num_nodes, encode.channels)), np.zeros(num_nodes, np.int64)
    windows, rows, ids = cut_tiles(shape), read_by_rows(image), read_by_rows(segments)
    lead = (0,) * (len(shape) - 2)
    for done, window in enumerate(windows, start=1):
        activations = encode(np.asarray(read_padded(rows, window.read)[lead], np.float32))
        kept = np.asarray(ids[window.keep])[lead]
        nodes, pixels, total = sum_tile(activations, kept, window.inner[-2:], encode.stride)
        sums[nodes] += total
        counts[nodes] += pixels
        progress(done / len(windows))
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def cut_tiles(shape: tuple[int, ...]) -> list[Window]:
    """Return the tiles of an image of `shape` (*spatial), one slice thick."""
    slices = [1] * (len(shape) - 2)
    return cut_windows(shape, [*slices, TILE, TILE], [*(0 for _ in slices), HALO, HALO], [*slices, GRID, GRID])


def sum_tile(
    activations: NDArray[np.float32], segments: NDArray[np.integer], inner: tuple[slice, ...], stride: int
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.float64]]:
    """Add up the activations of the pixels that a tile keeps, by segment.

    Args:
        activations: Of the tile, (D, h, w).
        segments: Ids of the pixels that it keeps, (y, x).
        inner: Where those lie in the tile, a slice per axis, in pixels.
        stride: Pixels along the side of an activation.

    Returns:
        The ids that occur (M,), their pixels (M,), and sums (M, D).
    """
    rows, columns = (np.arange(part.start, part.stop) // stride for part in inner)
    places = rows[:, None] * activations.shape[2] + columns
    nodes, local = np.unique(segments, return_inverse=True)
    size = activations.shape[1] * activations.shape[2]
    pairs, pixels = np.unique(local.reshape(segments.shape) * np.int64(size) + places, return_counts=True)
    which, place = np.divmod(pairs, size)  # ascending in `which`: each node has one stretch of pairs
    values = activations.reshape(len(activations), -1)[:, place].astype(np.float64) * pixels  # (D, P)
    starts = np.searchsorted(which, np.arange(len(nodes)))
    return nodes, np.add.reduceat(pixels, starts), np.add.reduceat(values, starts, axis=1).T
