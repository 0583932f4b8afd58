"""Small images and segments, and what loops over segments say of them."""

import numpy as np
from numpy.typing import NDArray

SHAPES = ((17, 23), (7, 8, 9))


def voronoi(shape: tuple[int, ...], count: int = 12) -> NDArray[np.int32]:
    """Segments nearest to random points; every id used."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (count, len(shape))) * np.array(shape)
    pixels = np.moveaxis(np.indices(shape), 0, -1)[..., None, :]
    nearest = ((pixels - points) ** 2).sum(axis=-1).argmin(axis=-1)
    return np.unique(nearest, return_inverse=True)[1].reshape(shape).astype(np.int32)


def noise(shape: tuple[int, ...], channels: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(*shape, channels)).astype(np.float32)


def by_segment(values: NDArray[np.float32], segments: NDArray[np.int32]) -> list[NDArray[np.float32]]:
    return [values[segments == node] for node in range(segments.max() + 1)]
