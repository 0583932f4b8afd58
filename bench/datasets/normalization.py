"""Scaling of grey values per channel, decided once per image before either arm of the comparison sees a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands

LEARNED = ("centred", "dataset")  # the modes that need to know the training images
BAND_VALUES = 1 << 20  # of an image, summed at once, so that statistics of a large image need no second copy of it


@dataclass(frozen=True)
class Moments:
    """Mean and variance per channel, each (C,) float64, over `count` pixels."""

    count: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


@dataclass(frozen=True)
class Stored:
    """What the training images hold before scaling: moments of all their pixels, and their number types, sorted."""

    moments: Moments
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Scaling:
    """`(value - offset) / divisor` per channel; both (C,) float64."""

    offset: NDArray[np.float64]
    divisor: NDArray[np.float64]

    def apply(self, raw: NDArray[Any], key: Any = ...) -> NDArray[np.float32]:
        """Return `raw[key]`, scaled; `raw` is (*spatial, C) and `key` any index into it."""
        dtype = np.result_type(raw.dtype, np.float32)
        offset, divisor = (np.broadcast_to(side.astype(dtype), raw.shape)[key] for side in (self.offset, self.divisor))
        shifted = np.asarray(np.subtract(raw[key], offset, dtype=dtype), order="C")
        return np.asarray(np.divide(shifted, divisor, out=shifted), dtype=np.float32)


def compute_moments(image: Readable, band_values: int = BAND_VALUES) -> Moments:
    """Compute mean and variance per channel of an image (*spatial, C), read in bands of about `band_values` values."""
    return pool([compute_band_moments(image[start:stop]) for start, stop in cut_bands(image.shape, band_values)])


def compute_band_moments(part: NDArray[Any]) -> Moments:
    """Compute mean and variance per channel of a part of an image, all of it at once."""
    slab = part.reshape(-1, part.shape[-1]).astype(np.float64, order="C")
    return Moments(len(slab), slab.mean(axis=0), slab.var(axis=0))


def pool(parts: Sequence[Moments]) -> Moments:
    """Compute the moments of the union of pixel sets: each set weighs as much as it has pixels."""
    within = pool_within(parts)
    between = _weigh(parts) * (np.stack([part.mean for part in parts]) - within.mean) ** 2
    return Moments(within.count, within.mean, within.variance + between.sum(axis=0))


def pool_within(parts: Sequence[Moments]) -> Moments:
    """Pool moments with the variance of each set around its own mean: how much images vary, not how they differ."""
    weights = _weigh(parts)
    mean = (weights * np.stack([part.mean for part in parts])).sum(axis=0)
    variance = (weights * np.stack([part.variance for part in parts])).sum(axis=0)
    return Moments(sum(part.count for part in parts), mean, variance)


def pool_training(mode: str, parts: Sequence[Moments]) -> Moments:
    """Pool the moments of the training images, one of each image, as `choose_scaling` takes them under a mode."""
    return pool_within(parts) if mode == "centred" else pool(parts)


def _weigh(parts: Sequence[Moments]) -> NDArray[np.float64]:
    """Return the share of each set in all pixels, (N, 1)."""
    counts: NDArray[np.float64] = np.array([[part.count] for part in parts], dtype=np.float64)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def standardise(over: Moments) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1; a channel that is constant within rounding becomes 0."""
    return scale_by(over.mean, np.sqrt(over.variance))


def scale_by(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Scaling:
    """Return the scaling by a mean and a standard deviation per channel, as `standardise`."""
    constant = deviation <= 1e-9 * np.abs(mean)
    return Scaling(mean, np.where(constant, 1.0, deviation))


def share_scale(one: np.dtype[np.generic], other: np.dtype[np.generic]) -> bool:
    """Return whether equal numbers of both types mean equal intensities: the same integers, or any floating point."""
    return one == other or one.kind == other.kind == "f"


def find_full_scale(dtype: np.dtype[Any]) -> float:
    """Return the value that stands for 1 in an unscaled image: 255 of uint8, 65535 of uint16, else 1."""
    return float(np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else 1.0


def choose_scaling(mode: str, dtype: np.dtype[Any], own: Moments, train: Moments) -> Scaling:
    """Return the scaling of one image under `dataset.normalization`.

    Args:
        mode: per_image: z-score of the image's `own` moments. centred: less its own mean, by the deviation within
            training images, so that an image of background alone stays flat. dataset: z-score of the moments of all
            training images pooled. none: values as they are, uint8 and uint16 divided by their largest value.
        dtype: Number type of the stored values.
        own: Moments of the image.
        train: Moments of the training images, as `pool_training` gives them.

    Returns:
        Offset and divisor per channel.
    """
    if mode == "per_image":
        return standardise(own)
    if mode == "centred":
        return scale_by(own.mean, np.sqrt(train.variance))
    if mode == "dataset":
        return standardise(train)
    channels = len(own.mean)
    return Scaling(np.zeros(channels), np.full(channels, find_full_scale(dtype)))
