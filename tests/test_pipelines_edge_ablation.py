"""What the edges do is measured by what changes without them; and the published edges do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from support.source import registry_keys

if TYPE_CHECKING:
    import torch
    from scipy.spatial import KDTree
    from torch import nn
    from torch_geometric.data import Data

    from bench.graphs.weights import weigh_edges
    from bench.pipelines.gnn.edge_ablation import ablate_edges, find_idle_edges, remove_edges
    from models.gnn import Block, Message, build_gnn
    from models.jain2024 import Jain2024

CONVS = registry_keys("models/gnn.py", "CONVS")


def jittered_grid(spacing: float, side: int = 60, features: int = 11) -> Data:
    """Random features at the places of a jittered grid, each node joined to its ten nearest."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * spacing
    pos = (places + rng.uniform(-0.25, 0.25, places.shape) * spacing).astype(np.float32)
    near = np.asarray(KDTree(pos).query(pos, k=11)[1])[:, 1:]
    pairs = np.stack([near.ravel(), np.repeat(np.arange(len(pos)), 10)], axis=1)
    index = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    index = index[np.lexsort(index.T)]
    return Data(
        x=torch.from_numpy(rng.normal(size=(len(pos), features)).astype(np.float32)),
        pos=torch.from_numpy(pos),
        edge_index=torch.from_numpy(index.T.copy()),
        edge_attr=torch.from_numpy(rng.normal(size=(len(index), 3)).astype(np.float32)),
        edge_weight=torch.ones(len(index)),
        num_pixels=torch.from_numpy(rng.integers(50, 150, len(pos))),
    )


def classes_of(model: nn.Module, graph: Data) -> NDArray[np.int64]:
    """Centred, so that the head of a network that was never trained does not give every node one class."""
    with torch.inference_mode():
        logits = model(graph.x, graph.edge_index, graph.edge_weight, graph.edge_attr)
    return np.asarray((logits - logits.mean(dim=0)).argmax(dim=1).numpy())


def ablation(model: nn.Module, graph: Data) -> dict[str, float]:
    return ablate_edges(model, [graph], lambda seen: classes_of(model, seen))


@pytest.mark.parametrize("spacing", [10.0, 20.0])
def test_published_edges_change_fewer_than_a_thousandth_of_the_labels(spacing: float) -> None:
    torch.manual_seed(0)
    model, graph = Jain2024(11, 2).eval(), jittered_grid(spacing)
    published = ablation(model, weigh_edges(graph, "published", 10))
    assert published["edge_flip_share"] < 1e-3
    assert published["edge_message_share"] < 1e-3
    assert "changes 0.0" in find_idle_edges(published)[0]


def test_normalised_edges_are_alive_in_the_same_network() -> None:
    torch.manual_seed(0)
    found = ablation(Jain2024(11, 2).eval(), weigh_edges(jittered_grid(10.0), "normalised", 10))
    assert found["edge_flip_share"] > 0.05
    assert found["edge_message_share"] > 0.1
    assert find_idle_edges(found) == ()


def test_published_edges_live_where_superpixels_are_a_pixel_apart() -> None:
    torch.manual_seed(0)
    found = ablation(Jain2024(11, 2).eval(), weigh_edges(jittered_grid(1.0), "published", 10))
    assert found["edge_flip_share"] > 0.01


@pytest.mark.parametrize("conv", [conv for conv in CONVS if conv != "none"])
def test_every_convolution_has_a_share_between_nothing_and_all(conv: str) -> None:
    torch.manual_seed(0)
    found = ablation(build_gnn(conv, 11, 8, 2, 3, 3).eval(), jittered_grid(10.0, side=12))
    assert 0.01 < found["edge_message_share"] < 0.99
    assert 0 < found["edge_flip_share"] < 1


def test_a_network_without_convolutions_has_none() -> None:
    graph = jittered_grid(10.0, side=12)
    mlp = build_gnn("none", 11, 8, 2, 3, 3).eval()
    assert ablation(mlp, graph) == {}
    assert find_idle_edges({}) == ()


def test_the_shares_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    model, graph = build_gnn("sage", 11, 8, 1, 3, 3).eval(), jittered_grid(10.0, side=8)
    alone = remove_edges(graph)
    [block] = model.blocks
    assert isinstance(block, Block)
    assert isinstance(block.conv, Message)
    with torch.inference_mode():
        h = block.norm(model.encoder(graph.x))
        m, m0 = (block.conv.conv(h, seen.edge_index) for seen in (graph, alone))
    other, own = (m - m0).norm(dim=1), m0.norm(dim=1)
    flips = classes_of(model, graph) != classes_of(model, alone)
    expected = graph.num_pixels.numpy()[flips].sum() / graph.num_pixels.sum().item()
    found = ablation(model, graph)
    assert found["edge_message_share"] == pytest.approx((other / (other + own)).mean().item(), rel=1e-5)
    assert found["edge_flip_share"] == pytest.approx(expected)


def test_loops_stay_when_the_edges_go() -> None:
    alone = remove_edges(weigh_edges(jittered_grid(10.0, side=5), "published", 10))
    assert torch.equal(alone.edge_index, torch.arange(25).expand(2, 25))
    assert torch.equal(alone.edge_weight, torch.full((25,), 2.0))
    assert alone.edge_attr.shape == (25, 3)
