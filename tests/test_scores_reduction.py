"""The ceiling of a lower resolution is what exact class shares of its blocks would paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import Config, SyntheticConfig, TiledCnnConfig
from bench.datasets.sample import Sample, Task
from bench.scores.reduction import reduce_and_restore
from bench.scores.scoring import SplitScores, find_scale

if TYPE_CHECKING:
    import torch

    from bench.pipelines.cnn.resolution import count_blocks, restore_scores


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_ceiling_is_what_the_network_would_paint_from_true_shares(scale: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 3, (7, 9)), np.ones((8, 8), int))[: 6 * 8, : 8 * 8]
    truth[rng.random(truth.shape) < 0.2] = 9
    counts = count_blocks(torch.from_numpy(truth)[None], 3, scale)[0]
    shares = counts / counts.sum(dim=-1, keepdim=True).clamp_min(1)
    restored = restore_scores(shares.permute(2, 0, 1), scale)
    clear = restored.topk(2, dim=0).values.diff(dim=0)[0].abs().numpy() > 1e-6
    found = reduce_and_restore(truth, scale, 3, 9)
    np.testing.assert_array_equal(found[clear], restored.argmax(dim=0).numpy()[clear])


def test_large_objects_survive_and_thin_lines_do_not() -> None:
    truth = np.zeros((64, 66), np.uint8)
    truth[8:40, 16:48] = 1
    truth[50, :] = 1
    found = reduce_and_restore(truth, 8, 2)
    assert found[12:36, 20:44].all()
    assert not found[46:56].any()
    np.testing.assert_array_equal(reduce_and_restore(truth[None].repeat(3, 0), 8, 2)[2], found)


def test_scores_hold_the_ceiling_of_a_network_at_lower_resolution() -> None:
    truth = np.zeros((32, 32), np.uint8)
    truth[5:19, 3:22] = 1
    config = Config(SyntheticConfig(), TiledCnnConfig(scale=4))
    scores = SplitScores(Task(("a", "b"), 1, 2), 2.0, scale=find_scale(config))
    scores.add(Sample("one", np.zeros((32, 32, 1), np.float32), truth), truth)
    rows = {(row["image"], row["metric"], row["class"]): row["value"] for row in scores.rows()}
    assert 0.8 < float(rows["all", "oracle_dice", "macro"]) < 1
    assert rows["all", "dice", "macro"] == 1
    assert not any(metric == "boundary_recall" for _, metric, _ in rows)
    assert find_scale(Config(SyntheticConfig(), TiledCnnConfig())) == 1
