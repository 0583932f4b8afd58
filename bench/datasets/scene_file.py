"""`python -m bench scene shape=20000x20000 out=big.zarr`: a generated scene of any size as a Zarr array, for trials."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays.chunked import cut_boxes
from bench.config import require, require_one_of
from bench.console.progress import Progress
from bench.datasets.scene import MODALITIES, Region, Scene, generate_block
from bench.files import fill_atomically

SIDE = 1024  # of a chunk, in pixels
FULL_SCALE = 65535  # of uint16, which stands for 1


@dataclass(frozen=True)
class SceneConfig:
    """Settings of `python -m bench scene`."""

    out: str = ""  # Zarr array to be made; ends in .zarr
    shape: tuple[int, int] = (2048, 2048)  # height x width in pixels
    seed: int = 0  # the same seed gives the same scene
    modality: str = "fluorescence"  # fluorescence | phase_contrast
    num_classes: int = 3  # 2: background and cell; 3: background and two textures of cell

    def __post_init__(self) -> None:
        require(self.out.endswith(".zarr"), f"out must end in .zarr, got {self.out!r}")
        require(not Path(self.out).exists(), f"{self.out} exists already: choose another out")
        require(Path(self.out).parent.is_dir(), f"{Path(self.out).parent} is not a folder: make it first")
        require(min(self.shape) >= 1, f"shape must be positive, got {self.shape}")
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
        require_one_of("modality", self.modality, tuple(MODALITIES))
        require(self.num_classes in (2, 3), f"num_classes must be 2 or 3, got {self.num_classes}")


def main(config: SceneConfig) -> int:
    """Generate the scene and print where it is. Returns the exit code."""
    started = time.perf_counter()
    write_zarr(Path(config.out), config.shape, config.seed, config.modality, config.num_classes)
    pixels = config.shape[0] * config.shape[1]
    print(f"{config.out}: {pixels} pixels in {time.perf_counter() - started:.0f} s")
    return 0


def draw_scene(shape: tuple[int, int], seed: int, modality: str = "fluorescence", num_classes: int = 3) -> Scene:
    """Return the scene of a seed.

    Args:
        shape: Height and width in pixels.
        seed: Seed of the scene.
        modality: A key of `MODALITIES`.
        num_classes: 2 or 3.
    """
    first, second = np.random.SeedSequence([seed]).generate_state(2, np.uint64)
    return Scene(modality, num_classes, shape, (int(first), int(second)))


def write_zarr(
    path: Path,
    shape: tuple[int, int],
    seed: int,
    modality: str = "fluorescence",
    num_classes: int = 3,
    side: int = SIDE,
) -> None:
    """Write a scene block by block as uint16; `path` is there when it is whole.

    Args:
        path: Zarr array to be made.
        shape: Height and width in pixels.
        seed: Seed of the scene.
        modality: A key of `MODALITIES`.
        num_classes: 2 or 3.
        side: Height and width of a chunk, in pixels.
    """
    import zarr

    scene, chunks = draw_scene(shape, seed, modality, num_classes), tuple(min(length, side) for length in shape)
    with fill_atomically(path) as temporary, Progress(path.name) as bar:
        array: Any = zarr.create_array(
            str(temporary), shape=shape, chunks=chunks, dtype="uint16", dimension_names=("y", "x")
        )
        for y, x in cut_boxes(shape, (side, side)):
            values = generate_block(scene, Region(y.start, x.start, y.stop, x.stop))[0] * FULL_SCALE
            array[y, x] = np.rint(values).astype(np.uint16)
            bar.show((y.start * shape[1] + (y.stop - y.start) * x.stop) / (shape[0] * shape[1]))
