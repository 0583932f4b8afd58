"""Pictures for the before/after sliders: the truth and each arm's prediction over the same crop."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
import pandas as pd

from bench.plots.colours import choose_colours
from bench.plots.panels import Rgb, draw_overlay, load_arm_crops
from bench.plots.style import NoDataError

MOST = 2  # images


@dataclass(frozen=True)
class Slider:
    """One arm's prediction of one crop, and the truth, as WebP."""

    image: str
    arm: str
    truth: bytes
    predicted: bytes


def make_sliders(folders: Sequence[Path], runs: pd.DataFrame) -> list[Slider]:
    """Return pictures image by image, the arms in their order, without ceilings; empty where no run kept its crops."""
    try:
        arms = load_arm_crops(folders, runs).arms
    except NoDataError:
        return []
    classes, colours = len(arms[0].class_names), choose_colours([crop.image for crop in arms[0].crops[:MOST]])
    found = []
    for index, crop in enumerate(arms[0].crops[:MOST]):
        truth = _encode(draw_overlay(crop.image, crop.truth, classes, colours))
        for arm in arms:
            theirs = arm.crops[index]
            if not arm.is_ceiling:
                predicted = _encode(draw_overlay(theirs.image, theirs.predicted, classes, colours))
                found.append(Slider(crop.name, arm.title.replace("\n", " at "), truth, predicted))
    return found


def _encode(picture: Rgb) -> bytes:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture.clip(0, 1), format="webp", pil_kwargs={"quality": 80})
    return buffer.getvalue()
