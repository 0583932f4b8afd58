"""Images and masks in memory while an arm works on one of them: in the type of their file, or read by rows."""

from math import prod

import numpy as np

from bench.arrays.protocols import Readable, Source
from bench.arrays.rows import read_by_rows
from bench.datasets.sample import hold_source

HELD_VALUES = 1 << 28  # of an image or a mask that is in memory as a whole
SMALL_VALUES = 1 << 25  # the same beside graphs on the disk: less than decoding it again for every step is worth


def hold_image(image: Source) -> Readable:
    """Return an image in memory in the type of its file, or, where it is large, to be read by rows."""
    return read_by_rows(image) if prod(image.shape) > HELD_VALUES else hold_source(image)


def hold_small(image: Source) -> Source:
    """Return an image of few values in memory in the type of its file, to be decoded once; others as they are."""
    return hold_source(image) if prod(image.shape) <= SMALL_VALUES else image


def hold_mask(mask: Source) -> Source:
    """Return a mask in memory, or a large one as it is."""
    return mask if prod(mask.shape) > HELD_VALUES else np.asarray(mask)
