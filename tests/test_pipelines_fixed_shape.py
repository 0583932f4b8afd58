"""Laws of a batch that is filled up to one shape: loss and gradient stay what they are, and so do the neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch_geometric.data import Data

    from bench.learning.losses import segmentation_loss
    from bench.pipelines.gnn.inputs import ADDED_ROWS, FixedShape, choose_shape, choose_targets, fix_inputs, list_inputs
    from bench.pipelines.gnn.sampler import GraphSampler
    from models.gnn import Gnn, build_gnn
    from models.neighbours import find_neighbours

CLASSES = 3


def graph(nodes: int, edges: int, seed: int = 0) -> Data:
    """Random edges sorted by target, some nodes without any, some pixels of no class."""
    rng = np.random.default_rng(seed)
    ends = np.stack([rng.integers(0, nodes, edges), np.sort(rng.integers(0, max(nodes - 3, 1), edges))])
    return Data(
        x=torch.from_numpy(rng.normal(5, 1, (nodes, 4)).astype(np.float32)),
        pos=torch.from_numpy(rng.uniform(0, 100, (nodes, 2)).astype(np.float32)),
        edge_index=torch.from_numpy(ends),
        edge_attr=torch.from_numpy(rng.normal(size=(edges, 3)).astype(np.float32)),
        edge_weight=torch.from_numpy(rng.uniform(0.1, 1, edges).astype(np.float32)),
        y_counts=torch.from_numpy(rng.integers(0, 9, (nodes, CLASSES))),
        num_pixels=torch.full((nodes,), 30),
    )


def network(conv: str, data: Data) -> Gnn:
    torch.manual_seed(0)
    made = build_gnn(conv, 4, 8, 2, CLASSES, 3, dropout=0.0)
    made.standardize([data.x], [data.edge_attr])
    return made.train()


@pytest.mark.parametrize("conv", ["sage", "none"])
@pytest.mark.parametrize("kind", ["fractions", "majority"])
@pytest.mark.parametrize("edges", [0, 1, 190, 240])
def test_rows_that_are_added_change_neither_loss_nor_gradient(conv: str, kind: str, edges: int) -> None:
    data = graph(50, edges)
    model = network(conv, data)

    def compare(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        *ends, counts = inputs
        return segmentation_loss(model(*ends), *choose_targets(counts, kind), torch.tensor([1.0, 2.0, 0.5]))

    def learn(loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])

    fixed = fix_inputs(GraphSampler([graph(160, 800)], 120, 0, np.empty(0, np.intp)), list_inputs, compare)
    assert fixed is not None
    filled = fixed.make(data)
    assert filled is not None
    plain, same = learn(compare(list_inputs(data))), learn(fixed.loss(filled))
    assert same[0] == pytest.approx(plain[0], rel=1e-5)
    torch.testing.assert_close(same[1], plain[1], rtol=1e-4, atol=1e-6)


def test_every_batch_of_a_sampler_has_the_same_shapes() -> None:
    sampler = GraphSampler([graph(900, 5000), graph(40, 100), graph(70, 500)], 128, 0, np.empty(0, np.intp))
    shape = choose_shape(sampler)
    assert shape is not None
    seen = set()
    for batch in [batch for epoch in range(3) for batch in sampler.draw_epoch(epoch)]:
        filled = shape.fill(list_inputs(batch))
        assert filled is not None
        seen.add(tuple((tuple(values.shape), values.dtype) for values in filled))
        added = filled[1][:, batch.edge_index.shape[1] :]
        assert torch.equal(added[0], added[1]), "each is from a node to itself"
        assert added.numel() == 0 or int(added.min()) >= len(batch.x), "among the nodes that were added"
        found = find_neighbours(filled[1], shape.rows, gradient=True)
        assert all(torch.equal(one, other) for one, other in zip(found.to_tensors(), filled[5:], strict=True))
        assert bool((filled[1][1].diff() >= 0).all()) == bool((batch.edge_index[1].diff() >= 0).all())
    assert len(seen) == 1


def test_a_batch_that_is_too_large_is_not_filled_up() -> None:
    shape = FixedShape(50 + ADDED_ROWS, 200)
    assert shape.fill(list_inputs(graph(50, 200))) is not None
    assert shape.fill(list_inputs(graph(51, 200))) is None
    assert shape.fill(list_inputs(graph(50, 201))) is None


def test_whole_graphs_have_no_shape_in_common() -> None:
    assert choose_shape(GraphSampler([graph(50, 200)], None, 0, np.empty(0, np.intp))) is None
