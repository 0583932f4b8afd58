"""The plain grid: what superpixels are worth that do not look at the image."""

import numpy as np
from numpy.typing import NDArray

from bench.config import SuperpixelsConfig
from bench.superpixels.scaling import cell_edges, grid_shape, segments_asked


def grid(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int32]:
    """Equal boxes in raster order."""
    shape = image.shape[:-1]
    return grid_cells(shape, grid_shape(shape, segments_asked(shape, config)))


def grid_cells(shape: tuple[int, ...], cells: tuple[int, ...]) -> NDArray[np.int32]:
    """The raster index of the cell that each pixel lies in: `shape` int32."""
    index = np.zeros(shape, dtype=np.int32)
    for axis, (length, count) in enumerate(zip(shape, cells, strict=True)):
        along = np.searchsorted(cell_edges(length, count), np.arange(length), side="right") - 1
        index *= count
        index += along.astype(np.int32).reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return index
