"""The plain grid: the baseline of superpixels that do not look at the image."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage
from bench.config import SuperpixelsConfig
from bench.superpixels.scaling import choose_n_segments, choose_rows, divide_axis, fit_grid


def segment_grid(
    image: Readable, config: SuperpixelsConfig, scratch: Path | None = None, rows: int | None = None
) -> NDArray[np.int32]:
    """Cut an image into equal boxes.

    Args:
        image: (*spatial, C); only its shape matters.
        config: Size or number of the boxes, and the spacing of the pixels.
        scratch: Folder for the segments; None keeps them in memory.
        rows: How many rows are numbered at a time; None leaves that to the size of the image.

    Returns:
        Segments (*spatial) int32, numbered in raster order.
    """
    shape = image.shape[:-1]
    cells = fit_grid(shape, choose_n_segments(shape, config), config.spacing)
    with Storage(scratch) as storage:
        segments = storage.empty(shape, np.int32)
        for start, stop in cut_bands(shape, rows=choose_rows(image.shape, scratch, rows)):
            segments[start:stop] = number_cells(shape, cells, start, stop)
            storage.release()
        return storage.keep(segments)


def number_cells(
    shape: tuple[int, ...], cells: tuple[int, ...], start: int = 0, stop: int | None = None
) -> NDArray[np.int32]:
    """Number the pixels by the cell of a grid in which they lie.

    Args:
        shape: Spatial shape of the image in pixels.
        cells: Number of cells along each axis.
        start: First row that is numbered.
        stop: Row after the last one; None for all.

    Returns:
        Raster index of each pixel's cell, (stop - start, *rest of the shape) int32.
    """
    places = [np.arange(length) for length in shape]
    places[0] = places[0][start:stop]
    index = np.zeros([place.size for place in places], dtype=np.int32)
    for axis, (length, count, place) in enumerate(zip(shape, cells, places, strict=True)):
        along = np.searchsorted(divide_axis(length, count), place, side="right") - 1
        index *= count
        index += along.astype(np.int32).reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return index
