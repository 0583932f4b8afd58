"""An image and its segments as a graph: one node per superpixel."""

import numpy as np
import torch
from torch_geometric.data import Data

from bench.arrays.protocols import Readable
from bench.config import GraphConfig, require
from bench.graphs.edges import EDGES, direct_pairs, unite_pairs
from bench.graphs.features import join_requirements, stack_features
from bench.graphs.pooling import pool_segments
from bench.graphs.weights import weigh_edges


def build_graph(image: Readable, segments: Readable, config: GraphConfig, rows: int | None = None) -> Data:
    """Build the graph of an image and its segments, which are walked once in bands of rows.

    All tensors are the same to the last bit whatever the bands and the threads. In memory are a band with the rows
    around it that filters reach, the pixels of the segments that go on below it, and some numbers per segment.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes; an array, a memory map or a file.
        segments: (*spatial) int32, ids 0..N-1 all used; as `image`, an array or what is read by slices.
        config: Feature sets, edge finders and the scheme of the edge weights.
        rows: About how many rows of the first axis a band has; None leaves that to the size of the image.

    Returns:
        Graph of x (N, F), raw features; edge_index (2, E), both directions, sorted by target; edge_attr
        (E, 4 + spatial_axes) as in `bench.graphs.edges.direct_pairs`; edge_weight (E,) as in
        `bench.graphs.weights.weigh_edges`; pos (N, spatial_axes), centroids in pixels; num_pixels (N,).

    Raises:
        InputError: No feature set has a column for images of so many channels.
        ValueError: Image and segments have different shapes, or `rows` is less than 1.
    """
    requirements = join_requirements(config.features)
    for name in config.edges:
        requirements |= EDGES[name].requires
    pooled = pool_segments(image, segments, requirements, rows)
    x = stack_features(config.features, pooled)
    require(
        x.shape[1] > 0,
        f"graph.features={config.features} say nothing of an image of one channel: add another set, such as intensity",
    )
    found = [EDGES[name].find(pooled, config.neighbours) for name in config.edges]
    edges = direct_pairs(unite_pairs(found, len(pooled.counts)), pooled.centroids, pooled.mean)
    graph = Data(
        x=torch.from_numpy(x),
        edge_index=torch.from_numpy(edges.index),
        edge_attr=torch.from_numpy(edges.attributes),
        edge_weight=torch.from_numpy(edges.weights),
        pos=torch.from_numpy(pooled.centroids),
        num_pixels=torch.from_numpy(pooled.counts),
    )
    return weigh_edges(graph, config.edge_weight, config.neighbours)


def warm_up_graph(spatial_axes: int, channels: int, config: GraphConfig) -> None:
    """Compile the kernels that `build_graph` needs, on a tiny image of two segments.

    Args:
        spatial_axes: Number of spatial axes, 2 or 3.
        channels: Number of channels.
        config: Feature sets and edge finders.
    """
    image = np.zeros((4,) * spatial_axes + (channels,), np.float32)
    segments = np.zeros((4,) * spatial_axes, np.int32)
    segments[2:] = 1
    build_graph(image, segments, config)
