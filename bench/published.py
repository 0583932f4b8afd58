"""The published way from image to graph, written out step by step: what `python -m bench perf` compares with.

Jain, Laidlaw, Bajcsy, Singh, Microscopy 2024 (doi 10.1093/jmicro/dfad049): scikit-image superpixels, statistics and
majority labels region by region in Python, ten nearest neighbours out of the dense matrix of all distances.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from bench.config import SuperpixelsConfig
from bench.superpixels import segment

NEIGHBOURS = 10


def published_graph(
    image: NDArray[np.float32], mask: NDArray[np.integer], config: SuperpixelsConfig
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Features (N, 11) of the first channel, edges (2, N * 10) and majority labels (N,) of a 2-D image.

    `config.method` is taken as `skimage_slic`, whatever it says.
    """
    segments = segment(image, _with_skimage(config))
    pixels = np.argsort(segments, axis=None, kind="stable")
    regions = np.split(pixels, np.cumsum(np.bincount(segments.ravel()))[:-1])
    values, classes = image[..., 0].ravel(), mask.ravel()
    features = np.array([_statistics(values[region]) for region in regions])
    labels = np.array([np.bincount(classes[region]).argmax() for region in regions])
    centres = np.array([np.mean(np.unravel_index(region, segments.shape), axis=1) for region in regions])
    return features, nearest(centres), labels


def nearest(centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each node's `NEIGHBOURS` nearest others, by sorting every row of the dense matrix: (2, N * NEIGHBOURS)."""
    order = np.argsort(cdist(centres, centres), axis=1)[:, 1 : NEIGHBOURS + 1]
    return np.stack([order.ravel(), np.repeat(np.arange(len(centres)), order.shape[1])])


def _statistics(values: NDArray[np.float32]) -> list[float]:
    """Mean, standard deviation and nine deciles."""
    return [float(values.mean()), float(values.std()), *np.quantile(values, np.arange(1, 10) / 10).tolist()]


def _with_skimage(config: SuperpixelsConfig) -> SuperpixelsConfig:
    return SuperpixelsConfig(
        "skimage_slic",
        config.superpixel_size,
        config.n_segments,
        config.compactness,
        config.sigma,
        config.iterations,
    )
