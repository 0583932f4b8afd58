"""What opening an image file gives, whatever its kind: stored values that are decoded on access, and what is known.

Whatever a decoder raises on a broken file becomes an `InputError` that names the file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, ChunkedArray
from bench.config import InputError, require
from bench.datasets import axes
from bench.datasets.blocks import ORIENTATIONS, Blocks, orient, rearrange, take_plane

MOST_VALUES = 1 << 40  # in an image that is read in parts
Colours = tuple[tuple[int, ...], ...]
Names = tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """What a file says of its array. `channel_axis` is None where the file does not say."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_axis: int | None
    alpha: bool  # the last of the channels is transparency


@dataclass(frozen=True)
class Coding:
    """How a file stores its numbers, as far as it matters to a mask."""

    lossy: str | None = None  # a compression that may change numbers
    palette: Colours = ()  # colours of the numbers from 0 on, where the file has some
    white_is_zero: bool = False
    orientation: int = 1  # a key of `ORIENTATIONS`, already applied


PLAIN = Coding()


@dataclass(frozen=True)
class Opened:
    """An image file: `array` decodes its stored values when asked. Pixel sizes and units are per axis of `array`."""

    path: Path
    array: ChunkedArray
    channel_axis: int | None = None  # None: the file does not say
    alpha: bool = False
    pixel_size: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None
    coding: Coding = field(default_factory=Coding)
    siblings: tuple[Path, ...] = ()  # other files that pixels come from
    planes: int = 0  # of the stack that the array is one plane of; 0: it is no such plane
    stack: str = "z"  # the axis of that stack: z, or t of points in time
    channel_names: Names = ()  # where the file has them
    step: tuple[float, str | None] | None = None  # to the next plane of that stack, and its unit; None: unknown

    @property
    def header(self) -> Header:
        """What the file says of its array."""
        return Header(self.array.shape, self.array.dtype, self.channel_axis, self.alpha)


@contextmanager
def explain_failures(path: Path) -> Iterator[None]:
    """Turn any failure of a decoder within the block into a sentence about `path`."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if path.is_file() and path.stat().st_size == 0:
            reason = "the file is empty"
        raise InputError(f"{path} cannot be read as an image: {reason}") from error


def check_size(path: Path, shape: tuple[int, ...], max_pixels: int, of: str = "it") -> None:
    """Refuse what has no values, or more than may be decoded at once.

    Args:
        path: The file, for sentences.
        shape: Of what is decoded at once, or of all of a file that is read in parts.
        max_pixels: The setting of that name; or `MOST_VALUES`, which is none.
        of: What is decoded at once, in words.

    Raises:
        InputError: The sentence says what to do.
    """
    require(prod(shape) > 0, f"{path} holds no pixels: its shape is {shape}")
    larger = f"give dataset.max_pixels={prod(shape)} (max_pixels of predict) if that is right and fits in memory"
    advice = f"{larger}, or store the image in tiles or chunks, of which one is in memory at a time"
    advice = "cut it into several images" if max_pixels == MOST_VALUES else advice
    require(
        prod(shape) <= max_pixels,
        f"{path} says that {of} has {prod(shape)} values, more than the {max_pixels} that are read: {advice}",
    )


def decode_whole(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], decode: Callable[[], NDArray[Any]]
) -> Blocks:
    """Return the values of a file that can only be decoded whole; the array keeps all of them once a part was read.

    Args:
        path: The file, for messages.
        shape: Shape that its header states.
        dtype: Number type of the values.
        decode: Decodes the file.
    """

    def read(box: Box) -> NDArray[Any]:
        with explain_failures(path):
            whole = decode()
            require(whole.shape == shape, f"{path} has the shape {whole.shape}, and its header says {shape}")
            return whole[box]

    return Blocks(shape, dtype, shape, read, keeps=prod(shape) * dtype.itemsize)


def assemble(
    path: Path,
    blocks: Blocks,
    names: Sequence[str],
    channel_axis: int | None = None,
    alpha: bool = False,
    coding: Coding = PLAIN,
    siblings: Sequence[Path] = (),
    pixel_size: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
    plane: int | None = None,
) -> Opened:
    """Put stored values into the order of an image, as their axes and the orientation say.

    Args:
        path: The file.
        blocks: Values as the file has them.
        names: A letter per axis of `blocks`, as in `bench.datasets.axes`.
        channel_axis: Axis of the channels that the user states, counted without axes of length 1.
        alpha: Whether the file calls the last channel transparency; what the user states outweighs it.
        coding: How the numbers are stored; its orientation is applied.
        siblings: Other files that pixels come from.
        pixel_size: Length of a pixel along each axis of `blocks`.
        units: Unit of each length.
        plane: Index of the plane of a stack that is meant; None: all of it. Of a flat image it means nothing.

    Returns:
        The opened image.

    Raises:
        InputError: The axes are not those of one image, or an orientation is stated that cannot be applied.
    """
    found = axes.arrange_axes(path, names, blocks.shape, channel_axis, plane is not None)
    order, backwards = found.order, (False,) * len(found.order)
    if coding.orientation in ORIENTATIONS and coding.orientation != 1:
        letters = [names[axis] for axis in order]
        require(
            "y" in letters and "x" in letters,
            f"{path} has an orientation tag and axes that are not named: save it upright, without the tag",
        )
        order, backwards = orient(order, letters.index("y"), letters.index("x"), coding.orientation)
    channels = found.channel_axis
    stated = channels if channel_axis is None else channel_axis % len(order)
    turned, planes, stack, step = rearrange(blocks, order, backwards), 0, "z", None
    if plane is not None and len(order) - (stated is not None) >= 3:
        axis = 1 if stated == 0 else 0
        planes, stack = turned.shape[axis], "t" if names[order[axis]] == "t" else "z"
        if stack == "z" and pixel_size is not None:
            step = pixel_size[order[axis]], None if units is None else units[order[axis]]
        turned = take_plane(turned, axis, plane)
        order = (*order[:axis], *order[axis + 1 :])
        stated = channels = stated if stated is None or stated < axis else stated - 1
    sizes = None if pixel_size is None else tuple(pixel_size[axis] for axis in order)
    kept_units = None if units is None else tuple(units[axis] for axis in order)
    array, has_alpha = turned.array(stated), alpha and channels is not None and channel_axis is None
    return Opened(
        path, array, channels, has_alpha, sizes, kept_units, coding, tuple(siblings), planes, stack, step=step
    )
