"""Stronger augmentation of training crops, with the steps and the probabilities of nnU-Net. Numpy only.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 18, 2021, supplement: rotation, scaling, noise, blur, brightness, contrast, lower resolution and gamma. Mirrors
and quarter turns come before, in `bench.pipelines.cnn.crops`.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bench.pipelines.cnn.crops import IGNORED, Batch, Labels, stack_crops

Image = NDArray[np.float32]  # (H, W, C)
Rng = np.random.Generator
ANGLE = np.pi / 4  # largest rotation; quarter turns make all others of it
ZOOM = (0.7, 1.4)  # pixels of the crop along a pixel of the result
LATTICE = (0.5, 1.0)  # side of a crop at lower resolution, in shares of its own
TAPS = 3  # pixels on each side of a pixel that a blur reaches


def augment_batches(batches: Iterator[Batch], rng: Rng) -> Iterator[Batch]:
    """Yield batches of crops, each crop changed at random on its own.

    Args:
        batches: Images (B, H, W, C) and labels (B, H, W), or pixels of each class (B, H, W, K).
        rng: Decides everything.

    Yields:
        Batches of the same shapes. Labels of what is turned in from beyond a crop are `IGNORED`, or no pixels.
    """
    for images, labels in batches:
        pairs = [augment(*pair, rng) for pair in zip(images, labels, strict=True)]
        yield stack_crops(pairs)


def augment(image: Image, labels: Labels, rng: Rng) -> tuple[Image, Labels]:
    """Change a crop at random.

    Args:
        image: Normalised grey values (H, W, C).
        labels: Classes (H, W), or pixels of each class (H, W, K).
        rng: Decides what is done, and how much of it.

    Returns:
        Image and labels of the same shapes.
    """
    angle = rng.uniform(-ANGLE, ANGLE) if rng.random() < 0.2 else 0.0
    zoom = rng.uniform(*ZOOM) if rng.random() < 0.2 else 1.0
    if angle != 0 or zoom != 1:
        image, labels = resample(image, labels, angle, zoom)
    for probability, change in CHANGES:
        if rng.random() < probability:
            image = change(image, rng)
    return image.astype(np.float32, copy=False), labels


def resample(image: Image, labels: Labels, angle: float, zoom: float) -> tuple[Image, Labels]:
    """Rotate and scale a crop about its centre: grey values linearly, labels by the nearest pixel.

    Args:
        image: Grey values (H, W, C).
        labels: Classes (H, W), or pixels of each class (H, W, K).
        angle: Of the rotation, in radians.
        zoom: Pixels of the crop along a pixel of the result; below 1 things become larger.

    Returns:
        Image and labels of the same shapes; beyond the crop its border is repeated, and labels are `IGNORED`, or
        no pixels.
    """
    shape = np.array(labels.shape[:2])
    centre = (shape - 1) / 2
    rows, columns = (np.indices(labels.shape[:2]) - centre[:, None, None]) * zoom
    cosine, sine = np.cos(angle), np.sin(angle)
    places = np.stack([cosine * rows - sine * columns, sine * rows + cosine * columns]) + centre[:, None, None]
    nearest = np.rint(places).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < shape[:, None, None])).all(axis=0)
    held = np.clip(nearest, 0, shape[:, None, None] - 1)
    taken = labels[held[0], held[1]]
    taken[~inside] = IGNORED if labels.ndim == 2 else 0
    return sample_linearly(image, places), taken


def sample_linearly(image: Image, places: NDArray[np.float64]) -> Image:
    """Return the values of an image (H, W, C) at `places` (2, h, w), linearly between pixels: (h, w, C)."""
    last = np.array(image.shape[:2])[:, None, None] - 1
    held = np.clip(places, 0, last)
    low = np.minimum(held.astype(np.intp), np.maximum(last - 1, 0))
    high = np.minimum(low + 1, last)
    down, right = (held - low).astype(np.float32)[..., None]
    above = image[low[0], low[1]] * (1 - right) + image[low[0], high[1]] * right
    below = image[high[0], low[1]] * (1 - right) + image[high[0], high[1]] * right
    return np.asarray(above * (1 - down) + below * down, np.float32)


# ------------------------------------------------------------------------------------------------------- grey values


def add_gaussian_noise(image: Image, rng: Rng) -> Image:
    """Add Gaussian noise of a variance in [0, 0.1]."""
    deviation = np.float32(np.sqrt(rng.uniform(0, 0.1)))
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)


def blur(image: Image, rng: Rng) -> Image:
    """Blur by a Gaussian of a standard deviation in [0.5, 1] pixels; beyond the crop its border is repeated."""
    taps = np.exp(-0.5 * (np.arange(-TAPS, TAPS + 1) / rng.uniform(0.5, 1)) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(TAPS, TAPS) if other == axis else (0, 0) for other in range(3)]
        padded, length = np.pad(image, padding, mode="edge"), image.shape[axis]
        parts = (tap * padded.take(range(n, n + length), axis=axis) for n, tap in enumerate(taps))
        image = np.sum(list(parts), axis=0, dtype=np.float32)
    return image


def scale_brightness(image: Image, rng: Rng) -> Image:
    """Multiply the values by a number in [0.75, 1.25]."""
    return image * np.float32(rng.uniform(0.75, 1.25))


def stretch_contrast(image: Image, rng: Rng) -> Image:
    """Multiply the differences from each channel's mean by a number in [0.75, 1.25], within the range that it had."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    stretched = mean + (image - mean) * np.float32(rng.uniform(0.75, 1.25))
    clipped: Image = np.clip(stretched, image.min(axis=(0, 1), keepdims=True), image.max(axis=(0, 1), keepdims=True))
    return clipped


def lower_resolution(image: Image, rng: Rng) -> Image:
    """Keep the pixels of a lattice of half to all of the crop's side, and interpolate between them."""
    shape = np.array(image.shape[:2])
    sides = np.maximum((shape * rng.uniform(*LATTICE)).astype(np.intp), 2)
    lines = [
        np.rint(np.linspace(0, length - 1, side)).astype(np.intp) for length, side in zip(shape, sides, strict=True)
    ]
    places = [np.linspace(0, side - 1, length) for length, side in zip(shape, sides, strict=True)]
    return sample_linearly(image[np.ix_(*lines)], np.stack(np.meshgrid(*places, indexing="ij")))


def apply_gamma(image: Image, rng: Rng) -> Image:
    """Raise the values, scaled to [0, 1] in each channel, to a power in [0.7, 1.5]; mean and deviation stay."""
    low = image.min(axis=(0, 1), keepdims=True)
    width = np.maximum(image.max(axis=(0, 1), keepdims=True) - low, 1e-7)
    curved = ((image - low) / width) ** np.float32(rng.uniform(0.7, 1.5))
    spread = curved.std(axis=(0, 1), keepdims=True)
    unit = (curved - curved.mean(axis=(0, 1), keepdims=True)) / np.maximum(spread, 1e-7)
    restored: Image = unit * image.std(axis=(0, 1), keepdims=True) + image.mean(axis=(0, 1), keepdims=True)
    return restored


def apply_inverted_gamma(image: Image, rng: Rng) -> Image:
    """Do the same to the negative."""
    return -apply_gamma(-image, rng)


CHANGES: tuple[tuple[float, Callable[[Image, Rng], Image]], ...] = (  # each with its probability, in this order
    (0.1, add_gaussian_noise),
    (0.2, blur),
    (0.15, scale_brightness),
    (0.15, stretch_contrast),
    (0.25, lower_resolution),
    (0.1, apply_inverted_gamma),
    (0.3, apply_gamma),
)
