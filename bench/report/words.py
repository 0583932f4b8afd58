"""Words that sentences about measured numbers share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.arms import ARMS
from bench.tables.statistics import Estimate


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listing(items: Iterable[str]) -> str:
    """Return items as `a, b and c`."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last


def at(size: float) -> str:
    """Return where a superpixel size is the given one, in words; empty for a pixel arm."""
    return "" if math.isnan(size) else f" at {size:g} pixels per superpixel"


def seconds(value: float) -> str:
    """Return seconds with three digits and no powers of ten."""
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"


def name_of(run: Mapping[Any, Any]) -> str:
    """Return a run's arm as readers know it, with the resolution it sees if that is not the image's own."""
    arm = ARMS.get(str(run["pipeline"]))
    name = arm.label if arm else str(run["pipeline"])
    scale = run.get("pipeline.scale")
    if scale is None or not float(scale) > 1:  # NaN where the arm has no such setting
        return name
    return f"{name} at 1/{float(scale):g} resolution"


def full_name(run: Mapping[Any, Any]) -> str:
    """Return a run's configuration: arm, the settings that tell it from others of the arm, superpixel size."""
    settings = [text for text in str(run["method"]).split(" ")[1:] if not text.startswith("scale=")]
    name = " ".join([name_of(run), *settings])
    return name + at(float(run["superpixel_size"]))


def interval(estimate: Estimate, form: str = "{:.3g}") -> str:
    """Return `95 % interval 13 to 15`, or that there is none."""
    if not estimate.has_interval:
        return "no interval"
    return f"95 % interval {form.format(estimate.low)} to {form.format(estimate.high)}"


def share(ratio: float) -> str:
    """Return what a first amount is beside a second, of `ratio` = second / first: `15 % less`, `2.3 times as much`."""
    part = 1 / ratio
    if part >= 2:
        return f"{part:.3g} times as much"
    percent = 100 * abs(1 - part)
    text = f"{percent:.1f}" if percent >= 99 else f"{percent:.0f}"
    return "as much" if text == "0" else f"{text} % {'less' if part < 1 else 'more'}"


def sentences(parts: Sequence[str]) -> str:
    """Join clauses with semicolons into one sentence that begins with a capital and ends with a stop."""
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:] + "."
