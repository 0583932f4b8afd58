"""An image and its segments as a graph: one node per superpixel."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.config import GraphConfig, require_one_of
from bench.graphs.edges import EDGES, directed, union
from bench.graphs.features import FEATURES
from bench.graphs.pooling import pixel_counts, segment_centroids, segment_means

__all__ = ["EDGES", "FEATURES", "build", "check", "warm_up"]


def check(config: GraphConfig) -> None:
    """Raise `InputError` where a feature set or edge finder does not exist."""
    for name in config.features:
        require_one_of("graph.features", name, tuple(FEATURES))
    for name in config.edges:
        require_one_of("graph.edges", name, tuple(EDGES))


def build(image: NDArray[np.float32], segments: NDArray[np.int32], config: GraphConfig) -> Data:
    """The graph of `image` (*spatial, C) and its `segments` (*spatial), ids 0..N-1.

    x (N, F) raw features; edge_index (2, E), both directions, no self loops, sorted by target; edge_attr
    (E, 4 + spatial_axes) and edge_weight (E,) in (0, 1] as in `bench.graphs.edges.directed`; pos (N, spatial_axes)
    centroids in pixels; num_pixels (N,).
    """
    check(config)
    counts = pixel_counts(segments)
    centroids = segment_centroids(segments, counts)
    means = np.stack([segment_means(channel, segments, counts) for channel in np.moveaxis(image, -1, 0)], axis=1)
    found = [EDGES[name](image, segments, centroids, config.neighbours) for name in config.edges]
    edges = directed(union(found, len(counts)), centroids, means)
    features = np.concatenate([FEATURES[name](image, segments) for name in config.features], axis=1)
    return Data(
        x=torch.from_numpy(features),
        edge_index=torch.from_numpy(edges.index),
        edge_attr=torch.from_numpy(edges.attributes),
        edge_weight=torch.from_numpy(edges.weights),
        pos=torch.from_numpy(centroids),
        num_pixels=torch.from_numpy(counts),
    )


def warm_up(spatial_axes: int, channels: int, config: GraphConfig) -> None:
    """Compile what `build` needs, on a tiny image of two segments."""
    image = np.zeros((4,) * spatial_axes + (channels,), np.float32)
    segments = np.zeros((4,) * spatial_axes, np.int32)
    segments[2:] = 1
    build(image, segments, config)
