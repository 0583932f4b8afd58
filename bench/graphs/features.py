"""Node features: `FEATURES`, sets of one row per segment, combined by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.arrays.rows import cut_bands
from bench.arrays.threads import WORTH_PIECE, split_range, start_workers
from bench.config import require
from bench.graphs.moments import NODES
from bench.graphs.pooling import MOMENTS_ALONE, Requirements, SegmentStatistics, pool_segments

DECILES = tuple(decile / 10 for decile in range(1, 10))
QUANTILES = (0.0, 0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1.0)
LIGHT_LEVELS = tuple(sorted({*DECILES, *QUANTILES}))
_PIECES = 2  # of the nodes at a time, for each thread: what is made of them stays in its cache


@dataclass(frozen=True)
class FeatureSet:
    """A set of features: `compute` makes its columns (N, F) float32 of statistics that hold what it `requires`."""

    compute: Callable[[SegmentStatistics], NDArray[np.float32]]
    requires: Requirements = MOMENTS_ALONE


def stack_features(names: Sequence[str], statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Compute the features of the sets `names`, some nodes at a time, and put them side by side, (N, F)."""
    counts, storage = statistics.counts, statistics.storage
    width = sum(_compute_set(name, statistics.take_nodes(0, 1)).shape[1] for name in names)
    with start_workers((len(counts), width)) as workers:

        def write(low: int, high: int, into: NDArray[np.float32]) -> None:
            def write_piece(start: int, stop: int) -> None:
                _write_columns(names, statistics.take_nodes(start, stop), into[start - low : stop - low])

            workers.run(write_piece, split_range(high, _PIECES * workers.threads, low, WORTH_PIECE))
            storage.release()

        return storage.fill_bands((len(counts), width), np.float32, cut_bands(counts.shape, NODES), write)


def _write_columns(names: Sequence[str], statistics: SegmentStatistics, into: NDArray[np.float32]) -> None:
    """Write the features (N, F) of the sets `names` side by side."""
    first = 0
    for name in names:
        columns = _compute_set(name, statistics)
        into[:, first : first + columns.shape[1]] = columns
        first += columns.shape[1]


def check_columns(columns: int, names: Sequence[str]) -> None:
    """Raise InputError where the sets `names` have no columns: they compare channels, and there is but one."""
    require(
        columns > 0,
        f"graph.features={[*names]} say nothing of an image of one channel: add another set, such as intensity",
    )


def check_sets(names: Sequence[str], channels: int) -> None:
    """Raise InputError where the sets `names` have no columns for images of so many channels, seen on a tiny one."""
    if channels == 1 and all(name in FEATURES and FEATURES[name].requires.colour for name in names):
        image, segments = np.zeros((2, 2, 1), np.float32), np.zeros((2, 2), np.int32)
        check_columns(compute_features(names, image, segments).shape[1], names)


def _compute_set(name: str, statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return the columns (N, F) of a set. Raises InputError, which names the set, where they are of another shape."""
    columns, nodes = FEATURES[name].compute(statistics), len(statistics.counts)
    require(
        columns.ndim == 2 and len(columns) == nodes,
        f"graph.features: {name} must have a row of columns for each of {nodes} superpixels, got {columns.shape}",
    )
    return columns


def join_requirements(names: Sequence[str]) -> Requirements:
    """Return what the sets `names` require together."""
    requirements = MOMENTS_ALONE
    for name in names:
        requirements |= FEATURES[name].requires
    return requirements


def compute_features(
    names: Sequence[str],
    image: Readable,
    segments: Readable,
    rows: int | None = None,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Compute the features of segments without a graph.

    Args:
        names: Sets of `FEATURES`.
        image: (*spatial, C).
        segments: (*spatial) int32, ids 0..N-1 all used.
        rows: About how many rows are in memory at a time; None leaves that to the size of the image.
        spacing: Length of a pixel along each axis; None: pixels are cubes.

    Returns:
        Features (N, F) float32, set by set.
    """
    return stack_features(names, pool_segments(image, segments, join_requirements(names), rows, spacing))


def _select_quantiles(statistics: SegmentStatistics, levels: Sequence[float]) -> NDArray[np.float32]:
    """Return the quantiles (N, C, Q) at some of the levels that were statistics."""
    assert statistics.quantiles is not None
    return statistics.quantiles[:, :, [statistics.levels.index(level) for level in levels]]


def compute_intensity(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return mean, standard deviation and the nine deciles of each channel, (N, 11 C).

    The eleven statistics of Jain et al., Microscopy 2024, as in their published code.
    """
    moments = np.stack([statistics.mean, statistics.deviation], axis=2)
    return np.concatenate([moments, _select_quantiles(statistics, DECILES)], axis=2).reshape(len(moments), -1)


def compute_quantiles(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return minimum, maximum and seven quantiles that favour the tails, of each channel, (N, 9 C)."""
    return _select_quantiles(statistics, QUANTILES).reshape(len(statistics.counts), -1)


def compute_texture(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return the filter responses of each channel at several scales, as in `bench.graphs.texture`, (N, F)."""
    assert statistics.texture is not None
    return np.concatenate(statistics.texture, axis=1)


def compute_colour(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return mean and deviation of lightness, chroma and each channel's difference from the lightness, (N, 4 + 2 C).

    As in `bench.graphs.colour`; a grey image has no such columns, (N, 0).
    """
    nodes = len(statistics.counts)
    return np.empty((nodes, 0), np.float32) if statistics.colour is None else statistics.colour.reshape(nodes, -1)


def compute_lightness(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return the columns of `intensity`, `quantiles` and `texture` of the lightness alone, (N, F).

    Of a grey image they are those of its channel; of one of three channels they take a third of the filtering.
    """
    light = statistics.light
    assert light is not None
    places = [light.levels.index(level) for level in (*DECILES, *QUANTILES)]
    parts = (light.mean, light.deviation, light.quantiles[:, 0, places], *light.texture)
    return np.concatenate(parts, axis=1)


def compute_shape(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return the logarithm of the pixel count, elongation and compactness, (N, 3).

    Elongation is 1 - shortest / longest axis of the ellipse of equal second moments, in [0, 1). Compactness is the
    number of faces of a square (cube) of the same size over the segment's own, in (0, 1].
    """
    assert statistics.faces is not None
    axes, counts = len(statistics.shape), statistics.counts
    shortest, longest = _find_extremes(statistics.covariance)
    elongation = 1 - np.sqrt(shortest / longest)
    compactness = 2 * axes * counts ** ((axes - 1) / axes) / statistics.faces
    return np.stack([np.log(counts), elongation, compactness], axis=1).astype(np.float32)


def _find_extremes(covariance: NDArray[np.float64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the least and the greatest eigenvalue, (N,) each, of symmetric matrices (N, axes, axes)."""
    if covariance.shape[1] > 2:
        moments = np.linalg.eigvalsh(covariance)  # ascending
        return moments[:, 0], moments[:, -1]
    first, second, mixed = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
    longest = (first + second) / 2 + np.hypot((first - second) / 2, mixed)
    shortest = (first * second - mixed * mixed) / longest  # by the determinant: no difference of roots
    return shortest, longest


def compute_position(statistics: SegmentStatistics) -> NDArray[np.float32]:
    """Return the centroid in [0, 1] along each axis of the image, (N, spatial_axes)."""
    lengths = np.maximum(np.array(statistics.shape, np.float32) - 1, 1) * np.array(statistics.spacing, np.float32)
    return np.asarray(statistics.centroids / lengths, np.float32)


FEATURES: dict[str, FeatureSet] = {
    "intensity": FeatureSet(compute_intensity, Requirements(levels=DECILES)),
    "quantiles": FeatureSet(compute_quantiles, Requirements(levels=QUANTILES)),
    "texture": FeatureSet(compute_texture, Requirements(texture=True)),
    "colour": FeatureSet(compute_colour, Requirements(colour=True)),
    "lightness": FeatureSet(compute_lightness, Requirements(light_levels=LIGHT_LEVELS)),
    "shape": FeatureSet(compute_shape, Requirements(faces=True)),
    "position": FeatureSet(compute_position),
}
