"""The published way from image to graph, step by step: what `python -m bench perf` compares with.

Jain, Laidlaw, Bajcsy, Singh, Microscopy 2024 (doi 10.1093/jmicro/dfad049), as their published script
(github.com/rsinghlab/gnn_microscopy_segment, data_gen.py) does it: scikit-image superpixels in double precision,
centroids, statistics and majority labels by scipy's Python call per region, the ten nearest neighbours and their
distances by sorting the dense matrix of all distances twice.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.segmentation import slic

from bench.config import SuperpixelsConfig
from bench.superpixels.scaling import choose_n_segments

NEIGHBOURS = 10


def published_segments(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int64]:
    """Superpixels (H, W) of the first channel; pieces down to a tenth of the mean size stay."""
    values = image[..., 0].astype(np.float64)
    found: NDArray[np.int64] = slic(
        values / max(float(values.max()), 1e-12),
        n_segments=choose_n_segments(values.shape, config),
        compactness=config.compactness,
        max_num_iter=config.iterations,
        sigma=config.sigma,
        min_size_factor=0.1,
        start_label=0,
        channel_axis=None,
    )
    return found


def published_graph(
    image: NDArray[np.float32], mask: NDArray[np.integer], config: SuperpixelsConfig
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, 11) of the first channel, edges (2, E) with their weights (E,), majority labels (N,); 2-D images.

    Edges go both ways; every node has one to itself.
    """
    segments = published_segments(image, config)
    nodes = range(int(segments.max()) + 1)
    centres = np.array(ndimage.center_of_mass(np.ones(segments.shape), segments, nodes), dtype=np.float32)
    edges, weights = nearest(centres)
    per_region: Any = ndimage.labeled_comprehension  # its stub knows numbers alone, and no functions of ours
    features = per_region(image[..., 0], segments, nodes, _statistics, object, -1.0)
    labels = per_region(mask, segments, nodes, _mode, np.int64, -1)
    return np.stack(features), edges, weights, labels


def nearest(centres: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each node, its `NEIGHBOURS` nearest and back, (2, E); exp(-distance in pixels), twice where both directions are.

    The dense matrix of all distances is sorted twice, for the neighbours and for their distances.
    """
    import torch
    from torch_geometric.utils import to_undirected

    distances = cdist(centres, centres)
    order = np.argsort(distances, axis=1)[:, : NEIGHBOURS + 1]
    near = np.sort(distances, axis=1)[:, : NEIGHBOURS + 1]
    index = np.stack([order.ravel(), np.repeat(np.arange(len(centres)), order.shape[1])])
    weights = np.exp(-near.ravel()).astype(np.float32)
    both, summed = to_undirected(torch.from_numpy(index), torch.from_numpy(weights))
    return both.numpy(), summed.numpy()


def _statistics(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean, standard deviation and nine deciles."""
    return np.concatenate([[values.mean()], [values.std()], np.quantile(values, np.arange(1, 10) / 10)])


def _mode(classes: NDArray[np.integer]) -> int:
    """The most frequent class, the lowest of equals."""
    values, counts = np.unique(classes, return_counts=True)
    return int(values[counts.argmax()])
