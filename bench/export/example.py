"""The example of a described model: grey values, the steps of bioimage.io that scale them, and probabilities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import TiledCnnConfig, require
from bench.datasets.files import Arranged
from bench.datasets.normalization import Moments, Scaling
from bench.datasets.opening import open_image
from bench.datasets.task_file import Normalization
from bench.predict.png_files import lay_over
from bench.predict.prediction import find_channels
from bench.predict.run_directory import FinishedRun

STEP = 32  # height and width of what the network sees are multiples of it
EPS = 1e-6  # added to the standard deviation by the specification's zero_mean_unit_variance
COVER = 256  # pixels of either half of the cover, at most
Floats = NDArray[np.float32]
Step = Mapping[str, Any]  # of preprocessing: `id` and `kwargs`, as in rdf.yaml


def get_settings(run: FinishedRun) -> TiledCnnConfig:
    """Return the settings of the arm of a run of `tiled_cnn`."""
    found = run.config.pipeline
    assert isinstance(found, TiledCnnConfig)
    return found


def list_steps(normalization: Normalization, channels: int) -> list[Step]:
    """Return the specification's preprocessing steps that scale grey values as the run's images were scaled.

    Args:
        normalization: How the run scaled them; one that `check_describable` lets pass.
        channels: Channels of the images.
    """
    if normalization.mode == "per_image":
        return [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"], "eps": EPS}}]
    if normalization.mode == "centred":
        return []  # the network does it: `bench.export.centred`
    scaling = find_scaling(normalization, channels)
    if normalization.mode == "none":
        full = float(scaling.divisor[0])
        return [] if full == 1 else [{"id": "scale_linear", "kwargs": {"gain": 1 / full, "offset": 0.0}}]
    check_spread(float(scaling.divisor.min()))
    moments = {"mean": scaling.offset.tolist(), "std": scaling.divisor.tolist()}
    return [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"axis": "channel", **moments}}]


def check_spread(least: float) -> None:
    """Refuse grey values whose spread is less than the specification divides by. Raises InputError."""
    why = f"grey values of training images have a spread of {least:.2g}, less than a model of bioimage.io divides by"
    require(least >= EPS, f"{why}: multiply the images by a number, and train again")


def find_scaling(normalization: Normalization, channels: int) -> Scaling:
    """Return the scaling that is the same for every image, of the modes `dataset` and `none`."""
    nothing = Moments(1, np.zeros(channels), np.ones(channels))
    return normalization.scaling(np.dtype((normalization.dtypes or ("float32",))[0]), nothing)


def apply_steps(steps: Sequence[Step], tensor: Floats) -> Floats:
    """Preprocess a tensor (B, C, H, W) as the specification describes its steps."""
    for step in steps:
        given = step["kwargs"]
        if step["id"] == "zero_mean_unit_variance":
            mean, std = (reduce(axis=(2, 3), keepdims=True) for reduce in (tensor.mean, tensor.std))
            tensor = (tensor - mean) / (std + given["eps"])
        elif step["id"] == "fixed_zero_mean_unit_variance":
            mean, std = (spread_over_channels(given[name]) for name in ("mean", "std"))
            tensor = (tensor - mean) / std
        else:
            tensor = tensor * spread_over_channels(given["gain"]) + spread_over_channels(given["offset"])
    return np.asarray(tensor, np.float32)


def spread_over_channels(value: float | Sequence[float]) -> Floats:
    """Return a number, or one for each channel, in a shape that meets (B, C, H, W)."""
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


def find_least(settings: TiledCnnConfig) -> int:
    """Return the least height and width that leave pixels between the halos, a multiple of `STEP`."""
    return -(-(2 * settings.overlap + STEP) // STEP) * STEP


def make_example(run: FinishedRun, image: Path | None) -> Floats:
    """Return an example (1, C, H, W) of grey values as they are in an image's file, at most a tile of the run.

    Args:
        run: A run of `tiled_cnn`.
        image: The image whose middle it is, of a volume that of its middle plane; None: a generated pattern.

    Raises:
        InputError: The image cannot be read, is not of the run's kind, or is too small.
    """
    settings = get_settings(run)
    if image is None:
        return make_pattern(run.normalization, run.task.in_channels, settings.tile_size)
    stated = getattr(run.config.dataset, "channel_axis", None)
    opened = open_image(image, stated)
    stored = Arranged(opened.array, find_channels(image, opened.header, run.task, stated))
    *planes, height, width = stored.shape[:-1]
    sides = [min(settings.tile_size, length // STEP * STEP) for length in (height, width)]
    least = find_least(settings)
    require(
        min(sides) >= least,
        f"{image} has {height} x {width} pixels{' in a plane' * len(planes)}, and an example needs {least} x {least}: "
        "give a larger image=",
    )
    wanted = [*(1 for _ in planes), *sides]
    starts = [(length - side) // 2 for length, side in zip(stored.shape[:-1], wanted, strict=True)]
    values = stored.block(tuple(slice(start, start + side) for start, side in zip(starts, wanted, strict=True)))
    values = values.reshape(*sides, -1)
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)[None].astype(np.float32))


def make_pattern(normalization: Normalization, channels: int, side: int) -> Floats:
    """Generate grey values in the range of the images: blocks of `STEP` x `STEP` pixels under noise, always the same.

    Args:
        normalization: How the run scaled grey values, from which their range is taken.
        channels: Channels of the images, C.
        side: Height and width in pixels, a multiple of `STEP`.

    Returns:
        Grey values (1, C, side, side) as they would be in a file, before scaling.
    """
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.normal(size=(1, channels, side // STEP, side // STEP)), np.ones((1, 1, STEP, STEP)))
    shape = coarse + 0.3 * rng.normal(size=(1, channels, side, side))
    if normalization.mode == "per_image":
        return np.asarray(100 + 20 * shape, np.float32)
    if normalization.mode == "none":
        return np.asarray(find_scaling(normalization, channels).divisor[0] * (0.5 + 0.15 * shape), np.float32)
    return spread_over_channels(normalization.mean) + spread_over_channels(normalization.std) * shape.astype(np.float32)


def predict_example(run: FinishedRun, network: Any, example: Floats) -> Floats:
    """Return the class probabilities that a described model gives.

    Args:
        run: The run that it is made of.
        network: Its network.
        example: Grey values (1, C, H, W).

    Returns:
        (1, K, H, W), which add up to 1 in each pixel.
    """
    import torch

    scaled = apply_steps(list_steps(run.normalization, run.task.in_channels), example)
    with torch.no_grad():
        probabilities: Floats = network(torch.from_numpy(scaled)).softmax(dim=1).numpy()
    return probabilities


def draw_cover(path: Path, image: Floats, mask: NDArray[np.integer]) -> None:
    """Write the cover of a model: the middle of an image, and beside it the same with its classes in colour.

    Args:
        path: PNG file to write, twice as wide as high and at most `2 * COVER` pixels wide.
        image: Grey values (C, H, W); the first three channels are shown as red, green and blue, fewer as grey.
        mask: Classes (H, W); class 0, the background, has no colour.
    """
    from PIL import Image

    side = min(COVER, *mask.shape)
    top, left = ((length - side) // 2 for length in mask.shape)
    middle = (slice(top, top + side), slice(left, left + side))
    shown, classes = np.moveaxis(image, 0, -1)[middle], mask[middle]
    halves = [lay_over(shown, np.zeros_like(classes)), lay_over(shown, classes)]
    Image.fromarray(np.concatenate(halves, axis=1)).save(path, format="PNG", optimize=True)
