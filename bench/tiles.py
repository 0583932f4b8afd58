"""Images cut into overlapping windows, and windows put together again without seams. Any number of axes, numpy only.

Tiled equals untiled: a network of total stride s whose receptive field reaches no further than `overlap` pixels gives
every kept pixel the value that it would give on the whole image, provided that window origins are multiples of s and
that the image is extended to a multiple of s in the same way. `windows(..., stride=s)` and `read` see to both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product, starmap
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Readable(Protocol):
    """An array that can be sliced; it need not be in memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


class Writable(Protocol):
    """An array whose parts can be assigned; it need not be in memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...


@dataclass(frozen=True)
class Window:
    """One tile: what it reads and what it is trusted with. Slices of the image, one per spatial axis.

    `read` may reach beyond the end of the image (see `read`), never before its start; `keep` never does.
    """

    read: tuple[slice, ...]
    keep: tuple[slice, ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """`keep`, counted from the tile's own origin."""
        return tuple(
            slice(kept.start - seen.start, kept.stop - seen.start)
            for kept, seen in zip(self.keep, self.read, strict=True)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(seen.stop - seen.start for seen in self.read)


def windows(
    shape: Sequence[int], tile_size: int | Sequence[int], overlap: int | Sequence[int], stride: int | Sequence[int] = 1
) -> list[Window]:
    """Windows whose `keep` parts cover an image of `shape` once, the last axis running fastest.

    `tile_size`, `overlap` (pixels of halo on each inner side) and `stride` hold for all axes, or one number per axis.
    Window origins and sizes are multiples of `stride`. A pixel is kept by the window in which it lies furthest
    inside, so at least `overlap` from every edge that is not an edge of the image. An axis shorter than a tile, once
    extended to a multiple of `stride`, is covered by one shorter window. All windows of an image have the same size.

    Raises `ValueError` for a tile that is no multiple of the stride, or an overlap that leaves no room for a step.
    """
    axes = len(shape)
    sizes = zip(shape, _per_axis(tile_size, axes), _per_axis(overlap, axes), _per_axis(stride, axes), strict=True)
    spans = starmap(_axis_spans, sizes)
    return [Window(tuple(seen for seen, _ in pairs), tuple(kept for _, kept in pairs)) for pairs in product(*spans)]


def _per_axis(value: int | Sequence[int], axes: int) -> Sequence[int]:
    return [value] * axes if isinstance(value, int) else value


def _axis_spans(length: int, tile_size: int, overlap: int, stride: int) -> list[tuple[slice, slice]]:
    """(read, keep) along one axis."""
    if length < 1 or tile_size < 1 or tile_size % stride:
        raise ValueError(f"an axis of {length} pixels cannot be cut into tiles of {tile_size} with stride {stride}")
    extended = -(-length // stride) * stride
    size = min(tile_size, extended)
    step = (tile_size - 2 * overlap) // stride * stride
    if overlap < 0 or step < 1:
        limit = (tile_size - stride) // 2
        raise ValueError(f"overlap must lie in [0, {limit}], got {overlap} with tile_size {tile_size}, stride {stride}")
    gaps = -(-(extended - size) // step)
    room = (extended - size) // stride
    origins = [room * index // gaps * stride for index in range(gaps + 1)] if gaps else [0]
    cuts = [(before + size + after) // 2 for before, after in pairwise(origins)]
    edges = [0, *cuts, length]
    return [
        (slice(origin, origin + size), slice(start, stop))
        for origin, (start, stop) in zip(origins, pairwise(edges), strict=True)
    ]


def read(image: Readable, where: Sequence[slice]) -> NDArray[Any]:
    """The part of `image` (*spatial, ...) at `where`, one slice per spatial axis; beyond its edges, its mirror image.

    The mirror does not repeat the edge pixel and goes back and forth as often as needed. Only the pixels that are
    needed are read from `image`.
    """
    if all(part.start >= 0 and part.stop <= length for part, length in zip(where, image.shape, strict=False)):
        return image[tuple(where)]
    indices = [_mirrored(part.start, part.stop, length) for part, length in zip(where, image.shape, strict=False)]
    block = image[tuple(slice(index.min(), index.max() + 1) for index in indices)]
    for axis, index in enumerate(indices):
        block = block.take(index - index.min(), axis=axis)
    return block


def _mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Indices in [0, length) of the positions start..stop of an endlessly mirrored axis."""
    period = max(2 * (length - 1), 1)
    folded = np.arange(start, stop) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def stitch(tiles: Iterable[tuple[Window, NDArray[Any]]], out: Writable) -> None:
    """Write what each window keeps of its tile (*tile, ...) into `out` (*spatial, ...); the halo is discarded."""
    for window, tile in tiles:
        out[window.keep] = tile[window.inner]


def blend(tiles: Iterable[tuple[Window, NDArray[np.float32]]], out: Writable) -> None:
    """Write into `out` (*spatial) the class with the largest sum of scores over the windows that see the pixel.

    Tiles are (*tile, K) scores, in the order of `windows`; each is weighted by a Gaussian of an eighth of its size
    that is nowhere zero. Ties go to the lowest class. Scores are held for one band of tiles along the first axis at a
    time, and written out as soon as no further window can see them. As only the largest counts, the sums need no
    division by the sum of weights.
    """
    scores: NDArray[np.float32] | None = None  # (rows of a tile, *rest of the image, K)
    weights: NDArray[np.float32] | None = None
    start = 0
    for window, tile in tiles:
        if scores is None or weights is None:
            weights = _gaussian(window.shape)
            scores = np.zeros((window.shape[0], *out.shape[1:], tile.shape[-1]), np.float32)
        row = window.read[0].start
        if row > start:
            _write_classes(scores[: row - start], start, out)
            scores = _shifted(scores, row - start)
            start = row
        inside = tuple(
            slice(0, min(seen.stop, length) - seen.start) for seen, length in zip(window.read, out.shape, strict=True)
        )
        target = (inside[0], *(slice(seen.start, seen.stop) for seen in window.read[1:]))
        scores[target] += (tile * weights[..., None])[inside]
        del tile  # the batch it is a part of, before the next one is made
    if scores is not None:
        _write_classes(scores, start, out)


def _gaussian(shape: Sequence[int]) -> NDArray[np.float32]:
    """Weights (*shape): a Gaussian around the centre with an eighth of each axis as its sigma, at least 1e-4."""
    weights = np.ones(())
    for length in shape:
        offset = (np.arange(length) - (length - 1) / 2) / max(length / 8, 1)
        weights = weights[..., None] * np.exp(-0.5 * offset**2)
    return np.maximum(weights, 1e-4).astype(np.float32)


def _shifted(scores: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """`scores` moved up by `rows`, in place; zeros follow."""
    kept = max(len(scores) - rows, 0)
    scores[:kept] = scores[len(scores) - kept :]  # numpy copies overlapping ranges safely
    scores[kept:] = 0
    return scores


def _write_classes(scores: NDArray[np.float32], start: int, out: Writable) -> None:
    rows = min(len(scores), out.shape[0] - start)
    out[start : start + rows] = scores[:rows].argmax(axis=-1)
