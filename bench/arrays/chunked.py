"""Arrays that are decoded chunk by chunk, with the latest chunks kept, so that no chunk is decoded twice.

Their keys are split by `split_key` into a box, which is read, and a key into that box:

    array[8:1:-3, 2]  ->  box (2:9, 2:3), key (::-3, 0)
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNIT_VALUES = 1 << 18  # least number of values that are worth an entry of their own in the cache
KEPT_BYTES = 1 << 29  # most that one array keeps

Box = tuple[slice, ...]  # one slice of step 1 per axis, bounds given


class ChunkedArray:
    """An array of which `read(box)` decodes any part; slicing decodes only the chunks it touches, and keeps the latest.

    It keeps whole chunks in their stored type for windows that cut them; rows for windows that move down an image, in
    the type in which they are used, are kept by `bench.arrays.rows.RowReader`.

    Args:
        shape: Shape of the array.
        dtype: Type of the values.
        chunks: Length of a chunk, the least part that can be decoded, along each axis.
        read: Decodes a box, given as one slice per axis, into an array of `dtype`.
        band_axis: Axis along which the array is walked in bands or in overlapping tiles.
        keeps: Most bytes that are kept; None: two layers of chunks along `band_axis`, but no more than `KEPT_BYTES`.
            A request for more than that, or for everything, is decoded and not kept.
        unit_values: Chunks are decoded and kept together until they have so many values; None: `UNIT_VALUES`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        read: Callable[[Box], NDArray[Any]],
        band_axis: int = 0,
        keeps: int | None = None,
        unit_values: int | None = None,
    ) -> None:
        self.shape, self.dtype, self.ndim, self._read = shape, dtype, len(shape), read
        self.unit = enlarge_chunks(chunks, shape, UNIT_VALUES if unit_values is None else unit_values)
        layer = prod(shape) // shape[band_axis] * min(self.unit[band_axis], shape[band_axis]) * dtype.itemsize
        self.keeps = min(2 * layer, KEPT_BYTES) if keeps is None else keeps
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self.kept_bytes = 0
        self._lock = Lock()

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if found is None:
            return np.asarray(self._read(span_axes(self.shape))[key])
        box, rest = found
        return self._read_box(box)[rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._read(span_axes(self.shape)).astype(dtype or self.dtype, copy=False)

    def _read_box(self, box: Box) -> NDArray[Any]:
        lengths = tuple(part.stop - part.start for part in box)
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        grid = [range(part.start // unit, -(-part.stop // unit)) for part, unit in zip(box, self.unit, strict=True)]
        corners = self._locate([places[0] for places in grid]), self._locate([places[-1] for places in grid])
        touched = prod(last.stop - first.start for first, last in zip(*corners, strict=True))
        if lengths == self.shape or touched * self.dtype.itemsize > self.keeps:
            return self._read(box)
        out = np.empty(lengths, self.dtype)
        with self._lock:
            self._fetch(grid)
            for place in product(*grid):
                here = self._locate(place)
                both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(here, box, strict=True)]
                out[shift_box(both, box)] = self._kept[place][shift_box(both, here)]
        return out

    def _locate(self, place: Sequence[int]) -> Box:
        """Return the part of the array that one entry of the cache holds."""
        starts = [number * unit for number, unit in zip(place, self.unit, strict=True)]
        ends = [start + unit for start, unit in zip(starts, self.unit, strict=True)]
        return tuple(slice(a, min(b, length)) for a, b, length in zip(starts, ends, self.shape, strict=True))

    def _fetch(self, grid: Sequence[range]) -> None:
        """Decode the missing ones among the entries of `grid`, in one request, and drop the oldest others."""
        places = list(product(*grid))
        missing = [place for place in places if place not in self._kept]
        for place in places:
            if place in self._kept:
                self._kept.move_to_end(place)
        if not missing:
            return
        corners = [(min(axis), max(axis)) for axis in zip(*missing, strict=True)]
        ends = [(self._locate([low for low, _ in corners])), self._locate([high for _, high in corners])]
        region = tuple(slice(low.start, high.stop) for low, high in zip(*ends, strict=True))
        decoded = self._read(region)
        for place in missing:
            part = decoded[shift_box(self._locate(place), region)].copy()
            self._kept[place] = part
            self.kept_bytes += part.nbytes
        needed = set(places)
        while self.kept_bytes > self.keeps and next(iter(self._kept)) not in needed:
            _, gone = self._kept.popitem(last=False)
            self.kept_bytes -= gone.nbytes


def enlarge_chunks(chunks: Sequence[int], shape: Sequence[int], values: int) -> tuple[int, ...]:
    """Double the shortest axes of a chunk until it has enough values.

    Args:
        chunks: Length of a chunk along each axis.
        shape: Shape of the array, beyond which no axis grows.
        values: Least number of values, where the array has so many.

    Returns:
        Whole multiples of a chunk along each axis.
    """
    unit = list(chunks)
    while prod(unit) < values:
        growing = [axis for axis, length in enumerate(shape) if unit[axis] < length]
        if not growing:
            break
        axis = min(growing, key=lambda axis: (unit[axis], -axis))
        unit[axis] *= 2
    return tuple(unit)


def span_axes(shape: Sequence[int]) -> Box:
    """Return the box of a whole array."""
    return tuple(slice(0, length) for length in shape)


def cut_boxes(shape: Sequence[int], sides: Sequence[int]) -> Iterator[Box]:
    """Yield boxes of `sides`, those at the ends cut off, that tile an array of `shape`; the last axis runs fastest."""
    starts = product(*(range(0, length, side) for length, side in zip(shape, sides, strict=True)))
    for corner in starts:
        places = zip(corner, sides, shape, strict=True)
        yield tuple(slice(start, min(start + side, length)) for start, side, length in places)


def shift_box(box: Sequence[slice], origin: Sequence[slice]) -> Box:
    """Return `box` as counted from the start of `origin`."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, origin, strict=True))


def complete_key(key: Any, axes: int) -> tuple[int | slice, ...] | None:
    """Return a key as whole numbers and slices, one for each of `axes`; None for any other kind of key."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if sum(part is Ellipsis for part in parts) > 1:
        return None
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    at = next(n for n, part in enumerate(parts) if part is Ellipsis)
    parts[at : at + 1] = [slice(None)] * (axes - len(parts) + 1)
    plain = all(isinstance(part, int | np.integer | slice) and not isinstance(part, bool) for part in parts)
    return tuple(parts) if plain and len(parts) == axes else None


def split_key(key: Any, shape: Sequence[int]) -> tuple[Box, tuple[int | slice, ...]] | None:
    """Split a key into the box of all it selects and the key into that box.

    Args:
        key: Any key of numpy's.
        shape: Shape of the array.

    Returns:
        The box and the rest of the key; None for a key that does not consist of whole numbers and slices.

    Raises:
        IndexError: A number is out of bounds.
    """
    parts = complete_key(key, len(shape))
    if parts is None:
        return None
    box, rest = [], list[int | slice]()
    for part, length in zip(parts, shape, strict=True):
        if isinstance(part, slice):
            chosen = range(*part.indices(length))
            ends = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
            box.append(slice(*ends))
            rest.append(slice(None, None, chosen.step))
        else:
            if not -length <= part < length:
                raise IndexError(f"index {part} is out of bounds for an axis of length {length}")
            box.append(slice(part % length, part % length + 1))
            rest.append(0)
    return tuple(box), tuple(rest)


def read_key(key: Any, shape: Sequence[int], read: Callable[[Box], NDArray[Any]]) -> NDArray[Any]:
    """Return what any key of numpy's selects of an array of which boxes can be read.

    Args:
        key: The key.
        shape: Shape of the array.
        read: Reads a box; of a key that `split_key` cannot split, the box of the whole array.

    Raises:
        IndexError: A number is out of bounds.
    """
    found = split_key(key, shape)
    if found is None:
        return np.asarray(read(span_axes(shape))[key])
    box, rest = found
    return np.asarray(read(box)[rest])
