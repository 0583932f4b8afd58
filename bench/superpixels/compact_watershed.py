"""Compact watershed: Neubert and Protzel, "Compact watershed and preemptive SLIC", ICPR 2014, by scikit-image."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from bench.arrays.spacing import relate_spacing
from bench.config import SuperpixelsConfig
from bench.superpixels.connectivity import label_pieces
from bench.superpixels.scaling import choose_n_segments, divide_axis, fit_grid, rescale


def compact_watershed(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int32]:
    """Segment an image (*spatial, C) into basins of the gradient, grown from the centres of a grid.

    A detour of one grid step costs as much as a gradient of `compactness`, intensities being in [0, 1]. Of the spacing
    of the pixels only the grid and the smoothing know.
    """
    shape = image.shape[:-1]
    cells = fit_grid(shape, choose_n_segments(shape, config), config.spacing)
    pitch = relate_spacing(config.spacing, len(shape))
    step = max(length / count for length, count in zip(shape, cells, strict=True))
    basins = watershed(
        _find_gradient(rescale(image), [max(config.sigma, 0.5) / length for length in pitch]),
        markers=place_markers(shape, cells),
        compactness=config.compactness / step,
    )
    return label_pieces(basins)


def _find_gradient(image: NDArray[np.float32], sigmas: list[float]) -> NDArray[np.float32]:
    """Return the norm (*spatial) of the Gaussian gradient over axes and channels; a sigma in pixels for each axis."""
    squares = np.zeros(image.shape[:-1], dtype=np.float32)
    for channel in range(image.shape[-1]):
        magnitude = ndimage.gaussian_gradient_magnitude(image[..., channel], sigmas, output=np.float32)
        squares += np.square(magnitude)
    return np.asarray(np.sqrt(squares))


def place_markers(shape: tuple[int, ...], cells: tuple[int, ...]) -> NDArray[np.int32]:
    """Return 1, 2, ... at the centres of the cells and 0 elsewhere, (*spatial)."""
    edges = [divide_axis(length, count) for length, count in zip(shape, cells, strict=True)]
    centres = np.ix_(*[(edge[:-1] + edge[1:]) // 2 for edge in edges])
    markers = np.zeros(shape, dtype=np.int32)
    markers[centres] = np.arange(1, np.prod(cells) + 1).reshape(cells)
    return markers
