"""The loss is one formula for labels and shares, for pixels and for nodes of pixels; its weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.learning.losses import class_weights, segmentation_loss

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1, 0, 2, 0, 0, 1, 2, 2, 2, 1])
CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 1.5])


def test_one_hot_fractions_cost_what_labels_cost() -> None:
    weights = torch.arange(12.0)
    by_label = segmentation_loss(LOGITS, LABELS, weights, CLASS_WEIGHTS)
    by_share = segmentation_loss(LOGITS, F.one_hot(LABELS, 3).float(), weights, CLASS_WEIGHTS)
    torch.testing.assert_close(by_label, by_share)


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_a_node_costs_what_its_pixels_cost(dice_weight: float) -> None:
    nodes = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3])  # node of each pixel
    shares = torch.stack([F.one_hot(LABELS[nodes == node], 3).float().mean(0) for node in range(4)])
    by_node = segmentation_loss(LOGITS[:4], shares, torch.bincount(nodes), CLASS_WEIGHTS, dice_weight=dice_weight)
    by_pixel = segmentation_loss(LOGITS[nodes], LABELS, None, CLASS_WEIGHTS, dice_weight=dice_weight)
    torch.testing.assert_close(by_node, by_pixel)


def test_cross_entropy_is_that_of_torch() -> None:
    labels = LABELS.masked_fill(LABELS == 1, -1)
    expected = F.cross_entropy(LOGITS, labels, CLASS_WEIGHTS, ignore_index=-1)
    ours = segmentation_loss(LOGITS, labels, None, CLASS_WEIGHTS, dice_weight=0, ignore_index=-1)
    torch.testing.assert_close(ours, expected)


def test_soft_dice_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]))
    loss = segmentation_loss(logits, torch.tensor([0, 0, 1]), None, cross_entropy_weight=0)
    first, second = 2 * (0.9 + 0.4) / (1.5 + 2), 2 * 0.8 / (1.5 + 1)
    assert float(loss) == pytest.approx(1 - (first + second) / 2)


def test_ignored_pixels_cost_nothing() -> None:
    kept = LABELS != 1
    everything = segmentation_loss(LOGITS, LABELS, None, CLASS_WEIGHTS, ignore_index=1)
    torch.testing.assert_close(everything, segmentation_loss(LOGITS[kept], LABELS[kept], None, CLASS_WEIGHTS))
    nothing = LOGITS.clone().requires_grad_()
    loss = segmentation_loss(nothing, torch.full((12,), -1), None, ignore_index=-1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert nothing.grad is not None
    assert (nothing.grad == 0).all()


def test_gradients_agree_for_labels_and_shares() -> None:
    grads = []
    for targets in (LABELS, F.one_hot(LABELS, 3).float()):
        logits = LOGITS.clone().requires_grad_()
        loss = segmentation_loss(logits, targets, torch.arange(12.0), CLASS_WEIGHTS)
        loss.backward()  # type: ignore[no-untyped-call]
        grads.append(logits.grad)
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
