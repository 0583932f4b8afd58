"""An image and its segments as a graph: one node per superpixel."""

import numpy as np
import torch
from torch_geometric.data import Data

from bench.config import GraphConfig, require
from bench.graphs.edges import EDGES, directed, union
from bench.graphs.features import rows_of, wanted
from bench.graphs.pooling import pool
from bench.superpixels.bands import Array


def build(image: Array, segments: Array, config: GraphConfig, rows: int | None = None) -> Data:
    """The graph of `image` (*spatial, C) and its `segments` (*spatial), ids 0..N-1 all used.

    Both may be memory maps or files: they are walked once in bands of about `rows` rows of the first axis, and all
    tensors are the same to the last bit whatever the bands and the threads. What is in memory is a band with the rows
    around it that filters reach, the pixels of the segments that go on below it, and what is kept per segment.

    x (N, F) raw features; edge_index (2, E), both directions, no self loops, sorted by target; edge_attr
    (E, 4 + spatial_axes) and edge_weight (E,) in (0, 1] as in `bench.graphs.edges.directed`; pos (N, spatial_axes)
    centroids in pixels; num_pixels (N,).
    """
    wants = wanted(config.features)
    for name in config.edges:
        wants |= EDGES[name].wants
    pooled = pool(image, segments, wants, rows)
    x = rows_of(config.features, pooled)
    require(
        x.shape[1] > 0,
        f"graph.features={config.features} say nothing of an image of one channel: add another set, such as intensity",
    )
    found = [EDGES[name].find(pooled, config.neighbours) for name in config.edges]
    edges = directed(union(found, len(pooled.counts)), pooled.centroids, pooled.mean)
    return Data(
        x=torch.from_numpy(x),
        edge_index=torch.from_numpy(edges.index),
        edge_attr=torch.from_numpy(edges.attributes),
        edge_weight=torch.from_numpy(edges.weights),
        pos=torch.from_numpy(pooled.centroids),
        num_pixels=torch.from_numpy(pooled.counts),
    )


def warm_up(spatial_axes: int, channels: int, config: GraphConfig) -> None:
    """Compile what `build` needs, on a tiny image of two segments."""
    image = np.zeros((4,) * spatial_axes + (channels,), np.float32)
    segments = np.zeros((4,) * spatial_axes, np.int32)
    segments[2:] = 1
    build(image, segments, config)
