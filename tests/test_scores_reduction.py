"""The ceiling of a lower resolution is what exact class shares of its blocks would paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import Config, SyntheticConfig, TiledCnnConfig
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix
from bench.scores.reduction import count_reduced, reduce_and_restore
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


@pytest.mark.parametrize("shape", [(61, 83), (7, 40, 33)])
def test_the_ceiling_in_bands_is_that_of_the_whole_image(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    truth = np.kron(rng.integers(0, 3, shape), np.ones((3,) * len(shape), int))[tuple(map(slice, shape))]
    truth[rng.random(shape) < 0.1] = 9
    whole = reduce_and_restore(truth, 4, 3, 9)
    for start, stop in ((0, 3), (2, 7), (3, 4), (0, shape[0]), (5, shape[0])):
        np.testing.assert_array_equal(reduce_and_restore(truth, 4, 3, 9, (start, stop)), whole[start:stop])
    monkeypatch.setattr("bench.scores.reduction.BAND_PIXELS", 5 * int(np.prod(shape[1:])))
    np.testing.assert_array_equal(count_reduced(truth, 4, 3, 9), confusion_matrix(truth, whole, 3, 9))


def test_small_and_large_images_of_one_split_have_their_ceilings() -> None:
    def score(large_pixels: int) -> dict[tuple[str, str, str], float]:
        scores = SplitScores(Task(("a", "b"), 1, 2), 2.0, scale=4, large_pixels=large_pixels)
        for side in (32, 64):
            truth = np.zeros((side, side), np.uint8)
            truth[5:19, 3:22] = 1
            scores.add(Sample(str(side), np.zeros((side, side, 1), np.float32), truth), truth)
        return {(str(r["image"]), str(r["metric"]), str(r["class"])): float(r["value"]) for r in scores.rows()}

    whole, mixed = score(1 << 24), score(32 * 32)
    assert whole.keys() == mixed.keys()
    empty = {key for key in whole if key[0] != "32" and ("cl_dice" in key[1] or "ratio" in key[1])}
    assert np.isnan([mixed[key] for key in empty]).all()
    assert {key: whole[key] for key in whole.keys() - empty} == {key: mixed[key] for key in whole.keys() - empty}
