"""`python -m bench scene shape=20000x20000 out=big.zarr`: a generated scene of any size as a Zarr array, for trials.

Three lengths, as in `shape=320x800x800`, make a volume.
"""

import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import require, require_one_of
from bench.console.progress import Progress
from bench.datasets.random_fields import Scene
from bench.datasets.scene import MODALITIES
from bench.datasets.synthetic import cut_scene, generate_part
from bench.files import fill_atomically

SIDE = 1024  # of a chunk, in pixels; of a volume half of it, in few planes
FULL_SCALE = 65535  # of uint16, which stands for 1


@dataclass(frozen=True)
class SceneConfig:
    """Settings of `python -m bench scene`."""

    out: str = ""  # Zarr array to be made; ends in .zarr
    shape: tuple[int, ...] = (2048, 2048)  # height x width in pixels, or planes x height x width
    plane_distance: float = 3.0  # of volumes: how many pixels planes lie apart
    seed: int = 0  # the same seed gives the same scene
    modality: str = "fluorescence"  # fluorescence | phase_contrast
    num_classes: int = 3  # 2: background and cell; 3: background and two textures of cell

    def __post_init__(self) -> None:
        require(self.out.endswith(".zarr"), f"out must end in .zarr, got {self.out!r}")
        require(not Path(self.out).exists(), f"{self.out} exists already: choose another out")
        require(Path(self.out).parent.is_dir(), f"{Path(self.out).parent} is not a folder: make it first")
        two_or_three = len(self.shape) in (2, 3) and min(self.shape) >= 1
        require(two_or_three, f"shape must be two or three positive numbers, as in 20x192x192, got {self.shape}")
        require(self.plane_distance > 0, f"plane_distance must be positive, got {self.plane_distance}")
        flat = len(self.shape) == 2
        require(flat or self.modality == "fluorescence", f"modality must be fluorescence for {self.shape}")
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
        require_one_of("modality", self.modality, tuple(MODALITIES))
        require(self.num_classes in (2, 3), f"num_classes must be 2 or 3, got {self.num_classes}")


def main(config: SceneConfig) -> int:
    """Generate the scene and print where it is. Returns the exit code."""
    started = time.perf_counter()
    thickness = config.plane_distance if len(config.shape) == 3 else 1.0
    scene = draw_scene(config.shape, config.seed, config.modality, config.num_classes, thickness)
    write_zarr(Path(config.out), scene)
    print(f"{config.out}: {prod(config.shape)} pixels in {time.perf_counter() - started:.0f} s")
    return 0


def draw_scene(
    shape: tuple[int, ...], seed: int, modality: str = "fluorescence", num_classes: int = 3, thickness: float = 1.0
) -> Scene:
    """Return the scene of a seed.

    Args:
        shape: Height and width in pixels; of a volume the planes before them.
        seed: Seed of the scene.
        modality: A key of `MODALITIES`.
        num_classes: 2 or 3.
        thickness: Pixels between two planes.
    """
    first, second = np.random.SeedSequence([seed]).generate_state(2, np.uint64)
    return Scene(modality, num_classes, shape, (int(first), int(second)), thickness=thickness)


def write_zarr(path: Path, scene: Scene, side: int = SIDE) -> None:
    """Write a scene block by block as uint16; `path` is there when it is whole.

    Args:
        path: Zarr array to be made.
        scene: The scene.
        side: Height and width of a chunk of a picture, in pixels; of a volume half of it.
    """
    import zarr

    shape, done = scene.size, 0
    boxes = list(cut_scene(shape, side))
    chunks = tuple(part.stop - part.start for part in boxes[0])
    names = ("z", "y", "x")[-len(shape) :]
    with fill_atomically(path) as temporary, Progress(path.name) as bar:
        array: Any = zarr.create_array(
            str(temporary), shape=shape, chunks=chunks, dtype="uint16", dimension_names=names
        )
        for box in boxes:
            array[box] = np.rint(generate_part(scene, box)[0] * FULL_SCALE).astype(np.uint16)
            done += prod(part.stop - part.start for part in box)
            bar.show(done / prod(shape))
