"""From mask to nodes and back: votes of the pixels in each superpixel, and nodes painted onto pixels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands, release
from bench.arrays.threads import Workers, split_range, start_workers

BAND_PIXELS = 1 << 23  # in memory at a time
Mask = NDArray[np.integer]
Votes = tuple[int, NDArray[np.int64], int]
STRIP = 1 << 18  # pixels painted at once


def count_classes(
    mask: Readable, segments: Readable, num_classes: int, ignore_index: int | None = None, rows: int | None = None
) -> NDArray[np.int64]:
    """Pixels of each class in each superpixel: (N, num_classes). Pixels of `ignore_index` are counted nowhere.

    Both may be memory maps or files, walked in bands of about `rows` rows. Raises ValueError for shapes that differ and
    for classes outside [0, num_classes).
    """
    if tuple(mask.shape) != tuple(segments.shape):
        raise ValueError(f"mask and segments must have one shape, got {mask.shape} and {segments.shape}")
    with start_workers(tuple(segments.shape)) as workers:
        return _votes(mask, segments, num_classes, ignore_index, rows, workers)


def majority_labels(
    mask: Readable, segments: Readable, num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """Most frequent class of each superpixel: (N,). Ties, and superpixels of ignored pixels, get the lowest index."""
    return np.asarray(count_classes(mask, segments, num_classes, ignore_index).argmax(axis=1))


def paint(node_labels: NDArray[np.integer], segments: NDArray[np.integer]) -> NDArray[np.integer]:
    """Give each pixel the label of its superpixel: (N,) and (*spatial) -> (*spatial), of the labels' type."""
    flat, painted = np.ravel(segments), np.empty(segments.size, node_labels.dtype)
    for start in range(0, flat.size, STRIP):  # numpy copies what it indexes with, to eight bytes per pixel
        painted[start : start + STRIP] = node_labels[flat[start : start + STRIP]]
    return painted.reshape(segments.shape)


def paint_oracle(
    mask: NDArray[np.integer], segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> NDArray[np.integer]:
    """The mask that a perfect classifier of these superpixels would paint: their majority classes."""
    return paint(majority_labels(mask, segments, num_classes, ignore_index), segments)


def count_pixels(segments: Readable, rows: int | None, workers: Workers) -> NDArray[np.int64]:
    """Pixels of each superpixel, (N,), in bands of about `rows` rows."""
    shape = tuple(segments.shape)
    counts = np.zeros((0, 1), np.int64)
    labels = RowReader(segments, np.int32)
    for start, stop in cut_bands(shape, BAND_PIXELS, rows):
        flat = labels.read_rows(start, stop).ravel()

        def count(low: int, high: int, flat: NDArray[np.int32] = flat) -> tuple[int, NDArray[np.int64]]:
            return _sizes(flat[low:high])  # type: ignore[no-any-return]

        for low, part in workers.run(count, split_range(flat.size, 4 * workers.threads)):
            counts = _added(counts, low, part)
    return counts[:, 0]


def _votes(
    mask: Readable, segments: Readable, num_classes: int, ignore_index: int | None, rows: int | None, workers: Workers
) -> NDArray[np.int64]:
    counts = np.zeros((0, num_classes), np.int64)
    labels, ignored = RowReader(segments, np.int32), -1 if ignore_index is None else ignore_index
    for start, stop in cut_bands(segments.shape, BAND_PIXELS, rows):
        flat = labels.read_rows(start, stop).ravel()
        classes = np.ravel(mask[start:stop])

        tasks = split_range(flat.size, 4 * workers.threads)

        def count(low: int, high: int, classes: Mask = classes, flat: NDArray[np.int32] = flat) -> Votes:
            return _count(classes[low:high], flat[low:high], ignored, ignore_index is not None, num_classes)  # type: ignore[no-any-return]

        parts = workers.run(count, tasks)
        for (begin, _), (low, part, stray) in zip(tasks, parts, strict=True):
            if stray >= 0:
                value = classes[begin + stray]
                raise ValueError(
                    f"mask must hold classes in [0, {num_classes}) or ignore_index {ignore_index}, got {value}"
                )
            counts = _added(counts, low, part)
        release(mask)
    return counts


def _added(total: NDArray[np.int64], first: int, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """`total` with the rows of `part` added from row `first` on, longer where need be."""
    end = first + len(part)
    if end > len(total):
        total = np.concatenate([total, np.zeros((max(end, len(total)) - len(total), part.shape[1]), np.int64)])
    total[first:end] += part
    return total


@njit(cache=True, nogil=True)
def _range(segments):  # type: ignore[no-untyped-def]
    low, high = segments[0], segments[0]
    for segment in segments:
        low, high = min(low, segment), max(high, segment)
    return low, high


@njit(cache=True, nogil=True)
def _sizes(segments):  # type: ignore[no-untyped-def]
    """The lowest id, and the pixels of each id from it on (ids, 1)."""
    low, high = _range(segments)
    counts = np.zeros((high - low + 1, 1), dtype=np.int64)
    begin = 0
    while begin < segments.size:
        segment, pixel = segments[begin], begin + 1
        while pixel < segments.size and segments[pixel] == segment:
            pixel += 1
        counts[segment - low, 0] += pixel - begin
        begin = pixel
    return low, counts


@njit(cache=True, nogil=True)
def _count(mask, segments, ignored, ignoring, num_classes):  # type: ignore[no-untyped-def]
    """The lowest id; votes from it on (ids, classes); the place of a class that there is not, else -1."""
    low, high = _range(segments)
    counts = np.zeros((high - low + 1, num_classes), dtype=np.int64)
    begin = 0
    while begin < segments.size:
        segment, given, pixel = segments[begin], mask[begin], begin + 1
        while pixel < segments.size and segments[pixel] == segment and mask[pixel] == given:
            pixel += 1
        value = np.int64(given)
        if not (ignoring and value == ignored):
            if value < 0 or value >= num_classes:
                return low, counts, begin
            counts[segment - low, value] += pixel - begin
        begin = pixel
    return low, counts, -1
