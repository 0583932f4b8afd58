"""The one loss of every learning arm, on pixels whether they come singly or bundled in superpixels, and its weights."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def segmentation_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    class_weights: Tensor | None = None,
    *,
    cross_entropy_weight: float = 1.0,
    dice_weight: float = 1.0,
    ignore_index: int | None = None,
) -> Tensor:
    """Cross-entropy plus soft Dice over pixels: the same number whether pixels come one by one or bundled in nodes.

    Cross-entropy is the mean over the weighted pixels, as in `torch.nn.functional.cross_entropy`. Dice is 1 minus the
    mean, over the classes present in the targets, of 2 sum(p t) / (sum p + sum t).

    Args:
        logits: (M, K).
        targets: (M,) labels, or (M, K) shares of each class that add up to 1.
        weights: (M,) pixels per row; None: 1 each.
        class_weights: (K,) of the cross-entropy; None: 1 each.
        cross_entropy_weight: Factor of the cross-entropy.
        dice_weight: Factor of the Dice loss.
        ignore_index: Labels that count for nothing.

    Returns:
        A number; 0 without a single counted pixel.
    """
    log_probabilities = F.log_softmax(logits.float().T, dim=0).T  # (M, K); along the slow axis as K is small
    if targets.dtype.is_floating_point:
        cross_entropy, dice = _fraction_terms(log_probabilities, targets, weights, class_weights, dice_weight > 0)
    else:
        pixels = torch.ones_like(log_probabilities[:, 0]) if weights is None else weights.float()
        if ignore_index is not None:
            pixels = pixels * (targets != ignore_index)
            targets = targets.masked_fill(targets == ignore_index, 0)
        terms = _label_terms if targets.device.type == "cpu" else _one_hot_terms
        cross_entropy, dice = terms(log_probabilities, targets.long(), pixels, class_weights, dice_weight > 0)
    return cross_entropy_weight * cross_entropy + dice_weight * dice


def _label_terms(
    log_probabilities: Tensor, labels: Tensor, pixels: Tensor, class_weights: Tensor | None, with_dice: bool
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice of labels (M,), without a one-hot copy of them."""
    classes = log_probabilities.shape[1]
    chosen = log_probabilities.gather(1, labels[:, None])[:, 0]  # (M,)
    weighted = pixels if class_weights is None else pixels * class_weights[labels]  # (M,)
    cross_entropy = -(weighted * chosen).sum() / weighted.sum().clamp_min(1e-12)
    if not with_dice:
        return cross_entropy, cross_entropy.new_zeros(())
    zeros = log_probabilities.new_zeros(classes)
    overlap = zeros.index_add(0, labels, pixels * chosen.exp())  # (K,)
    true = zeros.index_add(0, labels, pixels)  # (K,)
    return cross_entropy, _dice_loss(overlap, pixels @ log_probabilities.exp(), true)


def _one_hot_terms(
    log_probabilities: Tensor, labels: Tensor, pixels: Tensor, class_weights: Tensor | None, with_dice: bool
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice of labels (M,) as shares, on a GPU.

    Sums per label would add millions of pixels to a few numbers there: in any order, or slowly one after another.
    """
    classes = torch.arange(log_probabilities.shape[1], device=labels.device)
    shares = (labels[:, None] == classes).float()  # (M, K)
    return _fraction_terms(log_probabilities, shares, pixels, class_weights, with_dice)


def _fraction_terms(
    log_probabilities: Tensor, shares: Tensor, weights: Tensor | None, class_weights: Tensor | None, with_dice: bool
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice of class shares (M, K)."""
    pixels = torch.ones_like(log_probabilities[:, 0]) if weights is None else weights.float()
    counts = shares * pixels[:, None]  # (M, K) pixels of each class
    weighted = counts if class_weights is None else counts * class_weights
    cross_entropy = -(weighted * log_probabilities).sum() / weighted.sum().clamp_min(1e-12)
    if not with_dice:
        return cross_entropy, cross_entropy.new_zeros(())
    probabilities = log_probabilities.exp()
    return cross_entropy, _dice_loss((counts * probabilities).sum(0), pixels @ probabilities, counts.sum(0))


def _dice_loss(overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """1 minus the mean Dice over the classes with true pixels; all arguments (K,) in pixels."""
    present = true > 0
    dice = 2 * overlap / (predicted + true).clamp_min(1e-12)
    return ((1 - dice) * present).sum() / present.sum().clamp_min(1)


def class_weights(counts: NDArray[np.integer] | Tensor, scheme: str) -> Tensor:
    """Weights (K,) float32 from pixel counts (K,): none, sqrt or inverse of the class frequencies.

    Their mean over the classes that occur is 1; a class that does not occur gets 1, which no pixel of these counts
    uses.

    Raises:
        ValueError: `scheme` is none of these three.
    """
    counted = torch.as_tensor(counts, dtype=torch.float64)
    powers = {"none": 0.0, "sqrt": -0.5, "inverse": -1.0}
    if scheme not in powers:
        raise ValueError(f"scheme must be one of {', '.join(powers)}, got {scheme!r}")
    present = counted > 0
    raw = counted[present].pow(powers[scheme])
    weights = torch.ones_like(counted)
    weights[present] = raw / raw.mean()
    return weights.float()
