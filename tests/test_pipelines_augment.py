"""Augmented graphs are the graphs of augmented images, without taking their features again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import GraphConfig, SuperpixelsConfig
from bench.superpixels.registry import segment

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Batch, Data

    from bench.graphs.build import build_graph
    from bench.pipelines.gnn.augment import Response, find_response, jitter


CONFIG = GraphConfig(features=["intensity", "quantiles", "texture", "shape"])


def image(seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(40, 44, 2)).cumsum(axis=0) / 4 + 5).astype(np.float32)


def graph(seen: NDArray[np.float32], segments: NDArray[np.int32]) -> Data:
    return build_graph(seen, segments, CONFIG)


def test_jitter_is_the_graph_of_a_brighter_and_steeper_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = image()
    segments = segment(seen, SuperpixelsConfig(superpixel_size=40))
    answers = find_response(2, 2, CONFIG)
    monkeypatch.setattr(torch, "randn", lambda count: torch.full((count,), 0.5))
    changed = jitter(Batch.from_data_list([graph(seen, segments)]), 0.4, answers)
    expected = graph((seen * np.exp(0.2) + 0.2).astype(np.float32), segments)
    torch.testing.assert_close(changed.x, expected.x, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(changed.edge_attr, expected.edge_attr, rtol=1e-3, atol=1e-3)


def test_each_graph_of_a_batch_is_jittered_on_its_own() -> None:
    torch.manual_seed(0)
    parts = [Data(x=torch.ones(3, 1), edge_index=torch.zeros(2, 1, dtype=torch.long), edge_attr=torch.ones(1, 6))] * 2
    changed = jitter(Batch.from_data_list(parts), 1.0, Response(torch.ones(1), torch.ones(1)))
    assert len(set(changed.x[:3, 0].tolist())) == len(set(changed.x[3:, 0].tolist())) == 1
    assert changed.x[0] != changed.x[3]
    assert (parts[0].x == 1).all()
