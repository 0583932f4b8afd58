"""Node features: `FEATURES`, sets of one row per segment, combined by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.graphs.pooling import NOTHING, Pooled, Wants, pool

DECILES = tuple(decile / 10 for decile in range(1, 10))
QUANTILES = (0.0, 0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class FeatureSet:
    """`columns` of what was pooled, (N, F) float32; `wants` is what they need."""

    columns: Callable[[Pooled], NDArray[np.float32]]
    wants: Wants = NOTHING


def rows_of(names: Sequence[str], pooled: Pooled) -> NDArray[np.float32]:
    """The features of the sets `names` side by side, (N, F)."""
    return np.concatenate([FEATURES[name].columns(pooled) for name in names], axis=1, dtype=np.float32)


def wanted(names: Sequence[str]) -> Wants:
    """What the sets `names` need together."""
    wants = NOTHING
    for name in names:
        wants |= FEATURES[name].wants
    return wants


def compute_features(
    names: Sequence[str], image: Readable, segments: Readable, rows: int | None = None
) -> NDArray[np.float32]:
    """The features (N, F) of `image` (*spatial, C) over `segments` (*spatial) without a graph."""
    return rows_of(names, pool(image, segments, wanted(names), rows))


def _quantiles(pooled: Pooled, levels: Sequence[float]) -> NDArray[np.float32]:
    """(N, C, Q)"""
    assert pooled.quantiles is not None
    return pooled.quantiles[:, :, [pooled.levels.index(level) for level in levels]]


def intensity(pooled: Pooled) -> NDArray[np.float32]:
    """Mean, standard deviation and the nine deciles of each channel, (N, 11 C).

    The eleven statistics of Jain et al., Microscopy 2024, as in their published code.
    """
    moments = np.stack([pooled.mean, pooled.deviation], axis=2)
    return np.concatenate([moments, _quantiles(pooled, DECILES)], axis=2).reshape(len(moments), -1)


def quantiles(pooled: Pooled) -> NDArray[np.float32]:
    """Minimum, maximum and seven quantiles that favour the tails, of each channel, (N, 9 C)."""
    return _quantiles(pooled, QUANTILES).reshape(len(pooled.counts), -1)


def texture(pooled: Pooled) -> NDArray[np.float32]:
    """Filter responses at several scales, as in `bench.graphs.texture`, of each channel."""
    assert pooled.texture is not None
    return pooled.texture.reshape(len(pooled.counts), -1)


def colour(pooled: Pooled) -> NDArray[np.float32]:
    """Mean and deviation of lightness, chroma and each channel's difference from the lightness, (N, 4 + 2 C).

    As in `bench.graphs.colour`; of a grey image nothing, (N, 0).
    """
    nodes = len(pooled.counts)
    return np.empty((nodes, 0), np.float32) if pooled.colour is None else pooled.colour.reshape(nodes, -1)


def shape(pooled: Pooled) -> NDArray[np.float32]:
    """Log of the pixel count, elongation, compactness, (N, 3).

    Elongation is 1 - shortest / longest axis of the ellipse of equal second moments, in [0, 1). Compactness is the
    number of faces of a square (cube) of the same size over the segment's own, in (0, 1].
    """
    assert pooled.touching is not None
    assert pooled.border is not None
    axes, counts = len(pooled.shape), pooled.counts
    moments = np.linalg.eigvalsh(pooled.covariance)  # ascending
    elongation = 1 - np.sqrt(moments[:, 0] / moments[:, -1])
    faces = pooled.border.copy()
    for side in pooled.touching.pairs.T:
        faces += np.bincount(side, pooled.touching.length, len(faces)).astype(np.int64)
    compactness = 2 * axes * counts ** ((axes - 1) / axes) / faces
    return np.stack([np.log(counts), elongation, compactness], axis=1).astype(np.float32)


def position(pooled: Pooled) -> NDArray[np.float32]:
    """Centroid in [0, 1] along each axis of the image, (N, spatial_axes)."""
    return (pooled.centroids / np.maximum(np.array(pooled.shape, np.float32) - 1, 1)).astype(np.float32)


FEATURES: dict[str, FeatureSet] = {
    "intensity": FeatureSet(intensity, Wants(levels=DECILES)),
    "quantiles": FeatureSet(quantiles, Wants(levels=QUANTILES)),
    "texture": FeatureSet(texture, Wants(texture=True)),
    "colour": FeatureSet(colour, Wants(colour=True)),
    "shape": FeatureSet(shape, Wants(faces=True)),
    "position": FeatureSet(position),
}
