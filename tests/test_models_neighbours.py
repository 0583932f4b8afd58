"""Means over neighbours and dropout, against torch_geometric's and torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch_geometric.nn import SAGEConv

    from models.neighbours import Dropout, MeanSage, group_neighbours


EDGES: dict[str, list[list[int]]] = {
    "sorted by target": [[1, 3, 0, 2, 1, 0], [0, 0, 1, 1, 2, 3]],
    "in any order, one way": [[4, 0, 3, 0, 2], [0, 4, 1, 1, 0]],
    "twice and with a loop": [[0, 0, 2, 2], [1, 1, 2, 0]],
    "none": [[], []],
}


def edges_named(name: str) -> Tensor:
    return torch.tensor(EDGES[name], dtype=torch.long)


def both() -> tuple[SAGEConv, MeanSage]:
    torch.manual_seed(0)
    reference, ours = SAGEConv(6, 6), MeanSage(6, 6)
    ours.load_state_dict(reference.state_dict())
    return reference, ours


@pytest.mark.parametrize("name", EDGES)
def test_values_and_gradients_are_those_of_torch_geometric(name: str) -> None:
    edges = edges_named(name)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    found = []
    for conv in both():
        inputs = x.clone().requires_grad_()
        out = conv(conv(inputs, edges).relu(), edges)
        out.square().sum().backward()
        found.append([out.detach(), inputs.grad, *(weight.grad for weight in conv.parameters())])
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_same_edges_are_looked_at_once_and_others_anew() -> None:
    edges = edges_named("sorted by target")
    with torch.inference_mode():
        without = group_neighbours(edges, 4)
        assert without.out_of is None
        assert group_neighbours(edges, 4) is without
    once = group_neighbours(edges, 4)
    assert once.out_of is not None
    assert group_neighbours(edges, 4) is once
    assert group_neighbours(edges, 5) is not once
    assert group_neighbours(edges.clone(), 5).into.starts.tolist() == [0, 2, 4, 5, 6, 6]


def test_a_gradient_of_other_edges_in_between_is_its_own() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    first, second = edges_named("sorted by target"), edges_named("twice and with a loop")
    out = group_neighbours(first, 4).mean(x).sum() + group_neighbours(second, 4).mean(x).sum()
    out.backward()  # type: ignore[no-untyped-call]
    dense = torch.zeros(2, 4, 4)
    for matrix, edges in zip(dense, (first, second), strict=True):
        matrix.index_put_((edges[1], edges[0]), torch.ones(edges.shape[1]), accumulate=True)
        matrix /= matrix.sum(dim=1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(x.grad, dense.sum(dim=(0, 1))[:, None].expand(4, 3))


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_evenly_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 333, requires_grad=True)
    out = Dropout(p)(x)
    out.sum().backward()
    values = out.detach()
    kept = values > 0
    count = values.numel()
    assert abs(float(kept.double().mean()) - (1 - p)) < 5 * (p * (1 - p) / count) ** 0.5 + 1 / 65536
    assert float(values.double().mean()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(values[kept], torch.full_like(values[kept], 1 / (1 - p)), rtol=2e-4, atol=0)
    torch.testing.assert_close(x.grad, values, rtol=0, atol=0)
    both_kept = float((kept[:, 1:] & kept[:, :-1]).double().mean())  # neighbours share a draw and must not a fate
    assert both_kept == pytest.approx((1 - p) ** 2, abs=0.01)


def test_dropout_does_nothing_in_eval_mode_and_follows_the_seed() -> None:
    x = torch.randn(7, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(x))
    assert torch.equal(*drawn)
