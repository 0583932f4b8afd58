"""Arrays that are decoded chunk by chunk, with the latest chunks kept, so that no chunk is decoded twice.

The keys of such arrays are resolved into boxes by `split_key`.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
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

    Two layers of chunks along `band_axis` are kept, which serves a walk in bands or in overlapping tiles, but never
    more than `KEPT_BYTES`. A request for more than that, or for everything, is decoded and not kept.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        read: Callable[[Box], NDArray[Any]],
        band_axis: int = 0,
        keeps: int | None = None,
    ) -> None:
        self.shape, self.dtype, self.ndim, self._read = shape, dtype, len(shape), read
        self.unit = enlarge_chunks(chunks, shape)
        layer = prod(shape) // shape[band_axis] * min(self.unit[band_axis], shape[band_axis]) * dtype.itemsize
        self.keeps = min(2 * layer, KEPT_BYTES) if keeps is None else keeps
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if found is None:
            return np.asarray(self._read(span_axes(self.shape))[key])
        box, rest = found
        return self._box(box)[rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._read(span_axes(self.shape)).astype(dtype or self.dtype, copy=False)

    def _box(self, box: Box) -> NDArray[Any]:
        lengths = tuple(part.stop - part.start for part in box)
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        grid = [range(part.start // unit, -(-part.stop // unit)) for part, unit in zip(box, self.unit, strict=True)]
        corners = self._place([places[0] for places in grid]), self._place([places[-1] for places in grid])
        touched = prod(last.stop - first.start for first, last in zip(*corners, strict=True))
        if lengths == self.shape or touched * self.dtype.itemsize > self.keeps:
            return self._read(box)
        out = np.empty(lengths, self.dtype)
        with self._lock:
            self._fetch(grid)
            for place in product(*grid):
                here = self._place(place)
                both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(here, box, strict=True)]
                out[shift_box(both, box)] = self._kept[place][shift_box(both, here)]
        return out

    def _place(self, place: Sequence[int]) -> Box:
        """The part of the array that one entry holds."""
        starts = [number * unit for number, unit in zip(place, self.unit, strict=True)]
        ends = [start + unit for start, unit in zip(starts, self.unit, strict=True)]
        return tuple(slice(a, min(b, length)) for a, b, length in zip(starts, ends, self.shape, strict=True))

    def _fetch(self, grid: Sequence[range]) -> None:
        """Decode what is missing among the entries of `grid`, in one request, and let the oldest others go."""
        places = list(product(*grid))
        missing = [place for place in places if place not in self._kept]
        for place in places:
            if place in self._kept:
                self._kept.move_to_end(place)
        if not missing:
            return
        corners = [(min(axis), max(axis)) for axis in zip(*missing, strict=True)]
        ends = [(self._place([low for low, _ in corners])), self._place([high for _, high in corners])]
        region = tuple(slice(low.start, high.stop) for low, high in zip(*ends, strict=True))
        decoded = self._read(region)
        for place in missing:
            part = decoded[shift_box(self._place(place), region)].copy()
            self._kept[place] = part
            self._bytes += part.nbytes
        needed = set(places)
        while self._bytes > self.keeps and next(iter(self._kept)) not in needed:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.nbytes


def enlarge_chunks(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Whole multiples of a chunk, at least `UNIT_VALUES` values where the array has so many."""
    unit = list(chunks)
    while prod(unit) < UNIT_VALUES:
        growing = [axis for axis, length in enumerate(shape) if unit[axis] < length]
        if not growing:
            break
        axis = min(growing, key=lambda axis: (unit[axis], -axis))
        unit[axis] *= 2
    return tuple(unit)


def span_axes(shape: Sequence[int]) -> Box:
    return tuple(slice(0, length) for length in shape)


def shift_box(box: Sequence[slice], origin: Sequence[slice]) -> Box:
    """`box` as seen from the start of `origin`."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, origin, strict=True))


def complete_key(key: Any, axes: int) -> tuple[int | slice, ...] | None:
    """A key of whole numbers and slices, one for each axis; None for any other kind of key."""
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
    """The box that holds all that `key` asks for, and the key into that box; None for a key that is no plain one."""
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
