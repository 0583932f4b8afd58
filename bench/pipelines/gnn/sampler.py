"""Training batches of graphs: whole ones, or windows of them, those with rare classes more often than the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.learning.rare import draw_parts, mix_draws
from bench.pipelines.gnn.onednn import round_up
from bench.pipelines.gnn.windows import Subgraph, cut_subgraphs, join_windows, wrap_graph


@dataclass(frozen=True)
class GraphSampler:
    """Batches of graphs, or of windows of them, that hold every node once per epoch where no class is rare.

    Attributes:
        graphs: Training graphs.
        batch_nodes: About how many nodes a batch has, at most a quarter more: one window of a large graph, several
            small ones or several small graphs; None: a batch is a whole graph.
        seed: Of the windows and their order; every epoch has its own.
        rare: Rare classes, for which a share of the windows is drawn anew among those that hold them.
    """

    graphs: Sequence[Data]
    batch_nodes: int | None
    seed: int
    rare: NDArray[np.intp]

    @property
    def num_nodes(self) -> int:
        """Number of nodes of all graphs."""
        return sum(int(data.x.shape[0]) for data in self.graphs)

    def __len__(self) -> int:
        """Batches per epoch, about."""
        return len(self.graphs) if self.batch_nodes is None else max(self.num_nodes // self.batch_nodes, 1)

    @property
    def most_nodes(self) -> int:
        """Most nodes of a batch of windows, unless one window has more; 0 where each batch is a whole graph."""
        if self.batch_nodes is None:
            return 0
        return min(self.batch_nodes + self.batch_nodes // 4, round_up(self.num_nodes))

    def draw_epoch(self, epoch: int) -> Iterator[Data]:
        """Yield the batches of an epoch, in random order."""
        rng = np.random.default_rng([self.seed, epoch])
        windows = self._cut_windows(rng)
        order = rng.permutation(len(windows))
        if len(self.rare) > 0:
            order = draw_parts(order, np.stack([window.count_pixels()[self.rare] for window in windows]), rng)
        gathered, nodes, most = list[Subgraph](), 0, self.most_nodes
        for window in (windows[index] for index in order):
            if gathered and nodes + window.num_nodes > most:
                yield join_windows(gathered)
                gathered, nodes = [], 0
            gathered.append(window)
            nodes += window.num_nodes
        if gathered:
            yield join_windows(gathered)

    def expect_pixels(self) -> NDArray[np.float64]:
        """Return the expected pixels of each class (K,) in a window that is drawn; there must be rare classes."""
        windows = self._cut_windows(np.random.default_rng([self.seed, 0]))
        return mix_draws(np.stack([window.count_pixels() for window in windows]), self.rare)

    def _cut_windows(self, rng: np.random.Generator) -> list[Subgraph]:
        """The windows of an epoch, no node twice; a graph that fits into a batch is one."""
        nodes, most = self.batch_nodes, self.most_nodes
        if nodes is None:
            return [wrap_graph(graph) for graph in self.graphs]
        return [window for graph in self.graphs for window in cut_subgraphs(graph, nodes, rng, most)]
