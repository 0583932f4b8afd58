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
        """`raw[key]`, scaled; `raw` is (*spatial, C) and `key` any index into it."""
        dtype = np.result_type(raw.dtype, np.float32)
        offset, divisor = (np.broadcast_to(side.astype(dtype), raw.shape)[key] for side in (self.offset, self.divisor))
        shifted = np.asarray(np.subtract(raw[key], offset, dtype=dtype), order="C")
        return np.asarray(np.divide(shifted, divisor, out=shifted), dtype=np.float32)


def moments(image: Readable, band_values: int = BAND_VALUES) -> Moments:
    """Mean and variance per channel of an image (*spatial, C), read in bands of about `band_values` values."""
    return pool([moments_of(image[start:stop]) for start, stop in cut_bands(image.shape, band_values)])


def moments_of(part: NDArray[Any]) -> Moments:
    """Mean and variance per channel of a part of an image, all of it at once."""
    slab = part.reshape(-1, part.shape[-1]).astype(np.float64, order="C")
    return Moments(len(slab), slab.mean(axis=0), slab.var(axis=0))


def pool(parts: Sequence[Moments]) -> Moments:
    """Moments of the union of pixel sets: each set weighs as much as it has pixels."""
    within = pool_within(parts)
    between = _weights(parts) * (np.stack([part.mean for part in parts]) - within.mean) ** 2
    return Moments(within.count, within.mean, within.variance + between.sum(axis=0))


def pool_within(parts: Sequence[Moments]) -> Moments:
    """As `pool`, with the variance of each set around its own mean: how much images vary, not how they differ."""
    weights = _weights(parts)
    mean = (weights * np.stack([part.mean for part in parts])).sum(axis=0)
    variance = (weights * np.stack([part.variance for part in parts])).sum(axis=0)
    return Moments(sum(part.count for part in parts), mean, variance)


def training_moments(mode: str, parts: Sequence[Moments]) -> Moments:
    """What `choose` asks of the training images under a mode: of each image its moments are given."""
    return pool_within(parts) if mode == "centred" else pool(parts)


def _weights(parts: Sequence[Moments]) -> NDArray[np.float64]:
    """Share of each set in all pixels, (N, 1)."""
    counts: NDArray[np.float64] = np.array([[part.count] for part in parts], dtype=np.float64)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def standardise(over: Moments) -> Scaling:
    """To mean 0 and standard deviation 1; a channel that is constant within rounding becomes 0."""
    return z_score(over.mean, np.sqrt(over.variance))


def z_score(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Scaling:
    """As `standardise`, of a mean and a standard deviation per channel."""
    constant = deviation <= 1e-9 * np.abs(mean)
    return Scaling(mean, np.where(constant, 1.0, deviation))


def full_scale(dtype: np.dtype[Any]) -> float:
    """The value that stands for 1 in an unscaled image: 255 of uint8, 65535 of uint16, else 1."""
    return float(np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else 1.0


def choose(mode: str, dtype: np.dtype[Any], own: Moments, train: Moments) -> Scaling:
    """The scaling of one image under `dataset.normalization`; `train` comes from `training_moments`.

    per_image: z-score of the image's `own` moments. centred: less its own mean, by the deviation within training
    images, so that an image of background alone stays flat. dataset: z-score of the moments of all training images
    pooled. none: values as they are, uint8 and uint16 divided by their largest value.
    """
    if mode == "per_image":
        return standardise(own)
    if mode == "centred":
        return z_score(own.mean, np.sqrt(train.variance))
    if mode == "dataset":
        return standardise(train)
    channels = len(own.mean)
    return Scaling(np.zeros(channels), np.full(channels, full_scale(dtype)))
