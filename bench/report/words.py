"""Words that sentences about measured numbers share."""

import math
from collections.abc import Callable, Iterable, Sequence

from bench.tables.statistics import Estimate
from bench.tables.text import format_seconds


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def join_list(items: Iterable[str]) -> str:
    """Return items as `a, b and c`."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last


def format_duration(value: float) -> str:
    """Return seconds with their unit."""
    return f"{format_seconds(value)} s"


def format_interval(estimate: Estimate, form: Callable[[float], str] = "{:.3g}".format) -> str:
    """Return `95 % interval 13 to 15`, or that there is none."""
    if not estimate.has_interval:
        return "no interval"
    return f"95 % interval {form(estimate.low)} to {form(estimate.high)}"


def format_signed(value: float) -> str:
    """Return a difference in points with its sign, never rounded to zero."""
    return f"{value:+.1f}" if abs(value) >= 0.05 or value == 0 else f"{value:+.1g}"


def format_share(ratio: float) -> str:
    """Return what a first amount is beside a second, of `ratio` = second / first: `15 % less`, `2.3 times as much`.

    Savings have as many digits as what is left needs: nothing costs 100 % less.
    """
    part = 1 / ratio
    if part >= 2:
        return f"{part:.3g} times as much"
    percent = 100 * abs(1 - part)
    digits = max(1, -math.floor(math.log10(100 * part))) if percent >= 99 else 0
    text = f"{percent:.{digits}f}"
    return "as much" if text == "0" else f"{text} % {'less' if part < 1 else 'more'}"


def join_sentences(parts: Sequence[str]) -> str:
    """Join clauses with semicolons into one sentence that begins with a capital and ends with a stop."""
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:] + "."
