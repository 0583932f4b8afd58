"""Stored values on their way from a file to an image: read box by box, turned, recoloured, put into order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, ChunkedArray

# Orientation of EXIF and TIFF: whether rows and columns change places, then whether rows and columns run backwards.
ORIENTATIONS = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """An array of which `read(box)` decodes any part; `chunks` is what a file decodes at once."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    read: Callable[[Box], NDArray[Any]]
    keeps: int | None = None  # bytes that the array may keep decoded; None: `ChunkedArray` decides

    def array(self, channel_axis: int | None) -> ChunkedArray:
        """Return the array that slicing decodes; its bands run along the first axis that is not the channels'."""
        band_axis = 1 if channel_axis == 0 and len(self.shape) > 1 else 0
        return ChunkedArray(self.shape, self.dtype, self.chunks, self.read, band_axis, self.keeps)


def rearrange(blocks: Blocks, order: Sequence[int], backwards: Sequence[bool]) -> Blocks:
    """Put axes into order, leave out others, and turn some round.

    Args:
        blocks: Values as the file has them.
        order: The file's axis of each new axis; those not named have length 1.
        backwards: Of each new axis, whether it runs from its end to its start.

    Returns:
        The same values on the new axes.
    """
    if tuple(order) == tuple(range(len(blocks.shape))) and not any(backwards):
        return blocks
    lengths = [blocks.shape[axis] for axis in order]
    ascending = sorted(order)
    places = [ascending.index(axis) for axis in order]
    turned = tuple(slice(None, None, -1) if back else slice(None) for back in backwards)

    def read(box: Box) -> NDArray[Any]:
        whole = [slice(0, 1)] * len(blocks.shape)
        for axis, part, length, back in zip(order, box, lengths, backwards, strict=True):
            whole[axis] = slice(length - part.stop, length - part.start) if back else part
        stored = blocks.read(tuple(whole))
        kept = stored.reshape([stored.shape[axis] for axis in ascending])
        return np.asarray(kept.transpose(places)[turned])

    chunks = tuple(blocks.chunks[axis] for axis in order)
    return replace(blocks, shape=tuple(lengths), chunks=chunks, read=read)


def orient(order: Sequence[int], y: int, x: int, orientation: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The order of axes and their directions for an EXIF orientation.

    Args:
        order: The file's axes, as in `arrange`.
        y: Place of the rows in `order`.
        x: Place of the columns in `order`.
        orientation: A key of `ORIENTATIONS`.

    Returns:
        `order` and `backwards` of `arrange`.
    """
    swapped, upwards, leftwards = ORIENTATIONS[orientation]
    axes, backwards = list(order), [False] * len(order)
    if swapped:
        axes[y], axes[x] = axes[x], axes[y]
    backwards[y], backwards[x] = upwards, leftwards
    return tuple(axes), tuple(backwards)


def apply_palette(blocks: Blocks, colours: NDArray[Any]) -> Blocks:
    """Replace the numbers of a palette by its `colours` (numbers, bands), on a new last axis."""
    bands = colours.shape[1]

    def read(box: Box) -> NDArray[Any]:
        return np.asarray(colours[blocks.read(box[:-1])][..., box[-1]])

    keeps = None if blocks.keeps is None else blocks.keeps * bands * colours.dtype.itemsize // blocks.dtype.itemsize
    return Blocks((*blocks.shape, bands), colours.dtype, (*blocks.chunks, bands), read, keeps)


def invert_values(blocks: Blocks, largest: int) -> Blocks:
    """Turn values that count from white into values that count from black: `largest` less the value."""

    def read(box: Box) -> NDArray[Any]:
        values = blocks.read(box)
        return np.asarray(~values if values.dtype == bool else values.dtype.type(largest) - values)

    return replace(blocks, read=read)


def take_plane(blocks: Blocks, axis: int, plane: int) -> Blocks:
    """Fix one axis at an index, and leave it out.

    Args:
        blocks: Values of a stack.
        axis: The axis of its planes.
        plane: Index of the plane.
    """

    def read(box: Box) -> NDArray[Any]:
        whole = (*box[:axis], slice(plane, plane + 1), *box[axis:])
        return np.asarray(blocks.read(whole)).reshape([part.stop - part.start for part in box])

    shape, chunks = ((*lengths[:axis], *lengths[axis + 1 :]) for lengths in (blocks.shape, blocks.chunks))
    keeps = None if blocks.keeps is None else blocks.keeps // blocks.shape[axis]
    return Blocks(shape, blocks.dtype, chunks, read, keeps)
