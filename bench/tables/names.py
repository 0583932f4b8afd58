"""What readers call arms and configurations."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from bench.arms import ARMS, convolving_arms, external_arms
from bench.arrays.spacing import spread_size

WEIGHTS = tuple(  # columns of weights from which the training of a network started
    f"pipeline.{part}model.{name}" for part in ("", "coarse.") for name in ("encoder_weights", "weights_file")
)
PRETRAINED = "pretrained"  # of a network whose training started from weights
PLANE = re.compile(r"_z\d{3,}(?=(_test|_val)?$)")  # ends the name of a plane, before that of a strip of it
BY_FOLDER = "by folder"  # begins the rule of a split into which whole folders were drawn
SLICE_WISE = "slice-wise"  # of an arm over planes where the images are volumes
ARCHITECTURES = {  # of tiled networks that are no U-Net: value of `pipeline.model.architecture` -> name for readers
    "UnetPlusPlus": "U-Net++",
    "MAnet": "MA-Net",
    "Linknet": "LinkNet",
    "FPN": "FPN",
    "PSPNet": "PSPNet",
    "PAN": "PAN",
    "DeepLabV3": "DeepLabV3",
    "DeepLabV3Plus": "DeepLabV3+",
    "UPerNet": "UPerNet",
    "Segformer": "SegFormer",
    "DPT": "DPT",
}
ARCHITECTURE_COLUMNS = ("pipeline.model.architecture", "pipeline.coarse.model.architecture")
NNUNET_LIKE = "nnU-Net-like"  # of the recipe `pipeline=nnunet_like`
RECIPE = {"pipeline.augmentation": "strong", "pipeline.deep_supervision": "True", "pipeline.flips": "True"}  # of it
PAINTED = "painted"  # of the arm of both without its graph network
VARIETIES = (SLICE_WISE, *ARCHITECTURES, NNUNET_LIKE, PAINTED, PRETRAINED)  # words that follow the pipeline in `arm`
SCALE = "scale="  # of a tiled network that sees the images at a fraction of their resolution
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
    if pipeline in external_arms():
        return f"{' '.join(words) or ARMS[pipeline].label}{ELSEWHERE}"
    variety = _take_variety(pipeline, words)
    return " ".join([_name_variety(pipeline, variety), *words[len(variety) :]])


def _take_variety(pipeline: str, words: Sequence[str]) -> list[str]:
    """Return the first of the words that follow a pipeline in the column `arm`: those of `label_variety`."""
    reduced = pipeline in convolving_arms()
    return list(takewhile(lambda word: word in VARIETIES or (reduced and word.startswith(SCALE)), words))


def _name_variety(pipeline: str, variety: Sequence[str]) -> str:
    """Return the name for readers of a pipeline with the words that `label_variety` has for its runs."""
    label = label_pipeline(pipeline, volumes=SLICE_WISE in variety)
    if PAINTED in variety:
        label = "coarse U-Net painted by superpixels"
    for word in variety:
        label = label.replace("U-Net", ARCHITECTURES.get(word, "U-Net"))
    if NNUNET_LIKE in variety:
        label = f"{NNUNET_LIKE} {label}"
    if PRETRAINED in variety:
        label += f", {PRETRAINED}"
    scales = [word.removeprefix(SCALE) for word in variety if word.startswith(SCALE)]
    return f"{label} at 1/{scales[0]} resolution" if scales else label


def shorten_paths(text: str) -> str:
    """Return settings with the last parts of their paths only: `weights_file=checkpoint.pt`."""
    return re.sub(r"=\S*/(?=\S)", "=", text)


def find_family(arm: str) -> str:
    """Return what an arm is without the settings that vary within it: the pipeline, and the program that ran elsewhere.

    Two programs that made masks elsewhere are two families, and so are a network from scratch and a pretrained one,
    networks of two architectures, and one network at two resolutions.
    """
    pipeline, *words = arm.split(" ")
    if pipeline in external_arms():
        return " ".join([pipeline, *takewhile(lambda word: "=" not in word, words)])
    return " ".join([pipeline, *_take_variety(pipeline, words)])


def is_variety(arm: str) -> bool:
    """Return whether an arm is another network than its pipeline's own: of other weights, layers or resolution."""
    pipeline, *words = find_family(arm).split(" ")
    return pipeline not in external_arms() and bool(set(words) - {SLICE_WISE})


def find_network(arm: str) -> str:
    """Return the family of an arm, whatever the resolution that it sees."""
    return " ".join(word for word in find_family(arm).split(" ") if not word.startswith(SCALE))


def label_variety(run: Mapping[Any, Any]) -> str:
    """Return what always follows the pipeline in the column `arm`: another program's name, or words as `VARIETIES`.

    Of a tiled network that sees reduced images they include `scale=4`.
    """
    pipeline = str(run.get("pipeline"))
    if pipeline in external_arms():
        label = run.get("pipeline.label")
        return label if isinstance(label, str) and label != ARMS[pipeline].label else ""
    sliced = is_volume(run) and pipeline in ARMS and ARMS[pipeline].volume_label != ""
    architectures = [str(run[column]) for column in ARCHITECTURE_COLUMNS if run.get(column) in ARCHITECTURES]
    scale = run.get("pipeline.scale")  # NaN where the arm has no such setting
    reduced = pipeline in convolving_arms() and scale is not None and float(scale) > 1
    words = {
        SLICE_WISE: sliced,
        **dict.fromkeys(architectures, True),
        NNUNET_LIKE: all(str(run.get(column)) == value for column, value in RECIPE.items()),
        PAINTED: str(run.get("pipeline.refine")) == "False",
        f"{SCALE}{float(scale or 1):g}": reduced,
        PRETRAINED: any(isinstance(run.get(column), str) for column in WEIGHTS),
    }
    return " ".join(word for word, holds in words.items() if holds)


def name_run(run: Mapping[Any, Any]) -> str:
    """Return a run's arm as readers know it, with the resolution it sees if that is not the image's own."""
    return name_arm(f"{run['pipeline']} {label_variety(run)}".strip())


def name_configuration(run: Mapping[Any, Any]) -> str:
    """Return a run's configuration: arm, the settings that tell it from others of the arm, superpixel size."""
    method, family = str(run["method"]), f"{run['pipeline']} {label_variety(run)}".strip()
    return " ".join([name_run(run), *shorten_paths(method.removeprefix(family)).split()]) + format_size(
        float(run["superpixel_size"])
    )


def format_size(size: float) -> str:
    """Return where a superpixel size is the given one, in words; empty for a pixel arm."""
    return "" if math.isnan(size) else f" at {size:g} pixels per superpixel"


def format_extent(size: float, volume: bool = False, lengths: object = None) -> str:
    """Return how far a superpixel reaches, in pixels: ` (about 5 x 5)`, or in a volume ` (about 3 x 3 x 3)`.

    Args:
        size: Pixels of a superpixel; NaN gives no words.
        volume: Whether the image has three axes.
        lengths: Length of a pixel along each axis as in the column `dataset.pixel_lengths`; without them pixels are
            squares or cubes.
    """
    if math.isnan(size):
        return ""
    axes = 3 if volume else 2
    known = re.fullmatch(r"([\d.e+-]+(?: x [\d.e+-]+)+)\b.*", lengths) if isinstance(lengths, str) else None
    spacing = [float(length) for length in known[1].split(" x ")] if known else []
    sides = spread_size(max(size, 1.0), spacing if len(spacing) == axes else [1.0] * axes)
    return f" (about {' x '.join(f'{side:.0f}' for side in sides)})"


def name_sources(images: Sequence[str], run: Mapping[Any, Any]) -> list[str]:
    """Return for each image of a run the name of what was taken by itself: of the planes of a stack, the stack.

    Planes are images of their own with `dataset.planes` alone; neighbours are too alike to be counted one by one. So
    are the images of a folder where whole folders were drawn into the splits, since a folder is a specimen there.

    Args:
        images: Names as the table `scores` has them.
        run: The run's row of the table `runs`.
    """
    if str(run.get("dataset.planes")) == "True":
        images = [PLANE.sub("", image) for image in images]
    if str(run.get("dataset.split_rule")).startswith(BY_FOLDER):
        return [image.rpartition("/")[0] or image for image in images]
    return list(images)
