"""Augmented graphs are the graphs of augmented images, without taking their features again."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch, Data

from bench.config import GraphConfig, SuperpixelsConfig
from bench.graphs.build import build_graph
from bench.pipelines.gnn.augment import Response, edges_dropped, features_dropped, jittered, mirrored, response
from bench.superpixels.registry import segment

CONFIG = GraphConfig(features=["intensity", "quantiles", "texture", "shape"])


def image(seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(40, 44, 2)).cumsum(axis=0) / 4 + 5).astype(np.float32)


def graph(seen: NDArray[np.float32], segments: NDArray[np.int32]) -> Data:
    return build_graph(seen, segments, CONFIG)


def test_jitter_is_the_graph_of_a_brighter_and_steeper_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = image()
    segments = segment(seen, SuperpixelsConfig(superpixel_size=40))
    answers = response(2, 2, CONFIG)
    monkeypatch.setattr(torch, "randn", lambda count: torch.full((count,), 0.5))
    changed = jittered(Batch.from_data_list([graph(seen, segments)]), 0.4, answers)
    expected = graph((seen * np.exp(0.2) + 0.2).astype(np.float32), segments)
    torch.testing.assert_close(changed.x, expected.x, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(changed.edge_attr, expected.edge_attr, rtol=1e-3, atol=1e-3)


def test_each_graph_of_a_batch_is_jittered_on_its_own() -> None:
    torch.manual_seed(0)
    parts = [Data(x=torch.ones(3, 1), edge_index=torch.zeros(2, 1, dtype=torch.long), edge_attr=torch.ones(1, 6))] * 2
    changed = jittered(Batch.from_data_list(parts), 1.0, Response(torch.ones(1), torch.ones(1)))
    assert len(set(changed.x[:3, 0].tolist())) == len(set(changed.x[3:, 0].tolist())) == 1
    assert changed.x[0] != changed.x[3]
    assert (parts[0].x == 1).all()


def test_a_mirrored_graph_is_the_graph_of_the_mirrored_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = image()
    segments = segment(seen, SuperpixelsConfig(superpixel_size=40))
    monkeypatch.setattr(torch, "rand", lambda axes: torch.tensor([0.1, 0.9])[:axes])
    changed, expected = mirrored(graph(seen, segments)), graph(seen[::-1].copy(), segments[::-1].copy())
    assert torch.equal(changed.edge_index, expected.edge_index)
    torch.testing.assert_close(changed.edge_attr, expected.edge_attr, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(changed.pos[:, 0] + 39, expected.pos[:, 0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(changed.x, expected.x, rtol=1e-2, atol=2e-2)


def test_dropped_edges_are_gone_with_what_they_carry_and_loops_stay() -> None:
    torch.manual_seed(0)
    numbers = torch.arange(4000)
    index = torch.stack([numbers % 100, numbers % 77])
    whole = Data(x=torch.ones(100, 1), edge_index=index, edge_attr=numbers[:, None].float(), edge_weight=numbers / 2)
    left = edges_dropped(whole, 0.3)
    kept = left.edge_attr[:, 0].long()
    assert torch.equal(left.edge_index, index[:, kept])
    assert torch.equal(left.edge_weight, kept / 2)
    loops = numbers[index[0] == index[1]]
    assert set(loops.tolist()) <= set(kept.tolist())
    assert len(kept) / 4000 == pytest.approx(0.7, abs=0.03)


def test_dropped_features_are_at_their_mean() -> None:
    torch.manual_seed(0)
    whole = Data(x=torch.arange(4000.0).reshape(1000, 4) + 10)
    mean = torch.tensor([-1.0, -2.0, -3.0, -4.0])
    changed = features_dropped(whole, 0.25, mean).x
    assert torch.equal(changed, torch.where(changed < 0, mean, whole.x))
    assert (changed < 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
