"""Random numbers and noise of generated scenes: functions of the scene's key and of coordinates alone.

Random numbers come from Philox counters keyed on grid coordinates, so no value depends on the window that is drawn.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

CHUNK = 64  # grid points whose random numbers share one counter
CELLS, DEBRIS, SHADE, CLOUD, WARP, GRAIN, SENSOR = range(7)  # independent streams of random numbers

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """One image that need not exist: `key` are the two words of its random numbers.

    `size` is (height, width) of a picture or (planes, height, width) of a volume, whose planes lie `thickness` pixels
    apart (`bench.datasets.volume_scene`).
    """

    modality: str  # fluorescence | phase_contrast
    num_classes: int  # 2 | 3
    size: tuple[int, ...]
    key: tuple[int, int]
    magnification: int = 1  # pixels along either axis for one of the same field's at magnification 1
    thickness: float = 1.0


@dataclass(frozen=True)
class Region:
    """Rows y0 to y1 and columns x0 to x1, ends excluded."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0


def seed_random(scene: Scene, stream: int, row: int, column: int) -> np.random.Generator:
    """Return the random numbers of one grid point of one stream.

    Args:
        scene: The scene, whose key they are keyed on.
        stream: One of CELLS to SENSOR.
        row: Row of the grid point.
        column: Column of the grid point.
    """
    wrap = 2**64
    counter = np.array([0, column % wrap, row % wrap, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array(scene.key, dtype=np.uint64), counter=counter))


def draw_lattice(scene: Scene, stream: int, window: Region) -> Field:
    """Return standard normal values at the integer points of `window`, the same whatever window holds them.

    Args:
        scene: The scene.
        stream: One of CELLS to SENSOR.
        window: Integer points.

    Returns:
        Values (h, w).
    """
    top, left = window.y0 // CHUNK, window.x0 // CHUNK
    rows, columns = range(top, -(-window.y1 // CHUNK)), range(left, -(-window.x1 // CHUNK))
    values = np.empty((len(rows) * CHUNK, len(columns) * CHUNK), dtype=np.float32)
    for row, column in product(rows, columns):
        y, x = (row - top) * CHUNK, (column - left) * CHUNK
        generator = seed_random(scene, stream, row, column)
        values[y : y + CHUNK, x : x + CHUNK] = generator.standard_normal((CHUNK, CHUNK), dtype=np.float32)
    y, x = window.y0 - top * CHUNK, window.x0 - left * CHUNK
    return values[y : y + window.shape[0], x : x + window.shape[1]]


def place_knots(start: int, stop: int, scale: float) -> tuple[int, NDArray[np.intp], Field]:
    """Return the first lattice point of an axis; for each pixel the lattice point before it and its share of the next.

    Args:
        start: First pixel.
        stop: End of the pixels.
        scale: Pixels between lattice points.

    Returns:
        The first point; (n,) points before the pixels, counted from it; (n,) smoothed shares in [0, 1).
    """
    position = np.arange(start, stop) / scale
    before = np.floor(position)
    share = position - before
    return int(before[0]), (before - before[0]).astype(np.intp), (share * share * (3 - 2 * share)).astype(np.float32)


def draw_value_noise(scene: Scene, stream: int, window: Region, scale: float) -> Field:
    """Draw smooth noise of mean 0 and variance about 0.55 whose features are `scale` pixels apart.

    Args:
        scene: The scene.
        stream: One of CELLS to SENSOR.
        window: Pixels to draw.
        scale: Pixels between lattice points.

    Returns:
        Values (h, w).
    """
    top, i, v = place_knots(window.y0, window.y1, scale)
    left, j, u = place_knots(window.x0, window.x1, scale)
    points = draw_lattice(scene, stream, Region(top, left, top + int(i[-1]) + 2, left + int(j[-1]) + 2))
    v, rows, below = v[:, None], points[i], points[i + 1]
    upper = rows[:, j] * (1 - u) + rows[:, j + 1] * u
    lower = below[:, j] * (1 - u) + below[:, j + 1] * u
    return np.asarray(upper * (1 - v) + lower * v, dtype=np.float32)


def draw_grid_points(
    scene: Scene, stream: int, window: Region, pitch: int, reach: float, count: int
) -> tuple[Field, Field]:
    """Return the grid points within `reach` of a window.

    Args:
        scene: The scene.
        stream: One of CELLS to SENSOR.
        window: Pixels to draw.
        pitch: Side of a grid square in pixels.
        reach: Distance in pixels up to which a point matters.
        count: Random numbers per point.

    Returns:
        (N, 2) centres of their squares, and (N, count) uniform numbers of each.
    """
    rows = range(int((window.y0 - reach) // pitch), int((window.y1 + reach) // pitch) + 1)
    columns = range(int((window.x0 - reach) // pitch), int((window.x1 + reach) // pitch) + 1)
    places = list(product(rows, columns))
    uniform = [seed_random(scene, stream, *place).random(count, dtype=np.float32) for place in places]
    return (np.array(places, dtype=np.float32) + 0.5) * pitch, np.stack(uniform)


def add_noise(scene: Scene, window: Region, signal: Field, photon_noise: float, stream: int = SENSOR) -> Field:
    """Add noise whose variance grows with the signal (photons, as a normal law) over the sensor's; clip to 0..1.

    Args:
        scene: The scene.
        window: Pixels to draw.
        signal: Values (h, w).
        photon_noise: Deviation at signal 1.
        stream: Of the random numbers.
    """
    light = np.maximum(signal, 0)
    deviation = np.sqrt(photon_noise**2 * light + 0.012**2)
    return np.asarray(np.clip(signal + deviation * draw_lattice(scene, stream, window), 0, 1), dtype=np.float32)
