"""Images cut into overlapping windows, and windows put together again without seams. Any number of axes, numpy only.

Tiled equals untiled: a network of total stride s whose receptive field reaches no further than `overlap` pixels gives
every kept pixel the value that it would give on the whole image, provided that window origins are multiples of s and
that the image is extended to a multiple of s in the same way. `cut_windows(..., stride=s)` and `read_padded` do both.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product, starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable, Writable


@dataclass(frozen=True)
class Window:
    """One tile: the part of the image that it reads and the part of the result that it fills, a slice per spatial axis.

    `read` may reach beyond the end of the image (see `read_padded`), never before its start; `keep` never does.
    """

    read: tuple[slice, ...]
    keep: tuple[slice, ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """`keep` as counted from the origin of the tile."""
        return tuple(
            slice(kept.start - seen.start, kept.stop - seen.start)
            for kept, seen in zip(self.keep, self.read, strict=True)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the tile along each axis."""
        return tuple(seen.stop - seen.start for seen in self.read)


def cut_windows(
    shape: Sequence[int], tile_size: int | Sequence[int], overlap: int | Sequence[int], stride: int | Sequence[int] = 1
) -> list[Window]:
    """Cut an image into windows whose `keep` parts cover it once.

    A pixel is kept by the window in which it lies furthest inside, so at least `overlap` from every edge that is not
    an edge of the image. An axis is covered by as few windows as `tile_size` allows, and these are as short as their
    number allows, so that little is computed twice: an axis shorter than a tile is one shorter window. All windows of
    an image have the same size.

    Args:
        shape: Spatial shape of the image in pixels.
        tile_size: Longest side of a window in pixels, for all axes or one number per axis.
        overlap: Pixels of halo on each inner side, for all axes or one number per axis.
        stride: Window origins and sizes are multiples of it, for all axes or one number per axis.

    Returns:
        The windows, the last axis running fastest.

    Raises:
        ValueError: A tile is no multiple of the stride, or the overlap leaves no room for a step.
    """
    axes = len(shape)
    sizes = zip(shape, _repeat(tile_size, axes), _repeat(overlap, axes), _repeat(stride, axes), strict=True)
    spans = starmap(_cut_axis, sizes)
    return [Window(tuple(seen for seen, _ in pairs), tuple(kept for _, kept in pairs)) for pairs in product(*spans)]


def _repeat(value: int | Sequence[int], axes: int) -> Sequence[int]:
    return [value] * axes if isinstance(value, int) else value


def _cut_axis(length: int, tile_size: int, overlap: int, stride: int) -> list[tuple[slice, slice]]:
    """Return (read, keep) of each window along one axis."""
    if length < 1 or tile_size < 1 or tile_size % stride:
        raise ValueError(f"an axis of {length} pixels cannot be cut into tiles of {tile_size} with stride {stride}")
    extended = -(-length // stride) * stride
    size = min(tile_size, extended)
    step = (tile_size - 2 * overlap) // stride * stride
    if overlap < 0 or step < 1:
        limit = (tile_size - stride) // 2
        raise ValueError(f"overlap must lie in [0, {limit}], got {overlap} with tile_size {tile_size}, stride {stride}")
    gaps = -(-(extended - size) // step)
    while gaps and (size - stride - 2 * overlap) // stride * stride * gaps + size - stride >= extended:
        size -= stride
    room = (extended - size) // stride
    origins = [room * index // gaps * stride for index in range(gaps + 1)] if gaps else [0]
    cuts = [(before + size + after) // 2 for before, after in pairwise(origins)]
    edges = [0, *cuts, length]
    return [
        (slice(origin, origin + size), slice(start, stop))
        for origin, (start, stop) in zip(origins, pairwise(edges), strict=True)
    ]


def read_padded(image: Readable, where: Sequence[slice]) -> NDArray[Any]:
    """Read the part of `image` (*spatial, ...) at `where`, a slice per spatial axis; beyond the edges, its reflection.

    The mirror does not repeat the edge pixel and goes back and forth as often as needed. Only the pixels that are
    needed are read from `image`.
    """
    if all(part.start >= 0 and part.stop <= length for part, length in zip(where, image.shape, strict=False)):
        return image[tuple(where)]
    indices = [_reflect(part.start, part.stop, length) for part, length in zip(where, image.shape, strict=False)]
    block = image[tuple(slice(index.min(), index.max() + 1) for index in indices)]
    for axis, index in enumerate(indices):
        block = block.take(index - index.min(), axis=axis)
    return block


def _reflect(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return the indices in [0, length) of the positions start..stop of an axis that is reflected endlessly."""
    period = max(2 * (length - 1), 1)
    folded = np.arange(start, stop) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def stitch(tiles: Iterable[tuple[Window, NDArray[Any]]], out: Writable) -> None:
    """Write the part that each window keeps of its tile (*tile, ...) into `out` (*spatial, ...) without the halo."""
    for window, tile in tiles:
        out[window.keep] = tile[window.inner]


def choose_largest(scores: NDArray[np.float32]) -> NDArray[np.integer]:
    """Return the index of the largest of `scores` (K, ...) along the first axis, the first of equals; overwrite them.

    Faster than numpy's argmax, which puts the axis last in a copy.
    """
    best = scores[0]
    classes = np.zeros(best.shape, np.min_scalar_type(len(scores) - 1))
    for index, more in enumerate(scores[1:], start=1):
        np.putmask(classes, more > best, index)
        np.maximum(best, more, out=best)
    return classes


def blend(
    cut: Sequence[Window],
    tiles: Iterable[NDArray[np.float32]],
    out: Writable,
    choose: Callable[[NDArray[np.float32]], NDArray[Any]] = choose_largest,
) -> None:
    """Write the class with the largest sum of scores over all windows that hold a pixel; ties go to the lowest class.

    Each tile is weighted by a Gaussian of an eighth of its size that is nowhere zero, one vector per axis. Sums are
    carried on only where a further window holds the pixel: along the first axis the rows that two tiles share, along
    the last one the columns that two neighbours share. The rest of a tile is written out at once. As only the largest
    counts, the sums need no division by the sum of weights.

    Args:
        cut: The windows that `cut_windows` returned, in their order.
        tiles: Scores (K, *tile) of each window; they are overwritten.
        out: Array (*spatial) that receives the classes.
        choose: What is written of the finished sums (K, ...); it may overwrite them.
    """
    if not cut:
        return
    size, axes = cut[0].shape, range(len(cut[0].shape))
    spans = [_measure_spans({window.read[axis].start for window in cut}, size[axis], out.shape[axis]) for axis in axes]
    weights = [sample_weights(length) for length in size]
    carried: list[NDArray[np.float32]] = []
    places = product(*spans)
    for tile in tiles:  # zip would hold on to the last tile, and so to its batch, while the next one is made
        place = next(places)
        if not carried:
            carried = [_allocate_carried(len(tile), axis, spans, size, out.shape) for axis in axes]
        sums = tile[(slice(None), *(slice(0, span.end) for span in place))]
        del tile
        for axis in axes:
            if size[axis] > 1:
                sums *= weights[axis][: place[axis].end].reshape(-1, *(1 for _ in axes[axis + 1 :]))
        _add_carried(sums, place, carried)
        _carry_on(sums, place, carried)
        finished = sums[(slice(None), *(slice(0, span.done) for span in place))]
        out[tuple(slice(span.start, span.start + span.done) for span in place)] = choose(finished)
        del sums, finished


@dataclass(frozen=True)
class _Span:
    """A window along one axis: its start in the image and, counted from there, three ends.

    `seen` is the end of what the window before it holds too, `done` the end of what no further window holds, and `end`
    its own end within the image.
    """

    start: int
    seen: int
    done: int
    end: int


def _measure_spans(starts: Iterable[int], size: int, length: int) -> list[_Span]:
    """Return the windows of `size` pixels that begin at `starts`, along an axis of `length` pixels."""
    found, ordered = [], sorted(starts)
    for before, start, after in zip([-size, *ordered], ordered, [*ordered[1:], length], strict=False):
        end = min(start + size, length)
        found.append(_Span(start, max(min(before + size, end) - start, 0), min(after, end) - start, end - start))
    return found


def _allocate_carried(
    classes: int, axis: int, spans: Sequence[Sequence[_Span]], size: Sequence[int], shape: Sequence[int]
) -> NDArray[np.float32]:
    """Allocate the sums that windows along `axis` carry on to the next one: (K, *tile before, shared, *image after)."""
    shared = max(span.end - span.done for span in spans[axis])
    return np.empty((classes, *size[:axis], shared, *shape[axis + 1 :]), np.float32)


def _add_carried(sums: NDArray[np.float32], place: Sequence[_Span], carried: Sequence[NDArray[np.float32]]) -> None:
    """Add the sums of earlier windows, of each pixel from the axis along which they were carried on last."""
    for axis, sofar in enumerate(carried):
        lead = (slice(None), *(slice(0, span.end) for span in place[:axis]), slice(0, place[axis].seen))
        rest = place[axis + 1 :]
        new = sums[(*lead, *(slice(span.seen, span.end) for span in rest))]
        new += sofar[(*lead, *(slice(span.start + span.seen, span.start + span.end) for span in rest))]


def _carry_on(sums: NDArray[np.float32], place: Sequence[_Span], carried: Sequence[NDArray[np.float32]]) -> None:
    """Keep the sums of pixels that further windows hold, of each pixel along the last axis on which one does."""
    for axis, sofar in enumerate(carried):
        span, rest = place[axis], place[axis + 1 :]
        lead = (slice(None), *(slice(0, before.end) for before in place[:axis]))
        target = (*lead, slice(0, span.end - span.done), *(slice(one.start, one.start + one.done) for one in rest))
        sofar[target] = sums[(*lead, slice(span.done, span.end), *(slice(0, one.done) for one in rest))]


def sample_weights(length: int) -> NDArray[np.float32]:
    """Return weights (length,) along an axis: a Gaussian around its centre, sigma an eighth of `length`, at least 1."""
    offset = (np.arange(length) - (length - 1) / 2) / max(length / 8, 1)
    weights: NDArray[np.float32] = np.exp(-0.5 * offset**2).astype(np.float32)
    return weights
