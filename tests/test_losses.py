"""The loss is one formula for labels and shares, for pixels and for nodes of pixels; its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from bench.learning.losses import class_weights, segmentation_loss


LABELS = (0, 1, 1, 0, 2, 0, 0, 1, 2, 2, 2, 1)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor(LABELS)


@pytest.fixture
def class_costs() -> Tensor:
    return torch.tensor([0.5, 1.0, 1.5])


def test_one_hot_fractions_cost_what_labels_cost(logits: Tensor, labels: Tensor, class_costs: Tensor) -> None:
    weights = torch.arange(12.0)
    by_label = segmentation_loss(logits, labels, weights, class_costs)
    by_share = segmentation_loss(logits, F.one_hot(labels, 3).float(), weights, class_costs)
    torch.testing.assert_close(by_label, by_share)


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_a_node_costs_what_its_pixels_cost(
    dice_weight: float, logits: Tensor, labels: Tensor, class_costs: Tensor
) -> None:
    nodes = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3])  # node of each pixel
    shares = torch.stack([F.one_hot(labels[nodes == node], 3).float().mean(0) for node in range(4)])
    by_node = segmentation_loss(logits[:4], shares, torch.bincount(nodes), class_costs, dice_weight=dice_weight)
    by_pixel = segmentation_loss(logits[nodes], labels, None, class_costs, dice_weight=dice_weight)
    torch.testing.assert_close(by_node, by_pixel)


def test_cross_entropy_is_that_of_torch(logits: Tensor, labels: Tensor, class_costs: Tensor) -> None:
    kept = labels.masked_fill(labels == 1, -1)
    expected = F.cross_entropy(logits, kept, class_costs, ignore_index=-1)
    ours = segmentation_loss(logits, kept, None, class_costs, dice_weight=0, ignore_index=-1)
    torch.testing.assert_close(ours, expected)


def test_soft_dice_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]))
    loss = segmentation_loss(logits, torch.tensor([0, 0, 1]), None, cross_entropy_weight=0)
    first, second = 2 * (0.9 + 0.4) / (1.5 + 2), 2 * 0.8 / (1.5 + 1)
    assert float(loss) == pytest.approx(1 - (first + second) / 2)


def test_ignored_pixels_cost_nothing(logits: Tensor, labels: Tensor, class_costs: Tensor) -> None:
    kept = labels != 1
    everything = segmentation_loss(logits, labels, None, class_costs, ignore_index=1)
    torch.testing.assert_close(everything, segmentation_loss(logits[kept], labels[kept], None, class_costs))
    nothing = logits.clone().requires_grad_()
    loss = segmentation_loss(nothing, torch.full((12,), -1), None, ignore_index=-1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert nothing.grad is not None
    assert (nothing.grad == 0).all()


def test_gradients_agree_for_labels_and_shares(logits: Tensor, labels: Tensor, class_costs: Tensor) -> None:
    grads = []
    for targets in (labels, F.one_hot(labels, 3).float()):
        inputs = logits.clone().requires_grad_()
        loss = segmentation_loss(inputs, targets, torch.arange(12.0), class_costs)
        loss.backward()  # type: ignore[no-untyped-call]
        grads.append(inputs.grad)
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("scheme", ["none", "sqrt", "inverse"])
def test_class_weights_have_mean_one_over_the_classes_that_occur(scheme: str) -> None:
    counts = np.array([900, 0, 100])
    weights = class_weights(counts, scheme)
    assert float(weights[[0, 2]].mean()) == pytest.approx(1)
    assert weights[1] == 1
    ratio = {"none": 1.0, "sqrt": 3.0, "inverse": 9.0}[scheme]
    assert float(weights[2] / weights[0]) == pytest.approx(ratio)


def test_unknown_class_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="scheme must be one of none, sqrt, inverse"):
        class_weights(np.ones(2, int), "cubic")
