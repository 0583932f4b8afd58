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


def segment_as_published(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int64]:
    """Segment the first channel as the published code does, (H, W); pieces down to a tenth of the mean size stay."""
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


def build_published_graph(
    image: NDArray[np.float32], mask: NDArray[np.integer], config: SuperpixelsConfig
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Build the graph of a 2-D image as the published code does.

    Args:
        image: (H, W, C), of which the first channel is used.
        mask: True classes (H, W).
        config: Settings of the superpixels.

    Returns:
        Features (N, 11), edges (2, E) that go both ways with one of every node to itself, their weights (E,), and
        majority labels (N,).
    """
    segments = segment_as_published(image, config)
    nodes = range(int(segments.max()) + 1)
    centres = np.array(ndimage.center_of_mass(np.ones(segments.shape), segments, nodes), dtype=np.float32)
    edges, weights = join_nearest(centres)
    per_region: Any = ndimage.labeled_comprehension  # its stub knows numbers alone, and no functions of ours
    features = per_region(image[..., 0], segments, nodes, _statistics, object, -1.0)
    labels = per_region(mask, segments, nodes, _mode, np.int64, -1)
    return np.stack(features), edges, weights, labels


def join_nearest(centres: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Join each node (N, 2) to its `NEIGHBOURS` nearest and back: edges (2, E) and weights exp(-distance in pixels).

    A pair that is near in both directions has twice the weight.

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
