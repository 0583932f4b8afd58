"""Laws of the networks to which a whole graph matters, and of the published one."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphConv

from models.gnn import build_gnn
from models.hierarchy import HierarchicalGnn, edges_of_cells, mean_of_cells
from models.jain2024 import Jain2024, replay
from models.lattice import number_cubes

FEATURES, CLASSES = 4, 3


def grid(side: int = 9, seed: int = 0) -> Data:
    """A square lattice of nodes ten pixels apart, each joined to its right and lower neighbour, both ways."""
    generator = torch.Generator().manual_seed(seed)
    number = torch.arange(side * side).reshape(side, side)
    right = torch.stack([number[:, :-1].flatten(), number[:, 1:].flatten()])
    down = torch.stack([number[:-1].flatten(), number[1:].flatten()])
    index = torch.cat([right, right.flip(0), down, down.flip(0)], dim=1)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return Data(
        x=torch.randn(side * side, FEATURES, generator=generator),
        pos=torch.stack([rows.flatten(), columns.flatten()], dim=1) * 10.0,
        edge_index=index,
        edge_weight=torch.ones(index.shape[1]),
        edge_attr=torch.zeros(index.shape[1], 2),
    )


def network(name: str, num_layers: int = 6) -> nn.Module:
    torch.manual_seed(0)
    if name == "hierarchy":
        return HierarchicalGnn(FEATURES, 8, num_layers, CLASSES, 2, dropout=0.0).eval()
    return build_gnn("tokens", FEATURES, 8, num_layers, CLASSES, 2, dropout=0.0).eval()


@torch.inference_mode()
def logits(model: nn.Module, data: Data) -> Tensor:
    batch = data.batch if isinstance(data, Batch) else None
    return model(data.x, data.edge_index, data.edge_weight, data.edge_attr, data.pos, batch)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["hierarchy", "tokens"])
def test_a_batch_of_graphs_is_the_graphs_one_by_one(name: str) -> None:
    graphs, model = [grid(5, 1), grid(9, 2), grid(3, 3)], network(name)
    together = logits(model, Batch.from_data_list(graphs))
    torch.testing.assert_close(together, torch.cat([logits(model, graph) for graph in graphs]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["hierarchy", "tokens"])
def test_renaming_the_nodes_renames_the_predictions(name: str) -> None:
    data, model = grid(), network(name)
    order = torch.randperm(len(data.x), generator=torch.Generator().manual_seed(3))
    renamed = data.clone()
    renamed.x, renamed.pos = data.x[order], data.pos[order]
    renamed.edge_index = torch.argsort(order)[data.edge_index]
    torch.testing.assert_close(logits(model, renamed), logits(model, data)[order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "layers"), [("hierarchy", 6), ("tokens", 2)])
def test_news_from_one_corner_reach_the_other(name: str, layers: int) -> None:
    data, model = grid(), network(name, layers)
    moved = data.clone()
    moved.x[0] += 5
    change = (logits(model, moved) - logits(model, data)).abs().amax(dim=1)
    assert change[-1] > 1e-6


@pytest.mark.parametrize("name", ["hierarchy", "tokens"])
@pytest.mark.parametrize("layers", [1, 3, 6, 11])
def test_every_parameter_learns_at_any_depth(name: str, layers: int) -> None:
    model, data = network(name, layers).train(), grid()
    model(data.x, data.edge_index, data.edge_weight, data.edge_attr, data.pos, None).square().sum().backward()
    assert [label for label, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_hierarchy_without_edges_or_with_one_node_still_answers() -> None:
    alone = grid()
    alone.edge_index, alone.edge_weight, alone.edge_attr = alone.edge_index[:, :0], torch.zeros(0), torch.zeros(0, 2)
    assert logits(network("hierarchy"), alone).isfinite().all()


def test_cells_are_cubes_of_one_graph_each() -> None:
    pos = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) * 100
    batch = torch.arange(300) // 150
    cell = number_cubes(pos, torch.tensor(30.0), torch.tensor([3.0, 0.0, 7.0]), batch)
    assert torch.equal(torch.unique(cell), torch.arange(int(cell.max()) + 1))
    for number in range(int(cell.max()) + 1):
        members = cell == number
        assert (pos[members].amax(dim=0) - pos[members].amin(dim=0)).max() <= 30
        assert len(set(batch[members].tolist())) == 1
    corners = torch.floor((pos + torch.tensor([3.0, 0.0, 7.0])) / 30)
    same = (corners[:, None] == corners[None]).all(dim=2) & (batch[:, None] == batch[None])
    assert torch.equal(cell[:, None] == cell[None], same)


def test_cells_are_joined_where_their_nodes_are() -> None:
    index = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 3, 1]])
    found = edges_of_cells(index, torch.tensor([0, 0, 1, 2]), 3)
    assert {tuple(pair) for pair in found.T.tolist()} == {(0, 1), (1, 2), (2, 0)}
    means = mean_of_cells(torch.tensor([[1.0], [3.0], [5.0], [7.0]]), torch.tensor([0, 0, 1, 2]), 3)
    assert means.flatten().tolist() == [2, 5, 7]


def test_the_published_network_adds_up_its_neighbours_by_weight() -> None:
    torch.manual_seed(0)
    model, data = Jain2024(FEATURES, CLASSES).eval(), grid(4)
    state, x = model.state_dict(), data.x
    adjacency = torch.zeros(16, 16)
    adjacency[data.edge_index[1], data.edge_index[0]] = data.edge_weight
    for layer in ("conv_first", "conv1", "conv_last"):
        heard = adjacency @ x @ state[f"{layer}.lin_rel.weight"].T + state[f"{layer}.lin_rel.bias"]
        x = heard + x @ state[f"{layer}.lin_root.weight"].T
        x = x if layer == "conv_last" else torch.where(x > 0, x, 0.01 * x)
    torch.testing.assert_close(logits(model, data), x, atol=1e-5, rtol=1e-4)


def published(in_channels: int = 11, num_classes: int = 2) -> dict[str, Tensor]:
    """Weights by the names and shapes that a `GraphConv` of torch_geometric writes into a published checkpoint."""
    torch.manual_seed(1)
    sizes = {"conv_first": (in_channels, 32), "conv1": (32, 32), "conv_last": (32, num_classes)}
    layers = nn.ModuleDict({name: GraphConv(*size) for name, size in sizes.items()})
    return dict(layers.state_dict())


def test_a_published_checkpoint_comes_to_life() -> None:
    weights = published()
    assert sorted(weights)[:3] == ["conv1.lin_rel.bias", "conv1.lin_rel.weight", "conv1.lin_root.weight"]
    model = replay(weights, 11, 2)
    assert not model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


def test_weights_of_something_else_are_refused_by_name() -> None:
    weights = published()
    weights["conv2.lin_rel.bias"] = weights.pop("conv1.lin_rel.bias")
    with pytest.raises(ValueError, match=r"missing conv1\.lin_rel\.bias, unknown conv2\.lin_rel\.bias"):
        replay(weights, 11, 2)


def test_weights_of_another_shape_are_refused_by_shape() -> None:
    with pytest.raises(ValueError, match=r"conv_first\.lin_rel\.weight is \(32, 11\), not \(32, 22\)"):
        replay(published(), 22, 2)
    with pytest.raises(ValueError, match="3 classes"):
        replay(published(), 11, 3)
