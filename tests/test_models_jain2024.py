"""Laws of the published network and its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch_geometric.data import Data
    from torch_geometric.nn import GraphConv

    from models.jain2024 import Jain2024, replay


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


def logits(model: nn.Module, data: Data) -> Tensor:
    with torch.inference_mode():
        return model(data.x, data.edge_index, data.edge_weight, data.edge_attr)  # type: ignore[no-any-return]


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
