"""Rare classes: which they are, how often they are shown in training, and the weights that make up for it."""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOCUS = 0.5  # share of training crops or windows that are drawn for a pixel of a rare class in them


def find_rare(counts: NDArray[np.integer], share: float) -> NDArray[np.intp]:
    """Return the classes that cover some, but less than `share`, of the counted pixels (K,), ascending."""
    return np.flatnonzero((counts > 0) & (counts < share * counts.sum()))


def correct_sampling(weights: Tensor, counts: NDArray[np.integer], shown: NDArray[np.number]) -> Tensor:
    """Divide class weights by how much more often training shows the classes than the images do.

    Every class then has the share in the loss that it has with parts of the images drawn evenly.

    Args:
        weights: (K,) of the cross-entropy.
        counts: (K,) pixels of each class in the images.
        shown: (K,) pixels of each class in what training draws, or numbers in proportion to them.

    Returns:
        (K,) float32; the weight of a class without pixels stays as it was.
    """
    excess = np.ones(len(counts))
    present = counts > 0
    excess[present] = np.maximum(shown[present], 1) / shown.sum() / (counts[present] / counts.sum())
    return weights / torch.from_numpy(excess).float()


def mix_draws(parts: NDArray[np.integer], rare: Sequence[int] | NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the expected pixels of each class (K,) in a part that is drawn by `draw_parts`.

    Args:
        parts: (P, K) pixels of each class in each part.
        rare: The rare classes, each with pixels in some part.
    """
    likely = parts[:, rare] / parts[:, rare].sum(axis=0)  # (P, R) by which a part is drawn for a class
    focused: NDArray[np.float64] = (likely.T @ parts).mean(axis=0)
    mixed: NDArray[np.float64] = (1 - FOCUS) * parts.mean(axis=0) + FOCUS * focused
    return mixed


def draw_parts(order: NDArray[np.intp], rare_pixels: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.intp]:
    """Replace a share `FOCUS` of the parts of an epoch by parts that hold rare classes.

    Each replacement is drawn for one of the classes, all equally likely, in proportion to its pixels in the parts.

    Args:
        order: (P,) the parts of an epoch in their order.
        rare_pixels: (P, R) pixels of each rare class in each part; every class has some.
        rng: Draws which are replaced and by what.

    Returns:
        (P,) the parts of the epoch: some several times, some not at all.
    """
    cumulative = rare_pixels.cumsum(axis=0)
    drawn = order.copy()
    for place in np.flatnonzero(rng.random(len(order)) < FOCUS):
        column = cumulative[:, rng.integers(cumulative.shape[1])]
        drawn[place] = np.searchsorted(column, rng.integers(column[-1]), side="right")
    return drawn


def announce_rare(arm: str, rare: NDArray[np.intp], counts: NDArray[np.integer], names: Sequence[str]) -> None:
    """Print to standard error which classes are drawn more often than they occur.

    Args:
        arm: Name of the arm.
        rare: The rare classes; nothing is printed without one.
        counts: (K,) training pixels of each class.
        names: (K,) names of the classes.
    """
    if len(rare) > 0:
        listed = " and ".join(f"{names[label]} ({counts[label] / counts.sum():.2%})" for label in rare)
        drawn = f"{FOCUS:.0%} of the crops or windows of an epoch are drawn around them"
        print(f"{arm}: rare among the training pixels: {listed}; {drawn}", file=sys.stderr, flush=True)
