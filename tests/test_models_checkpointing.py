"""Activations computed again change the memory of a step, no more; a batch in parts has the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
    from support.networks import Curved
    from torch import Tensor, nn

    from models.checkpointing import checkpoint_blocks, run_in_parts
    from models.unet import build_cnn

    Step = Callable[[nn.Module, Tensor], Tensor]


def network(architecture: str = "Unet", encoder: str = "resnet18") -> nn.Module:
    torch.manual_seed(0)
    return build_cnn(architecture, encoder, None, 1, 2).train()


def images() -> Tensor:
    return torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def curved(logits: Tensor) -> Tensor:
    """A loss that is no mean over the images."""
    return (logits.softmax(1)[:, 1].sum() - 100) ** 2 / 1e4


def gradients(model: nn.Module, forward: Step) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(2)
    curved(forward(model, images())).backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def kept_bytes(model: nn.Module) -> int:
    """What autograd keeps between forward and backward, each storage once."""
    kept: dict[int, int] = {}
    torch.manual_seed(1)

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(images())
    for weight in model.parameters():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    del result
    return sum(kept.values())


def whole(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch)  # type: ignore[no-any-return]


@pytest.mark.parametrize("names", [("Unet", "resnet18"), ("Unet", "efficientnet-b0"), ("UnetPlusPlus", "resnet18")])
def test_recomputed_blocks_change_only_what_is_kept(names: tuple[str, str]) -> None:
    plain, frugal = network(*names), network(*names)
    assert checkpoint_blocks(frugal) > 8
    assert kept_bytes(frugal) < 0.55 * kept_bytes(plain)
    expected, found = gradients(plain, whole), gradients(frugal, whole)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(frugal.state_dict()[name], value, msg=name)  # statistics are counted once


def test_in_eval_mode_recomputed_blocks_are_plain() -> None:
    plain, frugal = network().eval(), network().eval()
    checkpoint_blocks(frugal)
    torch.testing.assert_close(frugal(images()), plain(images()), rtol=0, atol=0)


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_the_gradient_of_parts_is_that_of_the_whole(parts: int) -> None:
    torch.manual_seed(0)
    model = Curved().train()
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    expected = gradients(model, whole)
    seen.clear()
    found = gradients(model, lambda model, batch: run_in_parts(model, batch, parts))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    assert max(seen) == -(-4 // min(parts, 4))
    assert sum(seen) == 2 * 4  # once forward, once more for the gradient


def test_parts_of_a_network_with_batch_statistics_count_each_part_once() -> None:
    model, by_hand = network(), network()
    gradients(model, lambda model, batch: run_in_parts(model, batch, 2))
    for part in images().tensor_split(2):
        by_hand(part)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)
