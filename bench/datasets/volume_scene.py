"""Artificial volumes of nuclei, voxel by voxel: what `bench.datasets.scene` is for pictures, in three axes.

Lengths are in pixels of a plane; planes lie `scene.thickness` pixels apart, so plane z is at z * thickness. Every value
is a function of the scene's key and its own coordinates, so a volume of any size can be generated block by block: the
planes that blur into a block are generated with it.
"""

from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box
from bench.datasets.random_fields import (
    CELLS,
    CLOUD,
    DEBRIS,
    GRAIN,
    SENSOR,
    WARP,
    Field,
    Region,
    Scene,
    add_noise,
    draw_value_noise,
    place_knots,
    seed_random,
)
from bench.datasets.scene import (
    DECOY,
    EMPTY,
    GRAINED,
    JITTER,
    MARGIN,
    PITCH,
    STRIATED,
    draw_illumination,
    draw_ridge,
    soften,
)

STREAMS = 8  # more than a picture has: those of plane p of a volume are numbered on from there
AXIAL_BLUR = 3.0  # standard deviation along z, in pixels of a plane; within a plane edges are about a pixel wide
DEEPEST = 0.4  # of the light of the first plane that comes back from the last one
SPECKS = 64  # side of the cube in which there is at most one speck of debris, in pixels
PHOTON_NOISE = 0.06  # deviation at signal 1


@dataclass(frozen=True)
class Nuclei:
    """What lies on the grid points near a block; arrays are (N,), but for `centre` and `axis`, (N, 3) as z, y, x."""

    centre: Field
    axis: Field  # unit vector along the long axis
    radius: Field
    stretch: Field  # long over short axis: spheres, ovals and rods
    dent: Field  # relative depth of a bean's hollow
    turn: Field  # around the axis, where the hollow is
    brightness: Field
    kind: NDArray[np.uint8]


@dataclass(frozen=True)
class VoxelLayers:
    """What every voxel of a block knows; every array is (d, h, w)."""

    depth: Field  # pixels to the outline of the nearest nucleus: negative inside
    kind: NDArray[np.uint8]
    brightness: Field
    stripe: Field  # position along the axis of that nucleus, in pixels


def number_stream(stream: int, plane: int) -> int:
    """Return the number of a stream of random numbers of one plane of a lattice, which no picture has."""
    return stream + STREAMS * (plane + (1 << 40))


def draw_volume_noise(scene: Scene, stream: int, box: Box, scale: float) -> Field:
    """Draw smooth noise whose features are `scale` pixels apart: `draw_value_noise` between planes of a lattice.

    Args:
        scene: The scene.
        stream: One of those of `bench.datasets.random_fields`.
        box: Voxels to draw.
        scale: Pixels between lattice points.

    Returns:
        Values (d, h, w).
    """
    front, before, share = place_knots(box[0].start, box[0].stop, scale / scene.thickness)
    window = _flatten(box)
    planes = [draw_value_noise(scene, number_stream(stream, front + n), window, scale) for n in range(before[-1] + 2)]
    return np.stack([planes[k] * (1 - s) + planes[k + 1] * s for k, s in zip(before, share, strict=True)])


def _flatten(box: Box) -> Region:
    """Rows and columns of a box."""
    return Region(box[1].start, box[2].start, box[1].stop, box[2].stop)


def _measure_places(scene: Scene, box: Box) -> tuple[Field, Field, Field]:
    """Z (d, 1, 1), y (h, 1) and x (w,) of the voxels of a box in pixels."""
    z, y, x = (np.arange(part.start, part.stop, dtype=np.float32) for part in box)
    return (z * np.float32(scene.thickness))[:, None, None], y[:, None], x


def draw_points(
    scene: Scene, stream: int, box: Box, pitch: int, reach: float, count: int
) -> tuple[Field, NDArray[np.float32]]:
    """Return the points of a cubic grid within `reach` of a box.

    Args:
        scene: The scene.
        stream: One of those of `bench.datasets.random_fields`.
        box: Voxels to draw.
        pitch: Side of a cube of the grid in pixels.
        reach: Distance in pixels up to which a point matters.
        count: Random numbers per point.

    Returns:
        (N, 3) centres of their cubes as z, y, x in pixels, and (N, count) uniform numbers of each.
    """
    lengths = (scene.thickness, 1.0, 1.0)
    spans = [(part.start * one - reach, part.stop * one + reach) for part, one in zip(box, lengths, strict=True)]
    places = list(product(*(range(int(low // pitch), int(high // pitch) + 1) for low, high in spans)))
    uniform = [seed_random(scene, number_stream(stream, p), r, c).random(count, dtype=np.float32) for p, r, c in places]
    return (np.array(places, dtype=np.float32) + 0.5) * pitch, np.stack(uniform)


def draw_nuclei(scene: Scene, box: Box) -> Nuclei:
    """Return the nuclei and their look-alikes that can reach into `box`."""
    corner, u = draw_points(scene, CELLS, box, PITCH, 1.5 * PITCH, 11)
    upward, around = 2 * u[:, 3] - 1, np.float32(2 * np.pi) * u[:, 4]
    level = np.sqrt(1 - upward**2)
    rod = u[:, 6] > 0.6
    kind = np.array([EMPTY, DECOY, GRAINED, STRIATED], dtype=np.uint8)[np.searchsorted([0.18, 0.40, 0.70], u[:, 10])]
    return Nuclei(
        centre=corner + JITTER * (2 * u[:, :3] - 1),
        axis=np.stack([upward, level * np.sin(around), level * np.cos(around)], axis=1),
        radius=12 + 6 * u[:, 5],
        stretch=np.where(rod, 1.5 + u[:, 6], 1 + np.float32(0.5) * u[:, 6]),
        dent=np.where(rod, np.float32(0), 0.25 * u[:, 7]),
        turn=np.float32(2 * np.pi) * u[:, 8],
        brightness=u[:, 9],
        kind=kind,
    )


def measure_voxel_depth(nuclei: Nuclei, n: int, z: Field, y: Field, x: Field) -> tuple[Field, Field]:
    """Measure voxels against one nucleus.

    Args:
        nuclei: Nuclei near a block.
        n: Index of the nucleus.
        z: Places of the planes in pixels.
        y: Rows.
        x: Columns.

    Returns:
        Pixels to its outline, negative inside; exact on it, else approximate. And places along its axis in pixels.
    """
    dz, dy, dx = z - nuclei.centre[n, 0], y - nuclei.centre[n, 1], x - nuclei.centre[n, 2]
    az, ay, ax = nuclei.axis[n]
    along = dz * az + dy * ay + dx * ax
    across = np.maximum(dz * dz + dy * dy + dx * dx - along * along, 0)
    side = dz * np.cos(nuclei.turn[n]) + dx * np.sin(nuclei.turn[n])  # where the hollow of a bean is
    thin = nuclei.stretch[n] ** np.float32(1 / 3)
    distance = np.sqrt((along / (thin * thin)) ** 2 + across * (thin * thin))
    hollow = nuclei.dent[n] * np.maximum(side / np.maximum(distance, 1), 0) ** 2
    return np.asarray(distance - nuclei.radius[n] * (1 - hollow), np.float32), np.asarray(along, np.float32)


def build_voxel_layers(scene: Scene, box: Box) -> VoxelLayers:
    """Give every voxel of `box` to the nucleus whose outline it is deepest within, or else nearest to."""
    nuclei, places = draw_nuclei(scene, box), _measure_places(scene, box)
    shape = tuple(part.stop - part.start for part in box)
    depth, stripe = np.full(shape, np.inf, dtype=np.float32), np.zeros(shape, np.float32)
    owner = np.full(shape, -1, dtype=np.int32)
    for n in np.flatnonzero(nuclei.kind != EMPTY):
        half = nuclei.radius[n] * nuclei.stretch[n] + MARGIN * nuclei.stretch[n]
        here = tuple(_find_near(place, float(nuclei.centre[n, axis]), float(half)) for axis, place in enumerate(places))
        if any(part.start >= part.stop for part in here):
            continue
        near = [place.reshape(-1)[part] for place, part in zip(places, here, strict=True)]
        new, along = measure_voxel_depth(nuclei, int(n), near[0][:, None, None], near[1][:, None], near[2])
        nearer = (new < depth[here]) & (new < MARGIN)
        depth[here] = np.where(nearer, new, depth[here])
        stripe[here] = np.where(nearer, along, stripe[here])
        owner[here] = np.where(nearer, np.int32(n), owner[here])
    kind = np.where(owner >= 0, nuclei.kind[owner], EMPTY).astype(np.uint8)
    return VoxelLayers(depth, kind, nuclei.brightness[owner], stripe)


def _find_near(places: Field, centre: float, half: float) -> slice:
    """Which places of an axis lie within `half` of a centre."""
    line = places.reshape(-1)
    return slice(int(np.searchsorted(line, centre - half)), int(np.searchsorted(line, centre + half, side="right")))


def draw_volume_texture(scene: Scene, box: Box, layers: VoxelLayers) -> Field:
    """Draw grain or striation of mean 0 and variance about 1, so that both classes have the same mean and contrast.

    A decoy has either, by its brightness.

    Args:
        scene: The scene.
        box: Voxels to draw.
        layers: What each voxel belongs to.
    """
    grain = draw_volume_noise(scene, GRAIN, box, 3.0) / np.float32(0.62)
    bent = layers.stripe + 2.5 * draw_volume_noise(scene, WARP, box, 13.0)
    striation = np.sqrt(np.float32(2)) * np.sin(bent * np.float32(2 * np.pi / 8.0))
    decoy_striated = (layers.kind == DECOY) & (layers.brightness > 0.5)
    return np.where((layers.kind == STRIATED) | decoy_striated, striation, grain).astype(np.float32)


def draw_volume_debris(scene: Scene, box: Box) -> Field:
    """Draw small round specks, 1 at their centres: background that is brighter than any nucleus."""
    corner, u = draw_points(scene, DEBRIS, box, SPECKS, 16.0, 5)
    places = _measure_places(scene, box)
    specks = np.zeros(tuple(part.stop - part.start for part in box), dtype=np.float32)
    for middle, (dz, dy, dx, size, chance) in zip(corner, u, strict=True):
        if chance > 0.6:
            continue
        centre = middle + SPECKS * (np.array([dz, dy, dx], np.float32) - np.float32(0.5))
        here = tuple(_find_near(place, float(at), 14.0) for place, at in zip(places, centre, strict=True))
        if any(part.start >= part.stop for part in here):
            continue
        z, y, x = (p.reshape(-1)[part] - at for p, part, at in zip(places, here, centre, strict=True))
        squared = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
        specks[here] = np.maximum(specks[here], np.exp(-((squared / (2.0 + 2.5 * size) ** 2) ** 1.5)))
    return specks


def render_signal(scene: Scene, box: Box, layers: VoxelLayers) -> Field:
    """Render bright nuclei on a dark ground, before the microscope: as `render_fluorescence` of a picture.

    Args:
        scene: The scene.
        box: Voxels to draw.
        layers: What each voxel belongs to.
    """
    decoy, cell = layers.kind == DECOY, layers.kind >= GRAINED
    body = np.where(decoy, soften(layers.depth + 1.5, 7.0), soften(layers.depth, 2.0)) * (layers.kind != EMPTY)
    rim = cell * draw_ridge(layers.depth, -1.8, 1.5)
    level = 0.16 + 0.36 * layers.brightness
    signal = level * body * (1 + 0.24 * draw_volume_texture(scene, box, layers)) + 0.4 * level * rim
    ground = 0.12 + 0.03 * draw_volume_noise(scene, CLOUD, box, 45.0) + 0.75 * draw_volume_debris(scene, box)
    return np.asarray(ground + signal, dtype=np.float32)


def sample_axial_blur(thickness: float) -> NDArray[np.float32]:
    """Return the weights (2 radius + 1,) of the planes around one that blur into it."""
    sigma = AXIAL_BLUR / thickness
    offsets = np.arange(-ceil(2 * sigma), ceil(2 * sigma) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def generate_volume_block(scene: Scene, box: Box) -> tuple[Field, NDArray[np.uint8]]:
    """Return image (d, h, w) in 0..1 and mask (d, h, w) of a box, equal to the crop of the whole volume.

    The light is blurred along z, shaded over the planes, and weaker the deeper it comes from; noise is added last.

    Args:
        scene: A scene of three axes.
        box: Voxels to generate, a slice per axis.
    """
    weights = sample_axial_blur(scene.thickness)
    reach = len(weights) // 2
    wide = (slice(box[0].start - reach, box[0].stop + reach), *box[1:])
    layers = build_voxel_layers(scene, wide)
    sharp = render_signal(scene, wide, layers)
    planes = box[0].stop - box[0].start
    light = np.zeros((planes, *sharp.shape[1:]), np.float32)
    for offset, weight in enumerate(weights):
        light += weight * sharp[offset : offset + planes]
    flat, window = Scene(scene.modality, scene.num_classes, scene.size[1:], scene.key), _flatten(box)
    depth = np.arange(box[0].start, box[0].stop, dtype=np.float32) / max(scene.size[0] - 1, 1)
    light *= (1 + 0.5 * draw_illumination(flat, window)) * (DEEPEST**depth)[:, None, None].astype(np.float32)
    image = np.stack([add_plane_noise(scene, window, box[0].start + n, plane) for n, plane in enumerate(light)])
    inside = slice(reach, reach + planes)
    cell = (layers.depth[inside] < 0) & (layers.kind[inside] >= GRAINED)
    second = (scene.num_classes == 3) & (layers.kind[inside] == STRIATED)
    return image, (cell * np.where(second, 2, 1)).astype(np.uint8)


def add_plane_noise(scene: Scene, window: Region, plane: int, light: Field) -> Field:
    """Add the noise of photons and sensor to one plane.

    Args:
        scene: The scene.
        window: Its rows and columns.
        plane: Its number.
        light: Values (h, w).
    """
    return add_noise(scene, window, light, PHOTON_NOISE, number_stream(SENSOR, plane))
