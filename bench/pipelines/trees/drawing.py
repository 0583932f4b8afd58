"""A bounded sample of the training images, drawn class by class so that rare classes are seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
