"""What opening an image file gives, whatever its kind: stored values that are decoded when asked, and what is known.

Whatever a decoder raises on a broken file becomes an `InputError` that names the file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, ChunkedArray
from bench.config import InputError, require

MOST_VALUES = 1 << 40  # in an image that is read in parts


@dataclass(frozen=True)
class Header:
    """What a file says of its array. `channel_axis` is None where the file does not say."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_axis: int | None
    alpha: bool  # the last of the channels is transparency


@dataclass(frozen=True)
class Opened:
    """An image file: `array` decodes its stored values when asked. Pixel sizes and units are per axis of `array`."""

    path: Path
    array: ChunkedArray
    channel_axis: int | None = None  # None: the file does not say
    alpha: bool = False
    pixel_size: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None

    @property
    def header(self) -> Header:
        return Header(self.array.shape, self.array.dtype, self.channel_axis, self.alpha)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure of a decoder into a sentence about `path`."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{path} cannot be read as an image: {reason}") from error


def check_size(path: Path, shape: tuple[int, ...], max_pixels: int, of: str = "it") -> None:
    """Refuse what has more values than `max_pixels`, or none; `of` says in words what is decoded at once."""
    require(prod(shape) > 0, f"{path} holds no pixels: its shape is {shape}")
    require(
        prod(shape) <= max_pixels,
        f"{path} says that {of} has {prod(shape)} values, more than dataset.max_pixels = {max_pixels}: raise that "
        "setting if this is right and fits in memory",
    )


def decoded_whole(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], decode: Callable[[], NDArray[Any]]
) -> ChunkedArray:
    """An array of a file that can only be decoded whole; asked for a part of it, it is kept."""

    def read(box: Box) -> NDArray[Any]:
        with reading(path):
            whole = decode()
            require(whole.shape == shape, f"{path} has the shape {whole.shape}, and its header says {shape}")
            return whole[box]

    return ChunkedArray(shape, dtype, shape, read, keeps=prod(shape) * dtype.itemsize)
