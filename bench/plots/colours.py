"""Colours of a mask's classes that stand out from the images they lie on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from bench.plots.style import BLUE, GREEN, ORANGE, PURPLE, SKY, YELLOW

CLASSES = (SKY, YELLOW, PURPLE, GREEN, BLUE, ORANGE)  # of classes from 1 on; the last looks most like wrong pixels
SAMPLE = 2000  # pixels of an image that are looked at
COLOURFUL = 0.06  # mean distance of a pixel's channels, of 1, from which on an image counts as one in colours
NEAR = 0.1  # share of an image's pixels that may be nearer to a colour than what it is judged by


def choose_colours(images: Sequence[NDArray[np.uint8]]) -> tuple[str, ...]:
    """Return `CLASSES`, those first that differ most from the images' own colours; as they are for grey images.

    The last one stays the last, because it looks most like the colour of wrong pixels.

    Args:
        images: Images (H, W) or (H, W, 3).
    """
    pixels = np.concatenate([_sample(image) for image in images if image.ndim == 3] or [np.zeros((1, 3))])
    if np.ptp(pixels, axis=1).mean() < COLOURFUL:
        return CLASSES
    contrasts = [np.quantile(_distances(pixels, np.array(to_rgb(colour))), NEAR) for colour in CLASSES]
    order = np.argsort(-np.array(contrasts[:-1]), kind="stable")
    return (*(CLASSES[number] for number in order), CLASSES[-1])


def _sample(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Evenly spaced pixels, (n, 3) in [0, 1]."""
    flat = image.reshape(-1, image.shape[-1])[:, :3]
    return np.asarray(flat[:: max(1, len(flat) // SAMPLE)], np.float64) / 255


def _distances(pixels: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """How different pixels look from a colour: Euclidean, channels weighted by the mean red.

    After T. Riemersma, "Colour metric" (compuphase.com/cmetric.htm).
    """
    red = (pixels[:, 0] + colour[0]) / 2
    squared = (pixels - colour) ** 2
    weights = np.stack([2 + red, np.full_like(red, 4.0), 3 - red], axis=1)
    return np.asarray(np.sqrt((weights * squared).sum(axis=1)), np.float64)


def find_outline(mask: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return the pixels of a mask (H, W) beside which, to any of four sides, lies another class."""
    edge = np.zeros(mask.shape, np.bool_)
    for axis in (0, 1):
        differs = np.diff(mask.astype(np.int64), axis=axis) != 0
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        edge[tuple(low)] |= differs
        edge[tuple(high)] |= differs
    return edge
