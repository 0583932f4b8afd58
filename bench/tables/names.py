"""What readers call arms and configurations."""

import math
from collections.abc import Mapping
from typing import Any

from bench.arms import ARMS


def name_arm(arm: str) -> str:
    """Return the text of the column `arm` with the pipeline's name for readers: `U-Net scale=4`."""
    pipeline, *settings = arm.split(" ")
    return " ".join([ARMS[pipeline].label if pipeline in ARMS else pipeline, *settings])


def name_run(run: Mapping[Any, Any]) -> str:
    """Return a run's arm as readers know it, with the resolution it sees if that is not the image's own."""
    name = name_arm(str(run["pipeline"]))
    scale = run.get("pipeline.scale")
    if scale is None or not float(scale) > 1:  # NaN where the arm has no such setting
        return name
    return f"{name} at 1/{float(scale):g} resolution"


def name_configuration(run: Mapping[Any, Any]) -> str:
    """Return a run's configuration: arm, the settings that tell it from others of the arm, superpixel size."""
    settings = [text for text in str(run["method"]).split(" ")[1:] if not text.startswith("scale=")]
    return " ".join([name_run(run), *settings]) + format_size(float(run["superpixel_size"]))


def format_size(size: float) -> str:
    """Return where a superpixel size is the given one, in words; empty for a pixel arm."""
    return "" if math.isnan(size) else f" at {size:g} pixels per superpixel"


def format_extent(size: float) -> str:
    """Return how far a superpixel of so many pixels reaches, because their number is an area: ` (about 5 x 5)`."""
    return "" if math.isnan(size) else f" (about {math.sqrt(size):.0f} x {math.sqrt(size):.0f})"
