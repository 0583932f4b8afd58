"""A network whose weights are cast once gives what autocast gives, and follows the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from models.narrow import NarrowCopy, narrow_weights
    from models.unet import build_cnn


def build(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    network = build_cnn(architecture, "resnet18", None, 1, 3).to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def predict(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        return network(image)  # type: ignore[no-any-return]


@pytest.mark.parametrize("architecture", ["Unet", "Segformer"])
def test_the_copy_gives_what_autocast_gives(architecture: str) -> None:
    network = build(architecture)
    image = torch.randn(2, 64, 64, 1).movedim(-1, 1)
    expected = predict(network, image)
    copy = narrow_weights(network, torch.bfloat16)
    assert torch.equal(predict(copy, image), expected)
    assert torch.equal(predict(network, image), expected)
    assert all(weight.dtype is torch.float32 for weight in network.parameters())


def test_all_but_the_weights_of_layers_is_shared() -> None:
    network = build("Unet")
    copy = narrow_weights(network, torch.bfloat16)
    own = [new for new, old in zip(copy.parameters(), network.parameters(), strict=True) if new is not old]
    assert {weight.dtype for weight in own} == {torch.bfloat16}
    assert sum(weight.numel() for weight in own) > 0.99 * sum(weight.numel() for weight in network.parameters())
    assert all(new is old for new, old in zip(copy.buffers(), network.buffers(), strict=True))


@pytest.mark.parametrize("how", ["step", "load"])
def test_the_copy_follows_the_weights(how: str) -> None:
    network, narrow = build("Unet"), NarrowCopy()
    image = torch.randn(1, 64, 64, 1).movedim(-1, 1)
    first = narrow.get(network, torch.bfloat16)
    assert narrow.get(network, torch.bfloat16) is first
    if how == "step":
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        network(image).square().mean().backward()
        optimizer.step()
    else:
        network.load_state_dict({name: value * 2 for name, value in network.state_dict().items()})
    changed = narrow.get(network, torch.bfloat16)
    assert changed is not first
    assert torch.equal(predict(changed, image), predict(network, image))
