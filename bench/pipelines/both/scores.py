"""What a coarse network says of an image, pooled into superpixels: node features that know the surroundings."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.arrays.protocols import Readable, Source
from bench.arrays.rows import read_by_rows
from bench.arrays.scratch import Storage
from bench.graphs.pooling import MOMENTS_ALONE, pool_segments
from bench.pipelines.cnn.tiled_cnn import TiledCnn
from bench.pipelines.gnn.columns import add_column, is_on_disk, walk_rows
from bench.pipelines.gnn.graph import SuperpixelGraph
from bench.pipelines.gnn.items import Item
from bench.pipelines.gnn.segmented import SegmentedSample


@dataclass(frozen=True)
class SumWriter:
    """A writable array (*spatial) that is given class scores (K, *part), and adds their shares to `total`.

    Attributes:
        total: Sums of the shares, (*spatial, K); shares are scores over their sum.
        factor: By which shares are multiplied.
        first: Whether the sums begin with what is written now.
    """

    total: NDArray[np.float32]
    factor: float
    first: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each spatial axis."""
        return self.total.shape[:-1]

    def __setitem__(self, place: Any, scores: NDArray[np.float32], /) -> None:
        shares = np.moveaxis(scores / scores.sum(axis=0) * np.float32(self.factor), 0, -1)
        self.total[place] = shares if self.first else self.total[place] + shares


def score_image(
    networks: Sequence[TiledCnn],
    image: Source,
    out: NDArray[np.float32],
    progress: Callable[[float], None],
    in_memory: bool = True,
) -> None:
    """Write the class probabilities of an image, the mean over networks.

    Args:
        networks: Fitted pixel arms.
        image: Grey values (*spatial, C).
        out: Receives the probabilities (*spatial, K), an array or a memory map.
        progress: Receives the share that is done, in [0, 1].
        in_memory: Whether the image is in memory; else its rows are read one after the other.
    """
    for index, network in enumerate(networks):
        source: Readable = image if in_memory else read_by_rows(image)
        writer = SumWriter(out, 1 / len(networks), index == 0)
        windows = network.tiling.cut(image.shape[:-1])
        network.make_inferer().score(source, windows, writer, partial(_advance, progress, index, len(networks)))


def _advance(progress: Callable[[float], None], done: int, parts: int, share: float) -> None:
    """Report the share that is done of several equal parts."""
    progress((done + share) / parts)


def append_scores(data: Data, segments: Readable, scores: Readable) -> Data:
    """Return a graph whose nodes also have the mean and the deviation of class scores over their pixels.

    Args:
        data: Graph with features x (N, F).
        segments: Superpixels (*spatial).
        scores: Class scores (*spatial, K) of the pixels.

    Returns:
        The same graph with x (N, F + 2 K), on the disk if `data` is; what it shares with `data` is not copied.
    """
    pooled = pool_segments(scores, segments, MOMENTS_ALONE)
    extended: Data = copy(data)

    def join(storage: Storage) -> NDArray[np.float32]:
        parts = (
            np.concatenate([data.x[rows].numpy(), pooled.mean[rows], pooled.deviation[rows]], axis=1)
            for rows in walk_rows(data)
        )
        return storage.fill((len(data.x), data.x.shape[1] + 2 * scores.shape[-1]), np.float32, parts)

    if is_on_disk(data):
        add_column(extended, "x", join)
    else:
        extended.x = torch.from_numpy(join(Storage(None)))
    return extended


def append_to_item(item: Item, scores: Readable) -> Item:
    """Return a prepared sample whose graphs have the class scores (*spatial, K) as further features."""
    if isinstance(item, SuperpixelGraph):
        return _extend_view(item, scores)
    return replace(item, views=tuple(_extend_view(view, scores) for view in item.views))


def append_when_made(item: SegmentedSample, scores: Readable) -> SegmentedSample:
    """Return a segmented sample whose graphs will have the class scores (*spatial, K) as further features."""
    return replace(item, build=lambda: _extend_each(item.build(), scores))


def _extend_view(view: SuperpixelGraph, scores: Readable) -> SuperpixelGraph:
    return replace(view, data=append_scores(view.data, view.segments, scores))


def _extend_each(views: Iterator[SuperpixelGraph], scores: Readable) -> Iterator[SuperpixelGraph]:
    """Extend graphs that are made one after the other, and let go of each before the next is made."""
    for view in views:
        extended = _extend_view(view, scores)
        del view
        yield extended
        del extended
