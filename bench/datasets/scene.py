"""Artificial microscopy, pixel by pixel: every value is a function of the scene's key and its own coordinates.

No value depends on the window that is generated, so a scene of any size can be made block by block. Random numbers
come from Philox counters keyed on grid coordinates; cells lie on a jittered grid and a pixel belongs to the nearest.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # of what the numbers below generate: part of a data set's identity

PITCH = 40  # of the grid on which cells lie, in pixels
JITTER = 9.0  # of a cell's centre about its grid point
MARGIN = 10.0  # beyond a cell's outline in which it still changes the image
CHUNK = 64  # grid points whose random numbers share one counter
CELLS, DEBRIS, SHADE, CLOUD, WARP, GRAIN, SENSOR = range(7)  # independent streams of random numbers
EMPTY, DECOY, GRAINED, STRIATED = range(4)  # what a grid point holds

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


@dataclass(frozen=True)
class Cells:
    """What lies on the grid points near a window; every array is (N,)."""

    y: Field
    x: Field
    radius: Field
    stretch: Field  # long over short axis
    angle: Field
    dent: Field  # relative depth of the outline's waves
    phase: Field
    brightness: Field  # uniform in 0..1
    stripe: Field  # direction of the striation
    kind: NDArray[np.uint8]


@dataclass(frozen=True)
class Layers:
    """The nearest cell of every pixel of a window; every array is (h, w)."""

    depth: Field  # pixels to the outline of the nearest cell: negative inside
    kind: NDArray[np.uint8]
    brightness: Field
    stripe: Field


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


def draw_cells(scene: Scene, window: Region) -> Cells:
    """Return the cells and their look-alikes that can reach into `window`."""
    centre, u = draw_grid_points(scene, CELLS, window, PITCH, 1.5 * PITCH, 10)
    slender = 0.9 if scene.modality == "phase_contrast" else 0.45
    kind = np.array([EMPTY, DECOY, GRAINED, STRIATED], dtype=np.uint8)[np.searchsorted([0.18, 0.40, 0.70], u[:, 9])]
    return Cells(
        y=centre[:, 0] + JITTER * (2 * u[:, 0] - 1),
        x=centre[:, 1] + JITTER * (2 * u[:, 1] - 1),
        radius=12 + 7 * u[:, 2],
        stretch=1 + slender * u[:, 3],
        angle=np.float32(np.pi) * u[:, 4],
        dent=0.14 * u[:, 5],
        phase=np.float32(2 * np.pi) * u[:, 6],
        brightness=u[:, 7],
        stripe=np.float32(np.pi) * u[:, 8],
        kind=kind,
    )


def measure_depth(cells: Cells, n: int, y: Field, x: Field) -> Field:
    """Measure the pixels from (y, x) to the outline of cell `n`, negative inside; exact on it, else approximate.

    Args:
        cells: Cells near a window.
        n: Index of the cell.
        y: Rows.
        x: Columns.
    """
    dy, dx = y - cells.y[n], x - cells.x[n]
    cosine, sine = np.cos(cells.angle[n]), np.sin(cells.angle[n])
    root = np.sqrt(cells.stretch[n])
    along, across = (dx * cosine + dy * sine) / root, (dy * cosine - dx * sine) * root
    turn = np.arctan2(across, along)
    waves = np.cos(2 * turn + cells.phase[n]) + 0.7 * np.cos(3 * turn - 2 * cells.phase[n])
    outline = cells.radius[n] * (1 + cells.dent[n] * waves)
    return np.asarray(np.sqrt(along * along + across * across) - outline, dtype=np.float32)


def build_layers(scene: Scene, window: Region) -> Layers:
    """Give every pixel of `window` to the cell whose outline it is deepest within, or else nearest to."""
    cells = draw_cells(scene, window)
    depth = np.full(window.shape, np.inf, dtype=np.float32)
    owner = np.full(window.shape, -1, dtype=np.int32)
    for n in np.flatnonzero(cells.kind != EMPTY):
        half = cells.radius[n] * np.sqrt(cells.stretch[n]) * (1 + 1.7 * cells.dent[n]) + MARGIN * cells.stretch[n]
        y0, y1 = max(window.y0, int(cells.y[n] - half)), min(window.y1, int(cells.y[n] + half) + 1)
        x0, x1 = max(window.x0, int(cells.x[n] - half)), min(window.x1, int(cells.x[n] + half) + 1)
        if y0 >= y1 or x0 >= x1:
            continue
        here = slice(y0 - window.y0, y1 - window.y0), slice(x0 - window.x0, x1 - window.x0)
        rows = np.arange(y0, y1, dtype=np.float32)[:, None]
        new = measure_depth(cells, int(n), rows, np.arange(x0, x1, dtype=np.float32))
        nearer = (new < depth[here]) & (new < MARGIN)
        depth[here] = np.where(nearer, new, depth[here])
        owner[here] = np.where(nearer, np.int32(n), owner[here])
    kind = np.where(owner >= 0, cells.kind[owner], EMPTY).astype(np.uint8)
    return Layers(depth, kind, cells.brightness[owner], cells.stripe[owner])


def draw_mask(scene: Scene, layers: Layers) -> NDArray[np.uint8]:
    """Return the class of every pixel. With two classes both textures are cells; decoys and debris are background."""
    cell = (layers.depth < 0) & (layers.kind >= GRAINED)
    both = scene.num_classes == 3
    return (cell * np.where(both & (layers.kind == STRIATED), 2, 1)).astype(np.uint8)


def draw_texture(scene: Scene, window: Region, layers: Layers) -> Field:
    """Draw grain or striation of mean 0 and variance 1 each, so that both cell classes have the same mean and contrast.

    A decoy has either, by the direction that its striation would have.

    Args:
        scene: The scene.
        window: Pixels to draw.
        layers: What each pixel belongs to.
    """
    grain = draw_value_noise(scene, GRAIN, window, 1.9) / np.float32(0.74)
    y, x = np.arange(window.y0, window.y1, dtype=np.float32)[:, None], np.arange(window.x0, window.x1, dtype=np.float32)
    across = x * np.cos(layers.stripe) + y * np.sin(layers.stripe)
    bent = across + 2.5 * draw_value_noise(scene, WARP, window, 13.0)
    striation = np.sqrt(np.float32(2)) * np.sin(bent * np.float32(2 * np.pi / 7.0))
    decoy_striated = (layers.kind == DECOY) & (layers.stripe > np.pi / 2)
    return np.where((layers.kind == STRIATED) | decoy_striated, striation, grain).astype(np.float32)


def draw_debris(scene: Scene, window: Region) -> Field:
    """Draw small round specks, 1 at their centres: background that is brighter than any cell."""
    centre, u = draw_grid_points(scene, DEBRIS, window, 56, 20.0, 4)
    specks = np.zeros(window.shape, dtype=np.float32)
    for (row, column), (dy, dx, size, chance) in zip(centre, u, strict=True):
        if chance > 0.55:
            continue
        y = np.arange(window.y0, window.y1, dtype=np.float32) - (row + 56 * (dy - np.float32(0.5)))
        x = np.arange(window.x0, window.x1, dtype=np.float32) - (column + 56 * (dx - np.float32(0.5)))
        rows, columns = np.flatnonzero(np.abs(y) < 14), np.flatnonzero(np.abs(x) < 14)
        if len(rows) == 0 or len(columns) == 0:
            continue
        here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        squared = y[rows][:, None] ** 2 + x[columns] ** 2
        specks[here] = np.maximum(specks[here], np.exp(-((squared / (2.0 + 2.5 * size) ** 2) ** 1.5)))
    return specks


def soften(depth: Field, width: float) -> Field:
    """Return 1 deep inside, 0 far outside, a half on the outline; the edge is about `width` pixels wide."""
    return np.asarray(0.5 - 0.5 * np.tanh(np.clip(2 * depth / np.float32(width), -20, 20)), dtype=np.float32)


def draw_ridge(depth: Field, at: float, width: float) -> Field:
    """Return 1 along the line `at` pixels off the outline, 0 away from it.

    Args:
        depth: Pixels to the outline, negative inside.
        at: Distance of the line from the outline in pixels.
        width: Width of the line in pixels.
    """
    return np.asarray(np.exp(-np.minimum(((depth - np.float32(at)) / np.float32(width)) ** 2, 60)), dtype=np.float32)


def draw_illumination(scene: Scene, window: Region) -> Field:
    """Draw uneven light of mean about 0 and extent about +-1: a slope over the scene and slow shading."""
    direction = np.float32(2 * np.pi * seed_random(scene, SHADE, -1, -1).random())
    y = np.arange(window.y0, window.y1, dtype=np.float32)[:, None] / scene.size[0] - np.float32(0.5)
    x = np.arange(window.x0, window.x1, dtype=np.float32) / scene.size[1] - np.float32(0.5)
    return np.asarray(
        y * np.sin(direction) + x * np.cos(direction) + 0.3 * draw_value_noise(scene, SHADE, window, 170.0)
    )


def render_fluorescence(scene: Scene, window: Region, layers: Layers) -> Field:
    """Render bright cells with a brighter rim on a dark ground; decoys lie out of focus and have no rim.

    Args:
        scene: The scene.
        window: Pixels to draw.
        layers: What each pixel belongs to.
    """
    decoy, cell = layers.kind == DECOY, layers.kind >= GRAINED
    body = np.where(decoy, soften(layers.depth + 1.5, 7.0), soften(layers.depth, 2.0)) * (layers.kind != EMPTY)
    rim = cell * draw_ridge(layers.depth, -1.8, 1.5)
    level = 0.14 + 0.34 * layers.brightness
    signal = level * body * (1 + 0.24 * draw_texture(scene, window, layers)) + 0.55 * level * rim
    ground = 0.13 + 0.03 * draw_value_noise(scene, CLOUD, window, 45.0) + 0.75 * draw_debris(scene, window)
    return np.asarray((ground + signal) * (1 + 0.85 * draw_illumination(scene, window)), dtype=np.float32)


def render_phase_contrast(scene: Scene, window: Region, layers: Layers) -> Field:
    """Render cells about as grey as the ground, with a dark rim inside and a bright halo outside; decoys have neither.

    Args:
        scene: The scene.
        window: Pixels to draw.
        layers: What each pixel belongs to.
    """
    decoy, cell = layers.kind == DECOY, layers.kind >= GRAINED
    body = np.where(decoy, soften(layers.depth + 1.5, 7.0), soften(layers.depth, 2.0)) * (layers.kind != EMPTY)
    inside = 0.10 * (layers.brightness - 0.5) + 0.065 * draw_texture(scene, window, layers)
    outline = cell * (0.20 * draw_ridge(layers.depth, 3.0, 2.6) - 0.16 * draw_ridge(layers.depth, -2.0, 1.8))
    ground = 0.5 + 0.03 * draw_value_noise(scene, CLOUD, window, 45.0) + 0.22 * draw_illumination(scene, window)
    return np.asarray(ground + body * inside + outline + 0.4 * draw_debris(scene, window), dtype=np.float32)


MODALITIES = {"fluorescence": (render_fluorescence, 0.055), "phase_contrast": (render_phase_contrast, 0.045)}


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


def generate_block(scene: Scene, window: Region) -> tuple[Field, NDArray[np.uint8]]:
    """Return image (h, w) in 0..1 and mask (h, w) of one window, equal to the crop of the whole scene."""
    render, photon_noise = MODALITIES[scene.modality]
    if scene.magnification > 1:
        signal, mask = magnify_block(scene, window)
        return add_noise(scene, window, signal, photon_noise), mask
    layers = build_layers(scene, window)
    return add_noise(scene, window, render(scene, window, layers), photon_noise), draw_mask(scene, layers)


# ---------------------------------------------------------------------------------------------------- magnification


def magnify_block(scene: Scene, window: Region) -> tuple[Field, NDArray[np.uint8]]:
    """Return the signal (h, w) without noise and the mask (h, w) of a window of a magnified scene.

    The field is that of magnification 1, seen with more pixels: signal and depth are linear between its pixels, and a
    pixel has the kind of the nearest of them. Noise is left to each pixel of the camera, of the same strength.
    """
    times = scene.magnification
    field = replace(scene, size=(scene.size[0] // times, scene.size[1] // times), magnification=1)
    rows, columns = (place_between(*span, times) for span in ((window.y0, window.y1), (window.x0, window.x1)))
    seen = Region(rows.first, columns.first, rows.first + rows.count, columns.first + columns.count)
    layers = build_layers(field, seen)
    signal = MODALITIES[scene.modality][0](field, seen, layers)
    depth = interpolate(np.minimum(layers.depth, np.float32(MARGIN)), rows, columns)
    kind = layers.kind[rows.nearest[:, None], columns.nearest]
    large = Layers(depth, kind, np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    return interpolate(signal, rows, columns), draw_mask(scene, large)


@dataclass(frozen=True)
class Between:
    """Where the pixels of a magnified axis lie between those of the field.

    `first` is the first pixel of the field that matters, of `count`; of each magnified pixel `before` (n,) is the one
    before it, counted from `first`, `share` (n,) that of the next one, and `nearest` (n,) the nearest.
    """

    first: int
    count: int
    before: NDArray[np.intp]
    share: Field
    nearest: NDArray[np.intp]


def place_between(start: int, stop: int, times: int) -> Between:
    """Find the pixels of the field between which the pixels of a magnified axis lie.

    A pixel of the field becomes `times` pixels around the same centre.

    Args:
        start: First magnified pixel.
        stop: End of the magnified pixels.
        times: Magnification, at least 1.

    Returns:
        The places; at either end of a magnified scene they reach one pixel beyond the field.
    """
    position = (np.arange(start, stop) + 0.5) / times - 0.5
    before = np.floor(position).astype(np.intp)
    nearest = np.arange(start, stop) // times
    first = int(before[0])
    share = (position - before).astype(np.float32)
    return Between(first, int(before[-1]) - first + 2, before - first, share, nearest - first)


def interpolate(values: Field, rows: Between, columns: Between) -> Field:
    """Interpolate values of the field linearly at magnified pixels.

    Args:
        values: (rows.count, columns.count).
        rows: Places of the rows.
        columns: Places of the columns.

    Returns:
        (h, w).
    """
    v, u = rows.share[:, None], columns.share
    upper, lower = values[rows.before], values[rows.before + 1]
    first = upper[:, columns.before] * (1 - u) + upper[:, columns.before + 1] * u
    second = lower[:, columns.before] * (1 - u) + lower[:, columns.before + 1] * u
    return np.asarray(first * (1 - v) + second * v, dtype=np.float32)
