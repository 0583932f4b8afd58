"""Laws of the published edge weights: what the published steps give, and what they do at real spacings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
    from scipy.spatial.distance import cdist
    from torch_geometric.data import Data
    from torch_geometric.utils import to_dense_adj, to_undirected

    from bench.graphs.weights import weigh_edges


NEIGHBOURS = 4


def scattered(nodes: int = 60, spread: float = 30.0) -> Data:
    """Nodes at random places, both directions of every pair of which one is among the other's nearest."""
    pos = np.random.default_rng(0).uniform(0, spread, (nodes, 2)).astype(np.float32)
    near = np.argsort(cdist(pos, pos), axis=1)[:, 1 : NEIGHBOURS + 1]
    pairs = np.stack([near.ravel(), np.repeat(np.arange(nodes), near.shape[1])], axis=1)
    index = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    index = index[np.lexsort(index.T)]  # by target
    return Data(
        x=torch.ones(nodes, 1),
        pos=torch.from_numpy(pos),
        edge_index=torch.from_numpy(index.T.copy()),
        edge_attr=torch.ones(len(index), 3),
        edge_weight=torch.ones(len(index)),
    )


def dense(graph: Data) -> torch.Tensor:
    matrix: torch.Tensor = to_dense_adj(graph.edge_index, edge_attr=graph.edge_weight, max_num_nodes=len(graph.pos))[0]
    return matrix


def by_the_published_steps(pos: np.ndarray) -> torch.Tensor:
    """All distances, the nearest of each row with the node itself, exp(-distance), summed over both directions."""
    distances = cdist(pos, pos)
    order = np.argsort(distances, axis=1)[:, : NEIGHBOURS + 1]
    index = torch.tensor(np.array([order.ravel(), np.repeat(np.arange(len(pos)), NEIGHBOURS + 1)]))
    weights = torch.tensor(np.exp(-np.sort(distances, axis=1)[:, : NEIGHBOURS + 1].ravel()), dtype=torch.float32)
    index, weights = to_undirected(index, weights)
    matrix: torch.Tensor = to_dense_adj(index, edge_attr=weights, max_num_nodes=len(pos))[0]
    return matrix


def test_published_weights_are_those_of_the_published_steps() -> None:
    graph = scattered()
    torch.testing.assert_close(
        dense(weigh_edges(graph, "published", NEIGHBOURS)), by_the_published_steps(graph.pos.numpy())
    )


def test_normalised_weights_do_not_know_the_scale() -> None:
    near, far = scattered(spread=30), scattered(spread=3000)
    torch.testing.assert_close(
        dense(weigh_edges(near, "normalised", NEIGHBOURS)), dense(weigh_edges(far, "normalised", NEIGHBOURS)),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    published = dense(weigh_edges(far, "published", NEIGHBOURS)).fill_diagonal_(0)
    assert published.sum() < 1e-2 * len(far.pos)


def test_edges_stay_sorted_and_symmetric_with_a_loop_each() -> None:
    graph = weigh_edges(scattered(), "normalised", NEIGHBOURS)
    index = graph.edge_index
    assert (index[1].diff() >= 0).all()
    assert len(graph.edge_attr) == len(graph.edge_weight) == index.shape[1]
    assert (index[0] == index[1]).sum() == len(graph.pos)
    assert torch.equal(dense(graph), dense(graph).T)


def test_spacing_is_what_the_graph_has_already() -> None:
    graph = scattered()
    assert weigh_edges(graph, "spacing", NEIGHBOURS) is graph


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="normalised"):
        weigh_edges(scattered(), "normalized", NEIGHBOURS)


def test_a_single_node_has_its_loop() -> None:
    graph = scattered(1)
    assert torch.equal(dense(weigh_edges(graph, "normalised", NEIGHBOURS)), torch.tensor([[2.0]]))
