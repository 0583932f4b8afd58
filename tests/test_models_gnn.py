"""Laws of the graph networks, for every convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.source import registry_keys

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch_geometric.data import Batch, Data

    from models.gnn import Gnn, build_gnn, measure_moments

CONVS = registry_keys("models/gnn.py", "CONVS")


NODES, FEATURES, CLASSES, EDGE_DIM = 7, 5, 3, 4


def ring(nodes: int, seed: int) -> Data:
    """A ring with random inputs: every node has a left and a right neighbour."""
    generator = torch.Generator().manual_seed(seed)
    here = torch.arange(nodes)
    forward = torch.stack([here, (here + 1) % nodes])
    edge_index = torch.cat([forward, forward.flip(0)], dim=1)
    edges = edge_index.shape[1]
    return Data(
        x=torch.randn(nodes, FEATURES, generator=generator),
        edge_index=edge_index,
        edge_attr=torch.randn(edges, EDGE_DIM, generator=generator),
        edge_weight=torch.rand(edges, generator=generator) * 0.9 + 0.1,
    )


def network(conv: str, norm: str = "layer", num_layers: int = 2) -> Gnn:
    torch.manual_seed(0)
    return build_gnn(conv, FEATURES, 8, num_layers, CLASSES, EDGE_DIM, dropout=0.3, norm=norm).eval()


def logits(model: Gnn, data: Data) -> Tensor:
    with torch.inference_mode():
        return model(data.x, data.edge_index, data.edge_weight, data.edge_attr)  # type: ignore[no-any-return]


@pytest.mark.parametrize("conv", CONVS)
def test_renaming_the_nodes_renames_the_predictions(conv: str) -> None:
    data, model = ring(NODES, 1), network(conv)
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(3))
    shuffle = torch.randperm(data.num_edges, generator=torch.Generator().manual_seed(4))
    renamed = Data(
        x=data.x[order],
        edge_index=torch.argsort(order)[data.edge_index][:, shuffle],
        edge_attr=data.edge_attr[shuffle],
        edge_weight=data.edge_weight[shuffle],
    )
    expected = logits(model, data)[order]
    assert expected.shape == (NODES, CLASSES)
    assert torch.allclose(logits(model, renamed), expected, atol=1e-5)


@pytest.mark.parametrize("conv", CONVS)
def test_edges_reach_the_output_of_every_convolution_but_none(conv: str) -> None:
    data, model = ring(NODES, 1), network(conv)
    alone = Data(
        x=data.x,
        edge_index=data.edge_index[:, :0],
        edge_attr=data.edge_attr[:0],
        edge_weight=data.edge_weight[:0],
    )
    same = torch.allclose(logits(model, data), logits(model, alone), atol=1e-6)
    assert same == (conv == "none")


@pytest.mark.parametrize("conv", [conv for conv in CONVS if conv != "none"])
def test_a_message_travels_one_edge_per_layer(conv: str) -> None:
    data = ring(NODES, 1)
    moved = data.clone()
    moved.x[0] += 1
    for layers, reached in ((1, {0, 1, 6}), (2, {0, 1, 2, 5, 6})):
        model = network(conv, num_layers=layers)
        change = (logits(model, moved) - logits(model, data)).abs().amax(dim=1)
        assert set(torch.nonzero(change > 1e-7).flatten().tolist()) == reached


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("conv", CONVS)
def test_a_batch_of_graphs_is_the_graphs_one_by_one(conv: str, norm: str) -> None:
    graphs, model = [ring(5, 1), ring(8, 2)], network(conv, norm)
    together = logits(model, Batch.from_data_list(graphs))
    assert torch.allclose(together, torch.cat([logits(model, graph) for graph in graphs]), atol=1e-5)


@pytest.mark.parametrize("conv", ["gcn"])
def test_weights_reach_the_convolutions_that_take_them(conv: str) -> None:
    data, model = ring(NODES, 1), network(conv)
    lighter = data.clone()
    lighter.edge_weight[0] /= 10
    assert not torch.allclose(logits(model, data), logits(model, lighter), atol=1e-6)


@pytest.mark.parametrize("conv", ["gatv2", "transformer"])
def test_attributes_reach_the_convolutions_that_take_them(conv: str) -> None:
    data, model = ring(NODES, 1), network(conv)
    other = data.clone()
    other.edge_attr[0] += 1
    assert not torch.allclose(logits(model, data), logits(model, other), atol=1e-6)


def test_standardizing_undoes_any_scale_and_offset_of_the_inputs() -> None:
    data, model = ring(NODES, 1), network("gatv2")
    model.standardize([data.x], [data.edge_attr])
    expected = logits(model, data)
    data.x, data.edge_attr = data.x * 50 - 3, data.edge_attr * 0.1 + 7
    model.standardize([data.x], [data.edge_attr])
    assert torch.allclose(logits(model, data), expected, atol=1e-4)


def test_moments_do_not_depend_on_how_the_rows_are_divided() -> None:
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 3 + 100
    mean, deviation = measure_moments([rows[:20], rows[20:]], rows=7)
    assert torch.allclose(mean, rows.double().mean(dim=0))
    assert torch.allclose(deviation, rows.double().std(dim=0, correction=0))


def test_a_constant_feature_is_harmless() -> None:
    data, model = ring(NODES, 1), network("sage")
    data.x[:, 0] = 4.2
    model.standardize([data.x], [data.edge_attr])
    assert torch.isfinite(logits(model, data)).all()


def test_the_statistics_travel_with_the_weights() -> None:
    data, model = ring(NODES, 1), network("sage")
    model.standardize([data.x[:4] * 3 + 1, data.x[4:] * 3 + 1], [data.edge_attr])
    other = build_gnn("sage", FEATURES, 8, 2, CLASSES, EDGE_DIM).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other, data), logits(model, data))


@pytest.mark.parametrize("conv", CONVS)
def test_every_parameter_learns(conv: str) -> None:
    data, model = ring(NODES, 1), network(conv).train()
    model(data.x, data.edge_index, data.edge_weight, data.edge_attr).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_deep_stacks_do_not_make_all_nodes_alike() -> None:
    outputs = logits(network("gcn", num_layers=24), ring(NODES, 1))
    assert outputs.std(dim=0).min() > 1e-2


@pytest.mark.parametrize(("conv", "norm", "named"), [("sag", "layer", "sage"), ("sage", "graph", "batch")])
def test_unknown_names_are_refused_with_the_known_ones(conv: str, norm: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build_gnn(conv, FEATURES, 8, 2, CLASSES, EDGE_DIM, norm=norm)
