"""A network at lower resolution sees means, learns from class shares, and is the same tiled or whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.arrays.rows import read_by_rows
from bench.config import CnnConfig, Config, DatasetConfig, InputError, TiledCnnConfig, TrainingConfig
from bench.datasets.sample import Sample, Task

if TYPE_CHECKING:
    import torch
    from support.networks import Local
    from torch.nn import functional as F

    from bench.pipelines.cnn import flat
    from bench.pipelines.cnn.blocks import average_blocks, count_in_blocks
    from bench.pipelines.cnn.inference import PASS_PIXELS, Inferer, Tiling, count_tiles_at_once
    from bench.pipelines.cnn.resolution import (
        count_blocks,
        merge_blocks,
        reduce_images,
        restore_scores,
    )
    from bench.pipelines.cnn.tiled_cnn import TiledCnn


def test_blocks_are_counted_as_one_hot_means_would_be() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(-1, 3, (2, 12, 8)))
    counts = count_blocks(labels, 3, 4)
    hot = torch.stack([(labels == index).float() for index in range(3)], dim=1)
    assert torch.equal(counts, F.avg_pool2d(hot, 4).permute(0, 2, 3, 1) * 16)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_means_and_counts_of_a_crop_are_those_of_a_batch(lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    image, labels = rng.normal(size=(*lead, 16, 24, 2)).astype(np.float32), rng.integers(-1, 3, (*lead, 16, 24))
    means = reduce_images(torch.from_numpy(image).movedim(-1, 0)[None], 4)[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(average_blocks(image, 4), means, atol=1e-6)
    counts = count_blocks(torch.from_numpy(labels)[None], 3, 4)
    np.testing.assert_array_equal(count_in_blocks(labels, 3, 4), counts[0].numpy())
    assert torch.equal(merge_blocks(counts, 2), count_blocks(torch.from_numpy(labels)[None], 3, 8))


def test_scores_that_were_averaged_come_back_where_they_are_flat() -> None:
    flat = torch.arange(2.0).reshape(2, 1, 1).expand(2, 3, 5)
    assert torch.equal(restore_scores(flat, 4), torch.arange(2.0).reshape(2, 1, 1).expand(2, 12, 20))
    assert restore_scores(flat, 1) is flat
    ramp = torch.arange(6.0).expand(1, 4, 6)
    assert torch.allclose(restore_scores(ramp, 2)[0, 0, 1:-1], torch.arange(0.25, 5.0, 0.5))


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("side", [32, 128, 416, 512, 2048])
def test_tiles_that_are_predicted_at_once_have_no_more_pixels_than_a_pass(side: int, scale: int) -> None:
    windows = Tiling(side, 0, scale).cut((4 * side * scale,) * 2)
    for batch_size in (1, 3, 64):
        count = count_tiles_at_once(windows, batch_size, scale)
        assert 1 <= count <= batch_size
        assert count == 1 or count * side**2 <= PASS_PIXELS
        assert count == batch_size or (count + 1) * side**2 > PASS_PIXELS


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("scale", [2, 4])
def test_tiled_is_whole(scale: int, gaussian: bool) -> None:
    """Where tiles overlap by the receptive field, the mask is that of the whole image at once."""
    torch.manual_seed(0)
    network = Local(1, 3).eval()
    side = 32 * scale
    image = np.random.default_rng(0).normal(size=(3 * side, 5 * side, 1)).astype(np.float32)
    out = np.zeros(image.shape[:2], np.uint8)
    cut = Tiling(96, 32, scale).cut(out.shape)
    assert len(cut) > 1
    Inferer(network, torch.device("cpu"), torch.float32, 2, gaussian, scale=scale).segment(
        image, cut, out, lambda _: None
    )
    with torch.inference_mode():
        logits = network(reduce_images(torch.from_numpy(image).permute(2, 0, 1)[None], scale))
        whole = restore_scores(logits[0], scale)
    top = whole.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-3).numpy()
    inner = np.s_[scale:-scale, scale:-scale]
    same = (out == whole.argmax(dim=0).numpy()) | ~clear
    assert clear.mean() > 0.9
    assert same[inner].all() if not gaussian else same[inner].mean() > 0.95


def arm(scale: int, monkeypatch: pytest.MonkeyPatch) -> TiledCnn:
    monkeypatch.setattr(flat, "build_cnn", lambda *a: Local(a[3], a[4]))
    settings = TiledCnnConfig(
        model=CnnConfig(), scale=scale, crop_size=32, tile_size=64, overlap=16, batch_size=4, learning_rate=0.05,
        jitter=0.0, precision="float32",
    )  # fmt: skip
    training = TrainingConfig(steps=60, patience=None, warmup=0)
    return TiledCnn(Config(DatasetConfig(), settings, training=training, device="cpu"), Task(("a", "b"), 1, 2, 9))


def blocks(seed: int, *shape: int) -> Sample:
    """Classes constant in blocks of 16 pixels, seen through noise; the first rows count for nothing."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, (shape[0] // 16 + 1, shape[1] // 16 + 1))
    mask = np.kron(coarse, np.ones((16, 16), np.uint8))[: shape[0], : shape[1]].astype(np.uint8)
    image = (mask - 0.5 + rng.normal(0, 1.0, shape))[..., None].astype(np.float32)
    mask[:3] = 9
    return Sample(str(seed), image, mask)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_mean_of_many_noisy_pixels_tells_what_one_cannot(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {}
    for used in (1, scale):
        one = arm(used, monkeypatch)
        items = [one.prepare(blocks(seed, 150, 210)) for seed in range(3)]
        log = one.fit(items[:2], items[2:])
        assert log.best_score is not None
        scores[used] = log.best_score
        mask = one.predict(items[2])
        assert mask.shape == (150, 210)
        assert mask.dtype == np.uint8
        out = np.zeros((150, 210), np.uint8)
        one.make_inferer().segment(read_by_rows(items[2].image), one.tiling.cut(out.shape), out, lambda _: None)
        np.testing.assert_array_equal(out, mask)
    assert scores[scale] > scores[1] + 0.01


def test_a_scale_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"pipeline\.scale must be 1, 2, 4 or 8, got 3"):
        TiledCnnConfig(scale=3)
