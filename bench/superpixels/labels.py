"""From masks to nodes and back: classes of the pixels in each superpixel, and labels of nodes painted onto pixels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import RowReader, cut_bands, release
from bench.arrays.scratch import Storage
from bench.arrays.threads import Band, Workers, split_range, start_workers
from bench.config import require

BAND_PIXELS = 1 << 21  # in memory at a time
Mask = NDArray[np.integer]
Votes = tuple[int, NDArray[np.int64], int]
STRIP = 1 << 18  # pixels painted at once


def count_classes(
    mask: Readable,
    segments: Readable,
    num_classes: int,
    ignore_index: int | None = None,
    rows: int | None = None,
    storage: Storage | None = None,
) -> NDArray[np.int64]:
    """Count the pixels of each class in each superpixel.

    Args:
        mask: (*spatial) integer classes; an array, a memory map or a file.
        segments: (*spatial) integer ids 0..N-1, likewise.
        num_classes: Number of classes.
        ignore_index: Pixels of this value are not counted.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.
        storage: Where the result is put; None: in memory.

    Returns:
        Pixels (N, num_classes).

    Raises:
        InputError: The mask holds a class outside [0, num_classes) or no whole number, an id is negative, or the shapes
            differ.
    """
    shapes = f"got {tuple(mask.shape)} and {tuple(segments.shape)}"
    require(tuple(mask.shape) == tuple(segments.shape), f"mask and segments must have one shape, {shapes}")
    with start_workers(tuple(segments.shape)) as workers:
        bands = cut_bands(segments.shape, BAND_PIXELS, rows)
        return _count_bands(mask, segments, num_classes, ignore_index, bands, workers, storage or Storage(None))


def majority_labels(
    mask: Readable, segments: Readable, num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """Find the most frequent class of each superpixel.

    Args:
        mask: (*spatial) integer classes.
        segments: (*spatial) integer ids 0..N-1.
        num_classes: Number of classes.
        ignore_index: Pixels of this value are not counted.

    Returns:
        Classes (N,); ties, and superpixels of ignored pixels, get the lowest class.
    """
    return np.asarray(count_classes(mask, segments, num_classes, ignore_index).argmax(axis=1))


def paint(node_labels: NDArray[np.integer], segments: NDArray[np.integer]) -> NDArray[np.integer]:
    """Give each pixel the label of its superpixel: (N,) and (*spatial) -> (*spatial), of the labels' type.

    Raises `InputError` for an id that has no label: Python would count a negative one from the end.
    """
    node_labels = np.asarray(node_labels)
    require(node_labels.ndim == 1, f"labels must be one number per superpixel, (N,), got the shape {node_labels.shape}")
    flat, labels = np.ravel(segments), np.empty(segments.size, node_labels.dtype)
    for start, stop in cut_bands(flat.shape, STRIP):  # numpy copies what it indexes with, to eight bytes per pixel
        ids = flat[start:stop]
        low, high = int(ids.min()), int(ids.max())
        require(low >= 0, f"ids of superpixels count from 0, got {low}")
        require(high < len(node_labels), f"the superpixel {high} has no label: there are {len(node_labels)}")
        labels[start:stop] = node_labels[ids]
    return labels.reshape(segments.shape)


def paint_oracle(
    mask: NDArray[np.integer], segments: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> NDArray[np.integer]:
    """Paint the mask of a perfect classifier of superpixels: each gets its majority class.

    Args:
        mask: (*spatial) integer classes.
        segments: (*spatial) integer ids 0..N-1.
        num_classes: Number of classes.
        ignore_index: Pixels of this value are not counted.

    Returns:
        Classes (*spatial).
    """
    return paint(majority_labels(mask, segments, num_classes, ignore_index), segments)


def count_pixels(segments: Readable, rows: int | None, workers: Workers, storage: Storage) -> NDArray[np.int64]:
    """Count the pixels of each superpixel.

    Args:
        segments: (*spatial) integer ids 0..N-1.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.
        workers: Threads that share the work on a band.
        storage: Where the result is put.

    Returns:
        Pixels (N,).
    """
    counts = storage.start_sums(1)
    labels = RowReader(segments, np.int32)
    for start, stop in cut_bands(segments.shape, BAND_PIXELS, rows):
        flat = labels.read_rows(start, stop).ravel()

        def count(low: int, high: int, flat: NDArray[np.int32] = flat) -> tuple[int, NDArray[np.int64]]:
            return _count_ids(flat[low:high])  # type: ignore[no-any-return]

        for low, part in workers.run(count, split_range(flat.size, 4 * workers.threads)):
            counts.add(low, part)
        storage.release()
    return counts.finish()[:, 0]


def _count_bands(
    mask: Readable,
    segments: Readable,
    num_classes: int,
    ignore_index: int | None,
    bands: list[Band],
    workers: Workers,
    storage: Storage,
) -> NDArray[np.int64]:
    counts = storage.start_sums(num_classes)
    labels, ignored = RowReader(segments, np.int32), -1 if ignore_index is None else ignore_index
    for start, stop in bands:
        flat = labels.read_rows(start, stop).ravel()
        classes = np.ravel(mask[start:stop])
        whole = classes.dtype.kind in "biu" or bool((classes == np.rint(classes)).all())
        require(whole, "mask must hold whole numbers, one per class, and holds fractions or NaN")
        tasks = split_range(flat.size, 4 * workers.threads)

        def count(low: int, high: int, classes: Mask = classes, flat: NDArray[np.int32] = flat) -> Votes:
            return _count_votes(classes[low:high], flat[low:high], ignored, ignore_index is not None, num_classes)  # type: ignore[no-any-return]

        parts = workers.run(count, tasks)
        for (begin, _), (low, part, stray) in zip(tasks, parts, strict=True):
            require(low >= 0, f"ids of superpixels count from 0, got {low}")
            require(
                stray < 0,
                f"mask must hold classes in [0, {num_classes}) or ignore_index {ignore_index}, got "
                f"{classes[begin + max(stray, 0)]}",
            )
            counts.add(low, part)
        release(mask)
        storage.release()
    return counts.finish()


@njit(cache=True, nogil=True)
def _find_range(segments):  # type: ignore[no-untyped-def]
    """Return the lowest and the highest id."""
    low, high = segments[0], segments[0]
    for segment in segments:
        low, high = min(low, segment), max(high, segment)
    return low, high


@njit(cache=True, nogil=True)
def _count_ids(segments):  # type: ignore[no-untyped-def]
    """Return the lowest id, and the pixels of each id from it on (ids, 1)."""
    low, high = _find_range(segments)
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
def _count_votes(mask, segments, ignored, ignoring, num_classes):  # type: ignore[no-untyped-def]
    """Count classes by id, run by run.

    Args:
        mask: Classes (pixels,).
        segments: Ids (pixels,).
        ignored: Class that is not counted.
        ignoring: Whether there is such a class.
        num_classes: Number of classes.

    Returns:
        The lowest id; pixels (ids, num_classes) of each id from it on; place of a class outside the range, else -1.
    """
    low, high = _find_range(segments)
    counts = np.zeros((high - low + 1, num_classes), dtype=np.int64)
    begin = 0
    while begin < segments.size:
        segment, label, pixel = segments[begin], mask[begin], begin + 1
        while pixel < segments.size and segments[pixel] == segment and mask[pixel] == label:
            pixel += 1
        value = np.int64(label)
        if not (ignoring and value == ignored):
            if value < 0 or value >= num_classes:
                return low, counts, begin
            counts[segment - low, value] += pixel - begin
        begin = pixel
    return low, counts, -1
