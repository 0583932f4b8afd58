"""Deep supervision: scores at four resolutions, gradients to every level, and a network that is left as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import CnnConfig, Config, DatasetConfig, TiledCnnConfig, TrainingConfig
from bench.datasets.sample import Sample, Task

if TYPE_CHECKING:
    import torch

    from bench.pipelines.cnn.tiled_cnn import TiledCnn
    from models.checkpointing import checkpoint_blocks
    from models.supervision import DeepSupervision, weigh_levels
    from models.unet import build_cnn

NARROW = [16, 8, 8, 4, 4]


def build() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_cnn("Unet", "tu-mobilenetv3_small_050", None, 1, 3, NARROW)


def test_levels_have_their_resolutions_and_their_gradients() -> None:
    network = build()
    deep = DeepSupervision(network, 3).train()
    levels = deep(torch.randn(2, 1, 64, 64))
    assert [tuple(one.shape) for one in levels] == [(2, 3, side, side) for side in (64, 32, 16, 8)]
    weigh_levels([one.square().mean() for one in levels]).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in deep.heads.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_checkpointed_blocks_give_the_same_levels_and_gradients() -> None:
    found = []
    for checkpointed in (False, True):
        network = build()
        if checkpointed:
            checkpoint_blocks(network)
        torch.manual_seed(1)
        deep = DeepSupervision(network, 3).train()
        levels = deep(torch.linspace(-1, 1, 4096).reshape(1, 1, 64, 64).expand(2, -1, -1, -1))
        weigh_levels([one.square().mean() for one in levels]).backward()  # type: ignore[no-untyped-call]
        found.append([*(one.detach() for one in levels), *(weight.grad for weight in deep.parameters())])
    assert sum(gradient is not None for gradient in found[0]) > 20, "of the network too, whose blocks are run again"
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again)


def test_the_network_is_left_as_it_was() -> None:
    network = build().eval()
    names, image = list(network.state_dict()), torch.randn(1, 1, 32, 32)
    before = network(image)
    deep = DeepSupervision(network, 3).eval()
    [after] = deep(image)
    torch.testing.assert_close(after, before)
    deep.remove()
    assert list(network.state_dict()) == names
    assert not any(module._forward_hooks for module in network.modules())


def test_weights_halve_from_level_to_level() -> None:
    losses = [torch.tensor(1.0), torch.tensor(2.0), torch.tensor(4.0)]
    assert float(weigh_levels(losses)) == pytest.approx((1 + 1 + 1) / 1.75)
    assert weigh_levels(losses[:1]) is losses[0]


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="needs the architecture Unet, got FPN"):
        DeepSupervision(build_cnn("FPN", "resnet18", None, 1, 2), 2)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_arm_learns_with_it_and_keeps_a_plain_network(scale: int) -> None:
    model = CnnConfig(encoder_name="tu-mobilenetv3_small_050", decoder_channels=NARROW)
    settings = TiledCnnConfig(
        model=model, crop_size=64, tile_size=64, overlap=16, batch_size=2, scale=scale, precision="float32",
        augmentation="strong", deep_supervision=True,
    )  # fmt: skip
    config = Config(DatasetConfig(), settings, training=TrainingConfig(epochs=1, steps=None), device="cpu")
    arm = TiledCnn(config, Task(("background", "cell"), 1, 2))
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (64, 64)).astype(np.uint8)
    sample = Sample("a", (mask + rng.normal(0, 0.1, mask.shape))[..., None].astype(np.float32), mask)
    item = arm.prepare(sample)
    log = arm.fit([item], [item])
    plain = TiledCnn(config, Task(("background", "cell"), 1, 2))
    assert list(arm.model.state_dict()) == list(plain.model.state_dict())
    assert log.parameters >= sum(p.numel() for p in plain.model.parameters())
    assert arm.predict(item).shape == (64, 64)
