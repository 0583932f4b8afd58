"""Artificial microscopy, pixel by pixel: every value is a function of the scene's key and its own coordinates.

No value depends on the window that is generated, so a scene of any size can be made block by block. Cells lie on a
jittered grid, and a pixel belongs to the nearest.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.datasets.magnification import interpolate, place_between
from bench.datasets.random_fields import (
    CELLS,
    CLOUD,
    DEBRIS,
    GRAIN,
    SHADE,
    WARP,
    Field,
    Region,
    Scene,
    add_noise,
    draw_grid_points,
    draw_value_noise,
    seed_random,
)

VERSION = 1  # of what is generated, noise included: part of a data set's identity

PITCH = 40  # of the grid on which cells lie, in pixels
JITTER = 9.0  # of a cell's centre about its grid point
MARGIN = 10.0  # beyond a cell's outline in which it still changes the image
EMPTY, DECOY, GRAINED, STRIATED = range(4)  # what a grid point holds


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


def generate_block(scene: Scene, window: Region) -> tuple[Field, NDArray[np.uint8]]:
    """Return image (h, w) in 0..1 and mask (h, w) of one window, equal to the crop of the whole scene."""
    render, photon_noise = MODALITIES[scene.modality]
    if scene.magnification > 1:
        signal, mask = magnify_block(scene, window)
        return add_noise(scene, window, signal, photon_noise), mask
    layers = build_layers(scene, window)
    return add_noise(scene, window, render(scene, window, layers), photon_noise), draw_mask(scene, layers)


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
