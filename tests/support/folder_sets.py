"""Tiny data sets on disk for the tests of the folder reader."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

STEMS = ("a", "b", "c", "d", "e")
SPLITS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}


def picture(seed: int, shape: Sequence[int] = (6, 8), dtype: type = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 200, tuple(shape)).astype(dtype)


def classes(shape: Sequence[int] = (6, 8), count: int = 2) -> NDArray[np.uint8]:
    return (np.arange(int(np.prod(shape))).reshape(tuple(shape)) % count).astype(np.uint8)


def write(path: Path, array: NDArray[Any], **options: Any) -> None:
    """Save as the suffix says. `options` go to tifffile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.startswith(".tif"):
        tifffile.imwrite(path, array, **({"photometric": "minisblack"} | options))
    else:
        Image.fromarray(array).save(path)


def make(root: Path, suffix: str = ".png", image_shape: Sequence[int] = (6, 8), dtype: type = np.uint8) -> Path:
    """Five images with masks of two classes and a splits.json, all good."""
    for n, stem in enumerate(STEMS):
        write(root / "images" / f"{stem}{suffix}", picture(n, image_shape, dtype))
        write(root / "masks" / f"{stem}.png", classes())
    (root / "splits.json").write_text(json.dumps(SPLITS | {"rule": "by hand"}), encoding="utf-8")
    return root
