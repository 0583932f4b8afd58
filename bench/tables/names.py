"""What readers call arms and configurations."""

import math
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from bench.arms import ARMS, foreign_arms

PRETRAINED = "pretrained"  # of a network whose training started from weights
ELSEWHERE = " (run elsewhere)"  # of a program whose masks are scored here, and nothing else


def name_arm(arm: str) -> str:
    """Return the text of the column `arm` with the pipeline's name for readers: `U-Net, pretrained scale=4`."""
    pipeline, _, settings = arm.partition(" ")
    if pipeline in foreign_arms():
        return f"{settings or ARMS[pipeline].label}{ELSEWHERE}"
    label = ARMS[pipeline].label if pipeline in ARMS else pipeline
    first, _, rest = settings.partition(" ")
    if first == PRETRAINED:
        label, settings = f"{label}, {PRETRAINED}", rest
    return f"{label} {settings}".strip()


def find_family(arm: str) -> str:
    """Return what an arm is without the settings that vary within it: the pipeline, and the program that ran elsewhere.

    Two programs that made masks elsewhere are two families, and so are a network from scratch and a pretrained one.
    """
    pipeline, *words = arm.split(" ")
    if pipeline in foreign_arms():
        return " ".join([pipeline, *takewhile(lambda word: "=" not in word, words)])
    return " ".join([pipeline, *(words[:1] if words[:1] == [PRETRAINED] else [])])


def label_variety(run: Mapping[Any, Any]) -> str:
    """Return what always follows the pipeline in the column `arm`: another program's name, `pretrained`, or nothing."""
    if run.get("pipeline") in foreign_arms():
        label = run.get("pipeline.label")
        return label if isinstance(label, str) and label != ARMS[str(run["pipeline"])].label else ""
    weights = (run.get(f"pipeline.model.{name}") for name in ("encoder_weights", "weights_file"))
    return PRETRAINED if any(isinstance(value, str) for value in weights) else ""


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
    settings = [text for text in method.removeprefix(family).split() if not text.startswith("scale=")]
    return " ".join([name_run(run), *settings]) + format_size(float(run["superpixel_size"]))


def format_size(size: float) -> str:
    """Return where a superpixel size is the given one, in words; empty for a pixel arm."""
    return "" if math.isnan(size) else f" at {size:g} pixels per superpixel"


def format_extent(size: float) -> str:
    """Return how far a superpixel of so many pixels reaches, because their number is an area: ` (about 5 x 5)`."""
    return "" if math.isnan(size) else f" (about {math.sqrt(size):.0f} x {math.sqrt(size):.0f})"
