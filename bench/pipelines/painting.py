"""Votes of superpixels painted onto pixels: whole masks, and masks and probabilities that need not fit in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Writable
from bench.arrays.rows import count_rows, cut_bands, release
from bench.arrays.threads import Band
from bench.pipelines.shares import ClassesLast, ScoreWriter
from bench.superpixels.labels import paint
from bench.superpixels.views import paint_mean

CHUNK_ROWS = 512  # bands of so many rows, or of a multiple, fill the chunks of most files
Segments = Sequence[NDArray[np.int32]]


def paint_views(votes: Sequence[NDArray[Any]], segments: Segments) -> NDArray[np.integer]:
    """The mask of one segmentation with the classes (N,) of its nodes, or of several with scores (N, K) of theirs."""
    return paint(votes[0], segments[0]) if len(votes) == 1 else paint_mean(votes, segments)


def paint_by_bands(
    votes: Sequence[NDArray[Any]], segments: Segments, out: Writable, pixels: int, progress: Callable[[float], None]
) -> None:
    """Paint what `paint_views` paints, band by band.

    Args:
        votes: As in `paint_views`.
        segments: Segments (*spatial) of each view; the pages of memory maps are handed back.
        out: Receives the classes (*spatial).
        pixels: About how many pixels are painted at once.
        progress: Called with the share done, in (0, 1].
    """
    for start, stop in cut_painting_bands(segments[0].shape, pixels):
        out[start:stop] = paint_views(votes, [ids[start:stop] for ids in segments])
        _release_all([*votes, *segments, out])
        progress(stop / len(segments[0]))


def paint_probabilities(
    votes: Sequence[NDArray[np.float32]],
    segments: Segments,
    mask: Writable,
    shares: Writable,
    pixels: int,
    progress: Callable[[float], None],
) -> None:
    """Paint class probabilities and their mask, band by band; of several views by the mean of log p.

    Args:
        votes: Log p (N, K) of the nodes of each view.
        segments: As in `paint_by_bands`.
        mask: Receives the classes (*spatial).
        shares: Receives the probabilities (K, *spatial).
        pixels: About how many probabilities are painted at once.
        progress: Called with the share done, in (0, 1].
    """
    writer = ScoreWriter(mask, ClassesLast(shares))
    for start, stop in cut_painting_bands(segments[0].shape, pixels // votes[0].shape[1]):
        bands = [nodes.T[:, ids[start:stop]] for nodes, ids in zip(votes, segments, strict=True)]
        writer[start:stop] = np.exp(sum(bands[1:], bands[0]) / np.float32(len(bands)))
        _release_all([*votes, *segments])
        progress(stop / len(segments[0]))


def _release_all(arrays: Sequence[Any]) -> None:
    """Hand back the pages of memory maps among some arrays."""
    for array in arrays:
        release(array)


def cut_painting_bands(shape: tuple[int, ...], pixels: int) -> list[Band]:
    """First row and end of bands of about `pixels` pixels of an array of `shape`, in whole chunks where those fit."""
    rows = count_rows(shape, pixels)
    return cut_bands(shape, rows=rows // CHUNK_ROWS * CHUNK_ROWS or rows)
