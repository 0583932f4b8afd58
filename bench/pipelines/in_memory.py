"""Images and masks decoded while an arm works on one of them: in the type of their file, or read by rows."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable, Source
from bench.arrays.rows import read_by_rows
from bench.datasets.sample import hold_source
from bench.pipelines.scratch import StoredArray, store_array

HELD_VALUES = 1 << 28  # of an image or a mask that is in memory as a whole
SMALL_VALUES = 1 << 25  # of one that is decoded once beside graphs on the disk, and not again for every step
SPARE_VALUES = 1 << 20  # of such a one that is in memory; more lie in a file


def hold_image(image: Source) -> Readable:
    """Return an image in memory in the type of its file, or, where it is large, to be read by rows."""
    return read_by_rows(image) if prod(image.shape) > HELD_VALUES else hold_source(image)


def hold_small(image: Source, place: str | None) -> Source:
    """Return an image or a mask of few values as it was decoded once, in the type of its file; others as they are.

    Args:
        image: (*spatial, C), or a mask (*spatial).
        place: Folder of the file in which the values are that are too many for memory, as in `open_scratch`.
    """
    if prod(image.shape) > SMALL_VALUES:
        return image
    return hold_source(image, lambda decoded: keep_decoded(decoded, SPARE_VALUES, place))


def keep_decoded(decoded: NDArray[Any], most: int, place: str | None) -> NDArray[Any] | StoredArray:
    """Keep the values of an image or a mask in memory, or in a file where they are many.

    Args:
        decoded: The values.
        most: Values that are kept in memory.
        place: Folder of the file, as in `open_scratch`.
    """
    return np.ascontiguousarray(decoded) if decoded.size <= most else store_array(decoded, place)


def hold_mask(mask: Source) -> Source:
    """Return a mask in memory, or a large one as it is."""
    return mask if prod(mask.shape) > HELD_VALUES else np.asarray(mask)
