"""Class scores on their way to a mask and to class probabilities, part by part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Chunked, Writable
from bench.arrays.tiles import choose_largest


@dataclass(frozen=True)
class ClassesLast:
    """A writable array (*spatial, K) over one that is stored as (K, *spatial)."""

    stored: Writable

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each spatial axis, and K."""
        classes, *spatial = self.stored.shape
        return (*spatial, classes)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Length of a chunk along each axis; of one row where the array has no chunks."""
        if not isinstance(self.stored, Chunked):
            return (1, *self.shape[1:])
        classes, *spatial = self.stored.chunks
        return (*spatial, classes)

    def __setitem__(self, place: Any, value: NDArray[Any], /) -> None:
        spatial = place if isinstance(place, tuple) else (place,)
        self.stored[(slice(None), *spatial)] = np.moveaxis(value, -1, 0)


@dataclass(frozen=True)
class ScoreWriter:
    """A writable array (*spatial) that is given the scores (K, *part) of each part, and overwrites them.

    Attributes:
        mask: Receives the class with the largest score, the lowest of equals, (*spatial).
        shares: Receives the scores over their sum, (*spatial, K); scores are not negative.
    """

    mask: Writable
    shares: Writable

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each spatial axis."""
        return self.mask.shape

    def __setitem__(self, place: Any, scores: NDArray[np.float32], /) -> None:
        self.shares[place] = np.moveaxis(scores / scores.sum(axis=0), 0, -1)
        self.mask[place] = choose_largest(scores)
