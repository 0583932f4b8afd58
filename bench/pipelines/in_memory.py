"""Images and masks decoded while an arm works on one of them: in the type of their file, or read by rows."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable, Source
from bench.arrays.rows import read_by_rows
from bench.datasets.sample import Holdable, hold_source
from bench.pipelines.scratch import store_array

HELD_VALUES = 1 << 28  # of an image or a mask that is in memory as a whole
SMALL_VALUES = 1 << 25  # of one that is decoded once beside graphs on the disk, and not again for every step
MEMORY_VALUES = 1 << 20  # of such a one that is in memory; more lie in a file


def hold_image(image: Source) -> Readable:
    """Return an image in memory in the type of its file, or, where it is large, to be read by rows."""
    return read_by_rows(image) if prod(image.shape) > HELD_VALUES else hold_source(image)


def hold_small(image: Source, place: str | None) -> Source:
    """Return an image or a mask of few values as it was decoded once, in the type of its file; others as they are.

    Args:
        image: (*spatial, C), or a mask (*spatial).
        place: Folder of the file in which the values are that are too many for memory, as in `open_scratch`.
    """
    if prod(image.shape) > SMALL_VALUES or isinstance(image, np.ndarray):
        return image

    def keep(decoded: NDArray[Any]) -> Source:
        if decoded.size <= MEMORY_VALUES:
            return np.ascontiguousarray(decoded)
        return store_array(decoded, place)

    return image.hold(keep) if isinstance(image, Holdable) else keep(np.asarray(image))


def hold_mask(mask: Source) -> Source:
    """Return a mask in memory, or a large one as it is."""
    return mask if prod(mask.shape) > HELD_VALUES else np.asarray(mask)
