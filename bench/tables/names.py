"""What readers call arms and configurations."""

import math
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from bench.arms import ARMS, foreign_arms

WEIGHTS = tuple(  # columns of weights from which the training of a network started
    f"pipeline.{part}model.{name}" for part in ("", "coarse.") for name in ("encoder_weights", "weights_file")
)
PRETRAINED = "pretrained"  # of a network whose training started from weights
SLICE_WISE = "slice-wise"  # of an arm over planes where the images are volumes
VARIETIES = (SLICE_WISE, PRETRAINED)  # words that always follow the pipeline in the column `arm`, in this order
ELSEWHERE = " (run elsewhere)"  # of a program whose masks are scored here, and nothing else


def label_pipeline(pipeline: str, volumes: bool = False) -> str:
    """Return a pipeline's name for readers.

    Args:
        pipeline: Key of `bench.arms.ARMS`, or the name of an arm from elsewhere.
        volumes: Whether its images are volumes.
    """
    if pipeline not in ARMS:
        return pipeline
    arm = ARMS[pipeline]
    return arm.volume_label if volumes and arm.volume_label else arm.label


def is_volume(run: Mapping[Any, Any]) -> bool:
    """Return whether a run's images had three spatial axes; runs of versions that do not say so count as flat."""
    axes = run.get("dataset.spatial_axes")
    return axes is not None and float(axes) == 3


def name_arm(arm: str) -> str:
    """Return the text of the column `arm` with the pipeline's name for readers: `U-Net, pretrained scale=4`.

    Of a setting that is a path it has the last part.
    """
    pipeline, *words = shorten_paths(arm).split(" ")
    if pipeline in foreign_arms():
        return f"{' '.join(words) or ARMS[pipeline].label}{ELSEWHERE}"
    told = list(takewhile(VARIETIES.__contains__, words))
    label = label_pipeline(pipeline, volumes=SLICE_WISE in told)
    return " ".join([f"{label}, {PRETRAINED}" if PRETRAINED in told else label, *words[len(told) :]])


def shorten_paths(text: str) -> str:
    """Return settings with the last parts of their paths only: `weights_file=checkpoint.pt`."""
    return re.sub(r"=\S*/(?=\S)", "=", text)


def find_family(arm: str) -> str:
    """Return what an arm is without the settings that vary within it: the pipeline, and the program that ran elsewhere.

    Two programs that made masks elsewhere are two families, and so are a network from scratch and a pretrained one.
    """
    pipeline, *words = arm.split(" ")
    if pipeline in foreign_arms():
        return " ".join([pipeline, *takewhile(lambda word: "=" not in word, words)])
    return " ".join([pipeline, *takewhile(VARIETIES.__contains__, words)])


def label_variety(run: Mapping[Any, Any]) -> str:
    """Return what always follows the pipeline in the column `arm`: another program's name, `VARIETIES`, or nothing."""
    pipeline = str(run.get("pipeline"))
    if pipeline in foreign_arms():
        label = run.get("pipeline.label")
        return label if isinstance(label, str) and label != ARMS[pipeline].label else ""
    pretrained = any(isinstance(run.get(column), str) for column in WEIGHTS)
    sliced = is_volume(run) and pipeline in ARMS and ARMS[pipeline].volume_label != ""
    return " ".join([SLICE_WISE] * sliced + [PRETRAINED] * pretrained)


def name_run(run: Mapping[Any, Any]) -> str:
    """Return a run's arm as readers know it, with the resolution it sees if that is not the image's own."""
    name = name_arm(f"{run['pipeline']} {label_variety(run)}".strip())
    scale = run.get("pipeline.scale")
    if scale is None or not float(scale) > 1:  # NaN where the arm has no such setting
        return name
    return f"{name} at 1/{float(scale):g} resolution"


def name_configuration(run: Mapping[Any, Any]) -> str:
    """Return a run's configuration: arm, the settings that tell it from others of the arm, superpixel size."""
    method, family = str(run["method"]), f"{run['pipeline']} {label_variety(run)}".strip()
    settings = [text for text in shorten_paths(method.removeprefix(family)).split() if not text.startswith("scale=")]
    return " ".join([name_run(run), *settings]) + format_size(float(run["superpixel_size"]))


def format_size(size: float) -> str:
    """Return where a superpixel size is the given one, in words; empty for a pixel arm."""
    return "" if math.isnan(size) else f" at {size:g} pixels per superpixel"


def format_extent(size: float, volume: bool = False) -> str:
    """Return how far a superpixel of so many pixels reaches: ` (about 5 x 5)`, or in a volume ` (about 3 x 3 x 3)`."""
    axes = 3 if volume else 2
    return "" if math.isnan(size) else f" (about {' x '.join([f'{size ** (1 / axes):.0f}'] * axes)})"
