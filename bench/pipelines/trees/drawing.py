"""A bounded sample of the training images, drawn class by class so that rare classes are seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source
from bench.arrays.rows import cut_bands

BAND_VALUES = 1 << 20  # of a mask in memory at a time


@dataclass(frozen=True)
class Draw:
    """What was drawn of some images.

    Attributes:
        members: Of each image and each class, which of its members were drawn, ascending: 0 is the first member of
            that class in that image.
        weights: Members of each class over those drawn of it, (K,); 0 for a class that never occurs.
    """

    members: Sequence[Sequence[NDArray[np.int64]]]
    weights: NDArray[np.float64]


def draw_by_class(counts: NDArray[np.integer], most: int, rng: np.random.Generator) -> Draw:
    """Draw as many members of each class as of every other, or all where a class has fewer.

    Weights give the classes back their shares. On the validation images of three sets, forests of such samples scored
    higher than those of plain samples where classes are confused, and higher than those without the weights elsewhere.

    Args:
        counts: Members of each class in each image, (I, K).
        most: Members to draw at most.
        rng: Decides which.

    Returns:
        The draw.
    """
    totals = counts.sum(axis=0)
    shares = _share_out(totals, most)
    ends = np.cumsum(counts, axis=0)  # (I, K)
    chosen = [
        np.sort(rng.choice(int(total), int(share), replace=False)) for total, share in zip(totals, shares, strict=True)
    ]
    members = [
        [
            drawn[(drawn >= ends[image, label] - counts[image, label]) & (drawn < ends[image, label])]
            - (ends[image, label] - counts[image, label])
            for label, drawn in enumerate(chosen)
        ]
        for image in range(len(counts))
    ]
    return Draw(members, totals / np.maximum(shares, 1))


def _share_out(totals: NDArray[np.integer], most: int) -> NDArray[np.int64]:
    """Members to draw of each class, (K,): equal shares, and what small classes leave goes to the others."""
    shares, left = np.zeros(len(totals), np.int64), most
    for done, label in enumerate(np.argsort(totals, kind="stable")):
        shares[label] = min(int(totals[label]), left // (len(totals) - done))
        left -= int(shares[label])
    return shares


def find_members(
    mask: Source, members: Sequence[NDArray[np.int64]], band_values: int = BAND_VALUES
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pixels that were drawn of a mask.

    Args:
        mask: Classes (*spatial), read once in bands of about `band_values`.
        members: Of each class, which of its pixels, ascending, as in `Draw`.
        band_values: Pixels in memory at a time.

    Returns:
        Places (N,) in the mask laid out as one line, and the classes there (N,): ascending by place.
    """
    seen, before = np.zeros(len(members), np.int64), 0
    places, labels = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start, stop in cut_bands(mask.shape, band_values):
        band = np.ravel(mask[start:stop])
        for label, drawn in enumerate(members):
            own = np.flatnonzero(band == label)
            first, last = np.searchsorted(drawn, (seen[label], seen[label] + len(own)))
            places.append(own[drawn[first:last] - seen[label]] + before)
            labels.append(np.full(last - first, label))
            seen[label] += len(own)
        before += len(band)
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(places)[order], np.concatenate(labels)[order]
