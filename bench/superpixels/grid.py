"""The plain grid: what superpixels are worth that do not look at the image."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.scratch import Image, Storage, rows_at_once
from bench.arrays.threads import split
from bench.config import SuperpixelsConfig
from bench.superpixels.scaling import cell_edges, grid_shape, segments_asked


def grid(
    image: Image, config: SuperpixelsConfig, scratch: Path | None = None, rows: int | None = None
) -> NDArray[np.int32]:
    """Equal boxes in raster order; with `scratch`, `rows` of the first axis at a time into a file in that folder."""
    shape = image.shape[:-1]
    cells = grid_shape(shape, segments_asked(shape, config))
    rows = rows_at_once(image.shape, scratch, rows)
    with Storage(scratch) as storage:
        segments = storage.empty(shape, np.int32)
        for start, stop in split(shape[0], -(-shape[0] // rows)):
            segments[start:stop] = grid_cells(shape, cells, start, stop)
            storage.release()
        return storage.keep(segments)


def grid_cells(
    shape: tuple[int, ...], cells: tuple[int, ...], start: int = 0, stop: int | None = None
) -> NDArray[np.int32]:
    """The raster index of the cell that each pixel lies in, from `start` to `stop` of the first axis: int32."""
    places = [np.arange(length) for length in shape]
    places[0] = places[0][start:stop]
    index = np.zeros([place.size for place in places], dtype=np.int32)
    for axis, (length, count, place) in enumerate(zip(shape, cells, places, strict=True)):
        along = np.searchsorted(cell_edges(length, count), place, side="right") - 1
        index *= count
        index += along.astype(np.int32).reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return index
