"""An image and its segments as a graph: one node per superpixel."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.heap import trim_after
from bench.arrays.protocols import Readable
from bench.arrays.scratch import Storage
from bench.config import GraphConfig
from bench.graphs.edges import EDGES, direct_pairs, unite_pairs
from bench.graphs.features import check_columns, join_requirements, stack_features
from bench.graphs.pooling import SegmentStatistics, pool_views
from bench.graphs.weights import weigh_edges


def build_graph(image: Readable, segments: Readable, config: GraphConfig, rows: int | None = None) -> Data:
    """Build the graph of an image and its segments, which are walked once in bands of rows.

    All tensors are the same to the last bit whatever the bands and the threads. In memory are a band with the rows
    around it that filters reach, the pixels of the segments that go on below it, and some numbers per segment.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes; an array, a memory map or a file.
        segments: (*spatial) int32, ids 0..N-1 all used; as `image`, an array or what is read by slices.
        config: Feature sets, edge finders, the scheme of the edge weights, and the spacing of the pixels.
        rows: About how many rows of the first axis a band has; None leaves that to the size of the image.

    Returns:
        Graph of x (N, F), raw features; edge_index (2, E), both directions, sorted by target; edge_attr
        (E, 4 + spatial_axes) as in `bench.graphs.edges.direct_pairs`; edge_weight (E,) as in
        `bench.graphs.weights.weigh_edges`; pos (N, spatial_axes), centroids in units of the shortest side of a
        pixel; num_pixels (N,).

    Raises:
        InputError: No feature set has a column for images of so many channels.
        ValueError: Image and segments have different shapes, or `rows` is less than 1.
    """
    [graph] = build_graphs(image, [segments], config, rows)
    return graph


def build_graphs(
    image: Readable, views: Sequence[Readable], config: GraphConfig, rows: int | None = None
) -> Iterator[Data]:
    """Build the graphs of several segmentations of an image, which is read and filtered once for all of them.

    Args:
        image: As in `build_graph`.
        views: Segmentations as in `build_graph`.
        config: Feature sets, edge finders and the scheme of the edge weights.
        rows: As in `build_graph`.

    Yields:
        The graph of each segmentation, to the bit that of `build_graph`. Only what was pooled waits in memory for its
        turn, some 500 bytes for each node and channel.

    Raises:
        InputError, ValueError: As `build_graph`.
    """
    for columns in build_columns(image, views, config, rows):
        graph = Data(**{name: torch.from_numpy(values) for name, values in columns.items()})
        del columns
        yield weigh_edges(graph, config.edge_weight, config.neighbours)
        del graph  # before the next one is built


def build_columns(
    image: Readable,
    views: Sequence[Readable],
    config: GraphConfig,
    rows: int | None = None,
    storage: Storage | None = None,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Build the tensors of the graphs of `build_graphs` as arrays, with the edge weights of the scheme `spacing`.

    Args:
        image: As in `build_graph`.
        views: Segmentations as in `build_graph`.
        config: Feature sets and edge finders; those of knn are found in memory.
        rows: As in `build_graph`.
        storage: Where arrays as long as there are nodes or edges are put; None: in memory.

    Yields:
        Of each segmentation the arrays by name.

    Raises:
        InputError, ValueError: As `build_graph`.
    """
    requirements = join_requirements(config.features)
    for name in config.edges:
        requirements |= EDGES[name].requires
    waiting = pool_views(image, views, requirements, rows, config.spacing, storage)
    while waiting:
        yield _build_next(waiting, config)
        trim_after(prod(image.shape))


def _build_next(waiting: list[SegmentStatistics], config: GraphConfig) -> dict[str, NDArray[Any]]:
    """Take the first of `waiting` and build its graph; what the features hold is let go before the edges are made."""
    pooled = waiting.pop(0)
    x = stack_features(config.features, pooled)
    check_columns(x.shape[1], config.features)
    texture = [*(pooled.texture or []), *(pooled.light.texture if pooled.light else [])]
    pooled.storage.drop(*(part for part in (pooled.quantiles, *texture, pooled.colour) if part is not None))
    pooled = replace(pooled, quantiles=None, texture=None, colour=None, light=None)
    found = [EDGES[name].find(pooled, config.neighbours) for name in config.edges]
    edges = direct_pairs(unite_pairs(found, len(pooled.counts)), pooled.centroids, pooled.mean, pooled.storage)
    return {
        "x": x,
        "edge_index": edges.index,
        "edge_attr": edges.attributes,
        "edge_weight": edges.weights,
        "pos": pooled.centroids,
        "num_pixels": pooled.counts,
    }


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
