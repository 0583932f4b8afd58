"""Where the pixels of each class are, as counts per line, so that a pixel of a rare class can be drawn. Numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands

BAND_PIXELS = 1 << 20  # of a mask, counted at once


@dataclass(frozen=True)
class Foreground:
    """Cumulative counts of some classes over the lines of pixels of all masks, in order.

    `cumulative` (lines, classes left) int64; `labels` (classes left,); `first` (masks + 1,) the first line of a mask.
    """

    masks: Sequence[Readable]
    cumulative: NDArray[np.int64]
    labels: NDArray[np.intp]
    first: NDArray[np.int64]

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """A mask and a position in it: one of the classes evenly, then one of its pixels evenly."""
        column = int(rng.integers(len(self.labels)))
        line = int(np.searchsorted(self.cumulative[:, column], rng.integers(self.cumulative[-1, column]), side="right"))
        which = int(np.searchsorted(self.first, line, side="right")) - 1
        mask = self.masks[which]
        place = np.unravel_index(line - self.first[which], mask.shape[:-1])
        pixels = mask[tuple(slice(int(index), int(index) + 1) for index in place)].ravel()
        (columns,) = np.nonzero(pixels == self.labels[column])
        return which, (*(int(index) for index in place), int(rng.choice(columns)))


def find_foreground(
    masks: Sequence[Readable],
    num_classes: int,
    ignore_index: int | None = None,
    chosen: NDArray[np.intp] | None = None,
) -> Foreground | None:
    """Count the classes of masks line by line.

    Args:
        masks: Masks (*spatial) of class numbers.
        num_classes: K.
        ignore_index: Number that is no class; None: there is none.
        chosen: The classes that are meant, of those that occur; None: all but the most frequent one.

    Returns:
        Where the pixels of each class are; None where no such class occurs.
    """
    counts = [_line_counts(mask, num_classes, ignore_index) for mask in masks]
    lines = np.concatenate(counts)
    total = lines.sum(axis=0)
    meant = np.arange(num_classes) != total.argmax() if chosen is None else np.isin(np.arange(num_classes), chosen)
    labels = np.flatnonzero((total > 0) & meant)
    if len(labels) == 0:
        return None
    first = np.cumsum([0, *(len(count) for count in counts)])
    return Foreground(masks, np.cumsum(lines[:, labels], axis=0), labels, first)


def _line_counts(mask: Readable, num_classes: int, ignore_index: int | None) -> NDArray[np.int64]:
    """Pixels of each class (lines, K) in the lines along the last axis; read band by band."""
    counted = []
    for start, stop in cut_bands(mask.shape, BAND_PIXELS):
        lines = mask[start:stop].reshape(-1, mask.shape[-1])  # (lines, width)
        counted.append(
            np.stack([(lines == label).sum(axis=1) * (label != ignore_index) for label in range(num_classes)], axis=1)
        )
    return np.concatenate(counted)
