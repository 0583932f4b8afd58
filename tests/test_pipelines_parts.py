"""Laws of a graph in parts: every node once, and each part knows all that the whole would tell its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.source import registry_keys

if TYPE_CHECKING:
    import torch
    from scipy.spatial import KDTree
    from torch_geometric.data import Data

    from bench.pipelines.gnn.parts import parts
    from models.gnn import build_gnn

CONVS = registry_keys("models/gnn.py", "CONVS")


NODES, LAYERS = 400, 3


def graph(axes: int, nodes: int = NODES) -> Data:
    """Nodes at random places, each told by its five nearest: a directed graph, sorted by target."""
    rng = np.random.default_rng(axes)
    pos = rng.uniform(0, 100, (nodes, axes)).astype(np.float32)
    near = np.asarray(KDTree(pos).query(pos, k=6)[1])[:, 1:]
    edges = near.size
    return Data(
        x=torch.from_numpy(rng.normal(size=(nodes, 4)).astype(np.float32)),
        pos=torch.from_numpy(pos),
        edge_index=torch.from_numpy(np.stack([near.ravel(), np.repeat(np.arange(nodes), 5)])),
        edge_attr=torch.from_numpy(rng.normal(size=(edges, 3)).astype(np.float32)),
        edge_weight=torch.from_numpy(rng.uniform(0.1, 1, edges).astype(np.float32)),
    )


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("nodes", [1, 37, 100, 10_000])
def test_every_node_is_in_one_part_and_keeps_its_features(axes: int, nodes: int) -> None:
    whole = graph(axes, 60)
    found = list(parts(whole, nodes, 1))
    assert torch.equal(torch.cat([part.inner for part in found]).sort().values, torch.arange(60))
    for part in found:
        assert torch.equal(part.data.x[part.kept], whole.x[part.inner])
        assert torch.equal(part.data.pos[part.kept], whole.pos[part.inner])


@pytest.mark.parametrize("shape", [(60, 60), (61, 45), (400, 7), (13, 13, 13), (2, 40, 30)])
@pytest.mark.parametrize("nodes", [90, 100, 101, 300, 1000])
def test_parts_of_a_lattice_are_alike_and_none_is_much_larger_than_asked_for(
    shape: tuple[int, ...], nodes: int
) -> None:
    places = np.indices(shape).reshape(len(shape), -1).T
    whole = graph(len(shape), len(places))
    whole.pos = torch.from_numpy(places.astype(np.float32))
    sizes = [len(part.inner) for part in parts(whole, nodes, 1)]
    if len(sizes) == 1:
        assert sizes[0] <= 1.1 * nodes
    assert max(sizes) <= 1.6 * nodes, "cuts fall between rows, of which there are few"
    assert min(sizes) >= max(sizes) / 2.5
    assert len(sizes) <= 2.5 * len(places) / nodes


@pytest.mark.parametrize("conv", CONVS)
def test_a_network_says_in_parts_what_it_says_of_the_whole(conv: str) -> None:
    whole = graph(2)
    torch.manual_seed(0)
    model = build_gnn(conv, 4, 8, LAYERS, 3, 3).eval()
    together, said = torch.zeros(NODES, 3), model(whole.x, whole.edge_index, whole.edge_weight, whole.edge_attr)
    sizes = []
    for part in parts(whole, 60, model.hops, model.edge_columns):
        data = part.data
        logits = model(data.x, data.edge_index, data.edge_weight, data.edge_attr)
        together[part.inner] = logits[part.kept]
        sizes.append(len(data.x))
    assert len(sizes) > 4
    assert max(sizes) < NODES
    assert conv != "none" or sum(sizes) == NODES, "without edges no part needs others' nodes"
    torch.testing.assert_close(together, said, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("conv", [name for name in CONVS if name != "none"])
def test_a_halo_one_step_thinner_would_show(conv: str) -> None:
    whole = graph(2)
    torch.manual_seed(0)
    model = build_gnn(conv, 4, 8, LAYERS, 3, 3).double().eval().requires_grad_(False)
    whole = whole.apply(lambda values: values.double() if values.is_floating_point() else values)
    said = model(whole.x, whole.edge_index, whole.edge_weight, whole.edge_attr)

    def differ(hops: int) -> float:
        off = []
        for part in parts(whole, 60, hops, model.edge_columns):
            data = part.data
            logits = model(data.x, data.edge_index, data.edge_weight, data.edge_attr)
            off.append(float((logits[part.kept] - said[part.inner]).abs().max()))
        return max(off)

    assert differ(model.hops) < 1e-12 < 1e-8 < differ(model.hops - 1)


def test_edges_keep_their_order_so_that_sums_do_too() -> None:
    whole = graph(2)
    found = list(parts(whole, 60, 2))
    assert len(found) > 4
    for part in found:
        assert part.data.num_edges > 100
        assert (part.data.edge_index[1].diff() >= 0).all()
