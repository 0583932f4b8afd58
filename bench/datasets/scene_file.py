"""`python -m bench scene shape=20000x20000 out=big.zarr`: a generated scene of any size as a Zarr array, for trials."""

import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import InputError, require, require_one_of
from bench.datasets.scene import MODALITIES, Scene, Window, generate_block

SIDE = 1024  # of a chunk, in pixels
FULL_SCALE = 65535  # of uint16, which stands for 1


@dataclass(frozen=True)
class SceneConfig:
    """Settings of `python -m bench scene`, each as name=value."""

    out: str = ""  # ends in .zarr
    shape: tuple[int, int] = (2048, 2048)  # height and width in pixels
    seed: int = 0
    modality: str = "fluorescence"  # fluorescence | phase_contrast
    num_classes: int = 3

    def __post_init__(self) -> None:
        require(self.out.endswith(".zarr"), f"out must end in .zarr, got {self.out!r}")
        require(not Path(self.out).exists(), f"{self.out} exists already: choose another out")
        require(Path(self.out).parent.is_dir(), f"{Path(self.out).parent} is not a folder: make it first")
        require(min(self.shape) >= 1, f"shape must be positive, got {self.shape}")
        require_one_of("modality", self.modality, tuple(MODALITIES))
        require(self.num_classes in (2, 3), f"num_classes must be 2 or 3, got {self.num_classes}")


def main(overrides: list[str]) -> int:
    """Generate the scene and say where it is. The exit code."""
    config, started = parse(overrides), time.perf_counter()
    write_zarr(Path(config.out), config.shape, config.seed, config.modality, config.num_classes)
    pixels = config.shape[0] * config.shape[1]
    print(f"{config.out}: {pixels} pixels in {time.perf_counter() - started:.0f} s")
    return 0


def parse(overrides: list[str]) -> SceneConfig:
    """`name=value` settings; `shape` as height x width. Raises `InputError` for one that is none."""
    known, chosen = [item.name for item in fields(SceneConfig)], dict[str, Any]()
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or name not in known:
            raise InputError(f"{override!r} is not a setting of scene: use name=value with one of {', '.join(known)}")
        sides = text.lower().split("x") if name == "shape" else [text]
        if name in ("shape", "seed", "num_classes"):
            whole = all(side.isdigit() for side in sides) and len(sides) == (2 if name == "shape" else 1)
            require(whole, f"{name} must look like {'4096x4096' if name == 'shape' else '3'}, got {text!r}")
        chosen[name] = tuple(map(int, sides)) if name == "shape" else int(text) if text.isdigit() else text
    return SceneConfig(**chosen)


def scene_of(shape: tuple[int, int], seed: int, modality: str = "fluorescence", num_classes: int = 3) -> Scene:
    first, second = np.random.SeedSequence([seed]).generate_state(2, np.uint64)
    return Scene(modality, num_classes, shape, (int(first), int(second)))


def write_zarr(
    path: Path, shape: tuple[int, int], seed: int, modality: str = "fluorescence", num_classes: int = 3
) -> None:
    """Write a scene block by block as uint16; `path` is there when it is whole."""
    import zarr

    scene, partial = scene_of(shape, seed, modality, num_classes), path.with_name(f".{path.name}.partial")
    chunks = tuple(min(length, SIDE) for length in shape)
    array: Any = zarr.create_array(
        str(partial), shape=shape, chunks=chunks, dtype="uint16", dimension_names=("y", "x"), overwrite=True
    )
    for y in range(0, shape[0], SIDE):
        for x in range(0, shape[1], SIDE):
            window = Window(y, x, min(y + SIDE, shape[0]), min(x + SIDE, shape[1]))
            values = generate_block(scene, window)[0] * FULL_SCALE
            array[y : window.y1, x : window.x1] = np.rint(values).astype(np.uint16)
        print(f"{path.name} {min(y + SIDE, shape[0]) / shape[0]:4.0%}", file=sys.stderr, flush=True)
    partial.rename(path)
