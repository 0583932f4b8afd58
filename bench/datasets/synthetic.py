"""Generated scenes as a data set: small ones are kept, large ones are generated window by window when they are read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, cut_boxes, span_axes
from bench.arrays.protocols import Source
from bench.arrays.rows import release
from bench.config import SyntheticConfig
from bench.datasets.files import Classes, ImageFile, Layout, MaskFile
from bench.datasets.normalization import (
    LEARNED,
    Moments,
    Scaling,
    Stored,
    choose_scaling,
    compute_moments,
    pool,
    pool_training,
)
from bench.datasets.random_fields import Region, Scene
from bench.datasets.sample import Sample, Splits, Task
from bench.datasets.scene import VERSION, generate_block
from bench.datasets.volume_scene import generate_volume_block
from bench.files import fill_atomically

BLOCK = 512  # side of the blocks in which a whole scene is generated, in pixels; of volumes half of it
BLOCK_PLANES = 16  # of the blocks of volumes
KEPT_PIXELS = 1024 * 1024  # largest scene that is generated once and kept
SAMPLES, SAMPLE_SIDE = 64, 128  # number and side of the blocks from which a larger scene's statistics are estimated
CLASS_NAMES = {2: ("background", "cell"), 3: ("background", "grained_cell", "striated_cell")}


def cut_scene(size: tuple[int, ...], side: int = BLOCK) -> Iterator[Box]:
    """Yield boxes that tile a picture (height, width) or a volume (planes, height, width), the last axis fastest.

    Args:
        size: Of the scene.
        side: Height and width of a box of a picture; one of a volume has fewer, and `BLOCK_PLANES` planes at most.
    """
    flat = len(size) == 2
    yield from cut_boxes(size, (side, side) if flat else (BLOCK_PLANES, max(side // 2, 1), max(side // 2, 1)))


def find_window(key: Any, size: tuple[int, ...]) -> Box | None:
    """Return the box that a key of plain slices selects on the spatial axes; None for any other key."""
    parts = (*(key if isinstance(key, tuple) else (key,)), *(slice(None) for _ in size))[: len(size)]
    if not all(isinstance(part, slice) for part in parts):
        return None
    spans = [part.indices(length) for part, length in zip(parts, size, strict=True)]
    plain = all(step == 1 and start < stop for start, stop, step in spans)
    return tuple(slice(start, stop) for start, stop, _ in spans) if plain else None


def generate_part(scene: Scene, box: Box) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return image and mask (*spatial) of a box of a picture or of a volume."""
    if len(scene.size) == 3:
        return generate_volume_block(scene, box)
    rows, columns = box
    return generate_block(scene, Region(rows.start, columns.start, rows.stop, columns.stop))


@dataclass(frozen=True)
class SceneImage:
    """The image of a scene as (*spatial, 1) float32. Slices of step 1 generate only the values that they select."""

    scene: Scene
    scaling: Scaling

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial, 1)."""
        return (*self.scene.size, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the scaled values: float32."""
        return np.dtype(np.float32)

    def block(self, window: Box) -> NDArray[np.float32]:
        """Generate the scaled values (*spatial, 1) of a window of the spatial axes."""
        return self.scaling.apply(generate_part(self.scene, window)[0][..., None])

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return read_part(self, key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return read_whole(self).astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class SceneMask:
    """The mask of a scene as (*spatial) uint8. Slices of step 1 generate only the values that they select."""

    scene: Scene

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial)."""
        return self.scene.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the class indices: uint8."""
        return np.dtype(np.uint8)

    def block(self, window: Box) -> NDArray[np.uint8]:
        """Generate the class indices (*spatial) of a window."""
        return generate_part(self.scene, window)[1]

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return read_part(self, key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return read_whole(self).astype(dtype or self.dtype, copy=False)


def read_part(layer: SceneImage | SceneMask, key: Any) -> NDArray[Any]:
    """Return `layer[key]`; a key that is not made of plain slices generates the whole scene."""
    window = find_window(key, layer.scene.size)
    if window is None:
        return np.asarray(read_whole(layer)[key])
    rest = key[len(window) :] if isinstance(key, tuple) else ()
    return np.asarray(read_window(layer, window)[(*(slice(None) for _ in window), *rest)])


def read_window(layer: SceneImage | SceneMask, window: Box) -> NDArray[Any]:
    """Generate a window of a layer, block by block where it is larger than a block."""
    lengths = tuple(part.stop - part.start for part in window)
    out = np.empty((*lengths, *layer.shape[len(window) :]), layer.dtype)
    for part in cut_scene(lengths):
        out[part] = layer.block(
            tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(window, part, strict=True))
        )
    return out


def read_whole(layer: SceneImage | SceneMask) -> NDArray[Any]:
    """Generate all of a layer, block by block."""
    return read_window(layer, span_axes(layer.scene.size))


def compute_scene_moments(scene: Scene, kept_pixels: int = KEPT_PIXELS, side: int = SAMPLE_SIDE) -> Moments:
    """Compute mean and variance of a scene's image: of all pixels, or of `SAMPLES` blocks spread over a large scene.

    Args:
        scene: The scene.
        kept_pixels: Largest scene all of whose pixels count.
        side: Height and width of the blocks, in pixels.

    Returns:
        The moments.
    """
    if prod(scene.size) <= kept_pixels:
        windows = list(cut_scene(scene.size))
    else:
        small = list(cut_scene(scene.size, side))
        windows = [small[n * len(small) // SAMPLES] for n in range(min(SAMPLES, len(small)))]
    return pool([compute_moments(generate_part(scene, window)[0][..., None]) for window in windows])


def draw_scenes(config: SyntheticConfig, split: int, count: int) -> list[Scene]:
    """Return the scenes of one split; image n of a split is the same however many images there are.

    Args:
        config: Settings of the data set.
        split: Number of the split.
        count: Number of images.
    """
    scenes = []
    for n in range(count):
        first, second = np.random.SeedSequence([config.seed, split, n]).generate_state(2, np.uint64)
        key, size = (int(first), int(second)), tuple(config.image_size)
        thickness = config.plane_distance if len(size) == 3 else 1.0
        kind = (config.modality, config.num_classes, size, key)
        scenes.append(Scene(*kind, config.magnification, thickness))
    return scenes


def make_scene_sample(
    name: str, scene: Scene, mode: str, train: Moments | None, cache: Path | None, kept_pixels: int = KEPT_PIXELS
) -> Sample:
    """Return a scene as a sample: in memory if it is small, else in files below `cache`, else generated on access.

    Args:
        name: Name of the image.
        scene: The scene.
        mode: `dataset.normalization`.
        train: Moments of the training images, where the mode needs them.
        cache: Folder of the files; None where there is none.
        kept_pixels: Largest scene that is kept in memory.

    Returns:
        The sample.
    """
    if prod(scene.size) <= kept_pixels:
        return generate_sample(name, scene, mode, train)
    shared = train if mode == "dataset" else None
    own = compute_scene_moments(scene, kept_pixels) if shared is None else shared  # takes time for a large scene
    scaling = choose_scaling(mode, np.dtype(np.float32), own, train or own)
    image, mask = SceneImage(scene, scaling), SceneMask(scene)
    if cache is None:
        return Sample(name, image, mask)
    image_path, mask_path = cache / "images" / f"{name}.tif", cache / "masks" / f"{name}.tif"
    write_scene(image_path, mask_path, scene)
    stored = ImageFile(image_path, Layout(None, alpha=False), scaling, image.shape)
    return Sample(name, stored, MaskFile(mask_path, Classes(None, mask.dtype), mask.shape, prod(mask.shape)))


def generate_sample(name: str, scene: Scene, mode: str, train: Moments | None) -> Sample:
    """Return a scene in memory, every block of it generated once.

    Args:
        name: Name of the image.
        scene: The scene.
        mode: `dataset.normalization`.
        train: Moments of the training images, where the mode needs them.
    """
    image, mask = np.empty((*scene.size, 1), np.float32), np.empty(scene.size, np.uint8)
    found = []
    for window in cut_scene(scene.size):
        values, mask[window] = generate_part(scene, window)
        image[window] = values[..., None]
        found.append(compute_moments(image[window]))
    own = pool(found)
    scaled = choose_scaling(mode, image.dtype, own, train or own).apply(image)
    return Sample(name, cast(Source, scaled), cast(Source, mask))


def write_scene(image_path: Path, mask_path: Path, scene: Scene) -> None:
    """Write image and mask block by block as TIFFs that can be mapped; files under their names are whole.

    Args:
        image_path: File of the image, as generated, float32.
        mask_path: File of the mask, uint8.
        scene: The scene; nothing is done where both files are there.
    """
    import tifffile  # only scenes that are kept in files need it

    if image_path.is_file() and mask_path.is_file():
        return
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with fill_atomically(image_path) as first, fill_atomically(mask_path) as second:
        kind: dict[str, Any] = {"shape": scene.size, "photometric": "minisblack"}
        pixels, labels = tifffile.memmap(first, dtype="float32", **kind), tifffile.memmap(second, dtype="uint8", **kind)
        for window in cut_scene(scene.size):
            pixels[window], labels[window] = generate_part(scene, window)
            release(pixels)
            release(labels)
        pixels.flush()
        labels.flush()
        del pixels, labels


def identify_content(config: SyntheticConfig) -> str:
    """Return the identity of the generated images: the generator's version and the settings that change a pixel."""
    parts: tuple[object, ...] = (VERSION, config.modality, config.num_classes, config.image_size, config.seed)
    parts += (config.magnification,) if config.magnification > 1 else ()
    if len(config.image_size) == 3:
        parts = (*parts, config.plane_distance)
    counts = (config.train_images, config.val_images, config.test_images)
    return hashlib.sha256(repr((parts, counts)).encode()).hexdigest()[:12]


def collect_scene_facts(config: SyntheticConfig, scenes: dict[str, list[Scene]]) -> dict[str, str | int | float]:
    """Return columns of `runs`: images and pixels of each split, identity of the content."""
    facts: dict[str, str | int | float] = {
        "dataset.content": identify_content(config),
        "dataset.split_rule": "independent scenes",
    }
    for split, members in scenes.items():
        facts[f"dataset.images_{split}"] = len(members)
        facts[f"dataset.pixels_{split}"] = sum(prod(scene.size) for scene in members)
    if find_scene_spacing(config) is not None:
        facts["dataset.pixel_lengths"] = f"{config.plane_distance:g} x 1 x 1 pixels"
    return facts


def find_scene_spacing(config: SyntheticConfig) -> tuple[float, ...] | None:
    """Return the length of a pixel along each axis; None where pixels are squares or cubes."""
    volume = len(config.image_size) == 3
    return (config.plane_distance, 1.0, 1.0) if volume and config.plane_distance != 1 else None


def load_synthetic(config: SyntheticConfig, keep_in: Path | None = None, kept_pixels: int = KEPT_PIXELS) -> Splits:
    """Load scenes with `dataset.modality` and `dataset.num_classes`; every split has its own seeds.

    Args:
        config: Settings of the data set.
        keep_in: Folder for what is remembered of files; nothing is read here, so there is nothing to remember.
        kept_pixels: Largest scene that is kept in memory.

    Returns:
        The samples.
    """
    del keep_in
    counts = {"train": config.train_images, "val": config.val_images, "test": config.test_images}
    scenes = {name: draw_scenes(config, n, count) for n, (name, count) in enumerate(counts.items())}
    mode, train = config.normalization, None
    if mode in LEARNED:
        train = pool_training(mode, [compute_scene_moments(scene, kept_pixels) for scene in scenes["train"]])
    stored = None if train is None else Stored(train, ("float32",))
    cache = (
        None if config.cache_dir is None else Path(config.cache_dir) / f"{config.modality}_{identify_content(config)}"
    )
    samples = {
        name: [
            make_scene_sample(f"{name}_{n:03d}", scene, mode, train, cache, kept_pixels)
            for n, scene in enumerate(members)
        ]
        for name, members in scenes.items()
    }
    size = tuple(config.image_size)
    task = Task(CLASS_NAMES[config.num_classes], 1, len(size), shortest=size, spacing=find_scene_spacing(config))
    name = f"synthetic_{config.modality}"
    return Splits(
        name, task, samples["train"], samples["val"], samples["test"], collect_scene_facts(config, scenes), stored
    )
