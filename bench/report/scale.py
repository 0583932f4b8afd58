"""The part of a report on cost against the size of an image: what the experiment `scale` measured, and its laws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, isnan
from typing import Any

import pandas as pd

from bench.arms import ARMS, RIVALS
from bench.plots.style import KINDS, Plotted
from bench.report.parts import ReportPart
from bench.report.words import format_share, join_list
from bench.tables.scale import AXES, LIMITS, MAGNIFICATION, REDUCED, TILED, LineLaw, find_fits, fit_lines
from bench.tables.text import format_seconds
from bench.tables.units import GIB

CARDS = {  # GiB of memory that cards and laptops come with
    "gpu_process": (8, 12, 16, 24, 40, 48, 80),
    "gpu_allocator": (8, 12, 16, 24, 40, 48, 80),
    "cpu_rss": (8, 16, 24, 32, 64, 80),
    "cpu_rss_tree": (8, 16, 24, 32, 64, 80),
}
REACH = 16  # times the largest measured image, up to which a law is trusted to say what fits


@dataclass(frozen=True)
class Study:
    """What a report says of one series of sizes.

    Attributes:
        heading: The data set, and the machine where there are several.
        parts: What was found.
        not_drawn: One sentence on figures that lack their data; empty where all were drawn.
    """

    heading: str
    parts: tuple[ReportPart, ...]
    not_drawn: str


def make_scale_parts(points: pd.DataFrame, memory_bytes: float, figures: Sequence[Plotted]) -> tuple[ReportPart, ...]:
    """Return what the points of one data set and machine say.

    Args:
        points: Rows of `bench.tables.scale.make_scale_points`.
        memory_bytes: Memory of the machine, or of its GPU where the runs were on it; NaN where it is not known.
        figures: The figures of these points.
    """
    laws = fit_lines(points)
    drawn = tuple(figure for figure in figures if figure.png is not None)
    return (
        ReportPart("Cost against image size", _compare(points), _HEADINGS, _list_points(points), drawn),
        ReportPart("What fits", (_FITS,), ("", *(f"{limit} GiB" for limit in LIMITS)), _list_fits(points)),
        ReportPart("Memory by size", _state_laws(laws, memory_bytes), _LAW_HEADINGS, _list_laws(laws)),
        *_predict_cards(laws),
    )


# --------------------------------------------------------------------------------------------------- what was measured

_HEADINGS = (
    "axis", "arm", "Mpx", "test Dice", "prepare s/Mpx", "predict s/Mpx, superpixels included", "training s",
    "s to equal score", "training GiB, gross", "net", "prediction GiB, gross", "net",
)  # fmt: skip


def _list_points(points: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    return tuple(_list_point(row) for row in points.to_dict("records"))


def _list_point(row: Mapping[Any, Any]) -> tuple[str, ...]:
    size = f"{_get(row, 'megapixels'):.3g}"
    start = (str(row["axis"]), str(row["line"]), size)
    if row["status"] != "ok":
        return (*start, str(row["status"]), *[""] * (len(_HEADINGS) - 4))
    seconds = ("prepare_s_per_mpx", "predict_s_per_mpx", "train_s", "seconds_to_equal")
    star = "*" if row["contended"] else ""
    memory = ("training_bytes", "training_net_bytes", "prediction_bytes", "prediction_net_bytes")
    dice = _get(row, "dice")
    return (
        *start,
        "" if isnan(dice) else f"{dice:.3f}",
        *("" if isnan(_get(row, name)) else format_seconds(_get(row, name)) + star for name in seconds),
        *("" if isnan(_get(row, name)) else f"{_get(row, name) / GIB:.3g}" for name in memory),
    )


def _get(row: Mapping[Any, Any], name: str) -> float:
    return float(row[name])


def _compare(points: pd.DataFrame) -> tuple[str, ...]:
    """Of each axis, graph line and kind of U-Net a sentence on the largest size of both, and where the graph pays."""
    found = [
        "Fits ended by their number of optimiser steps, of which the untiled network had fewer, not when they stopped "
        "improving: scores compare sizes, and say what so much work reaches, not what either arm could."
    ]
    if (points["contended"] & (points["status"] == "ok")).any():
        found.append("* The run shared the machine (contended), so that its times are too long.")
    for axis in AXES:
        own = points[(points["axis"] == axis) & (points["status"] == "ok")]
        for line, graph in own[own["pipeline"] == RIVALS[0]].groupby("line"):
            for kind in (TILED, REDUCED):
                rival = own[own["line"].str.contains(kind)]
                both = graph.merge(rival, on="megapixels", suffixes=("", "_rival")).set_index("megapixels").sort_index()
                if len(both):
                    found.append(_compare_largest(axis, str(line), both, kind))
    return tuple(found)


_COSTS = (
    ("predict_s_per_mpx", "takes {} time to predict a megapixel, superpixels included"),
    ("peak_bytes", "{} memory at the peak (gross)"),
    ("training_net_bytes", "{} of its own in training (net)"),
)
_ASPECTS = {
    TILED: (*_COSTS, ("seconds_to_equal", "{} time to the score that both reach")),
    REDUCED: (*_COSTS, ("train_s", "{} time for as many steps of training")),
}
_TIMES = ("predict_s_per_mpx", "seconds_to_equal", "train_s")


def _compare_largest(axis: str, line: str, both: pd.DataFrame, kind: str) -> str:
    """Say how a graph line does beside a U-Net, at the largest common size, and where it begins to pay.

    Times are compared where neither run shared the machine, if there is such a size: a smaller one is then named.

    Args:
        axis: Along which sizes grow.
        line: Name of the graph's curve.
        both: The points of both, by size.
        kind: `TILED` or `REDUCED`, of the U-Net.
    """
    last, clauses = both.iloc[-1], []
    contended = both["contended"] | both["contended_rival"]
    for column, words in _ASPECTS[kind]:
        timed = column in _TIMES
        used = both[~contended] if timed and not contended.all() else both
        ours, theirs = float(used[column].iloc[-1]), float(used[f"{column}_rival"].iloc[-1])
        if ours > 0 and theirs > 0:
            where = "" if used.index[-1] == both.index[-1] else f" at {used.index[-1]:.3g} Mpx"
            shared = " on a shared machine" if timed and contended.all() else ""
            clauses.append(words.format(format_share(theirs / ours)) + where + shared + _where_it_pays(used, column))
    times = f" at magnification {last['magnification']:g}" if axis == MAGNIFICATION else ""
    return (
        f"With {axis}, on an image of {both.index[-1]:.3g} Mpx{times}, the {line} beside the {ARMS[RIVALS[1]].label} "
        f"{kind}: {'; '.join(clauses)}; test Dice {last['dice']:.3f} against {last['dice_rival']:.3f}."
    )


def _where_it_pays(both: pd.DataFrame, column: str) -> str:
    """From which measured size on the graph takes less, in brackets."""
    less = both[column] < both[f"{column}_rival"]
    if less.all():
        return " (less at every size measured)" if len(both) > 1 else ""
    if not less.iloc[-1]:
        return " (less at no size measured)" if not less.any() else " (not less at the largest)"
    return f" (less from {both.index[len(less) - int(less[::-1].cummin().sum())]:.3g} Mpx on)"


# ------------------------------------------------------------------------------------------------------- what fits

_FITS = (
    "Megapixels of the largest measured image whose training and prediction stayed within so much memory, gross, and "
    "in brackets of the smallest that did not."
)


def _list_fits(points: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    rows = []
    for axis in AXES:
        for line, group in points[points["axis"] == axis].groupby("line"):
            cells = []
            for fit in find_fits(group):
                fits = "none" if isnan(fit.largest) else f"{fit.largest:.3g}"
                cells.append(fits + ("" if isnan(fit.too_large) else f" (not {fit.too_large:.3g})"))
            rows.append((f"{line}, {axis}", *cells))
    return tuple(rows)


# ----------------------------------------------------------------------------------------------------------- laws

_LAW_HEADINGS = ("arm", "phase", "constant, MiB", "bytes per pixel", "bytes per node", "error on sizes left out")


def _list_laws(laws: Sequence[LineLaw]) -> tuple[tuple[str, ...], ...]:
    rows: list[tuple[str, ...]] = []
    for one in laws:
        if one.law is None:
            rows.append((one.line, one.phase, "", "", "", one.reason))
            continue
        numbers = (one.law.constant / 2**20, one.law.per_pixel, one.law.per_node)
        rows.append((one.line, one.phase, *(f"{number:.3g}" for number in numbers), f"{one.law.error:.0%}"))
    return tuple(rows)


def _state_laws(laws: Sequence[LineLaw], memory_bytes: float) -> tuple[str, ...]:
    """What the laws are, and how large an image each arm trains on and predicts on this machine."""
    first = (
        "Peak memory, gross, as constant + bytes per pixel x pixels + bytes per node x superpixels of an image, fitted "
        "to all sizes; the error is the largest on a size that was left out of the fit."
    )
    return (
        first,
        *(text for line in dict.fromkeys(one.line for one in laws) if (text := _state(line, laws, memory_bytes))),
    )


def _state(line: str, laws: Sequence[LineLaw], memory: float) -> str:
    known = {one.phase: one for one in laws if one.line == line and one.law is not None}
    if isnan(memory) or not known:
        return ""
    verbs = {"training": "trains on", "prediction": "predicts"}
    parts = [f"{verbs[phase]} {_bound(_format_largest(one, memory))}" for phase, one in known.items()]
    return f"Predicted: on this machine ({memory / GIB:.0f} GiB) the {line} {join_list(parts)}."


def _bound(largest: str) -> str:
    return largest if largest.startswith("more") else f"up to {largest}"


def _format_largest(one: LineLaw, memory: float) -> str:
    """The largest image in Mpx; where a law would have to reach too far, only how far it was tried."""
    assert one.law is not None
    largest = one.law.find_largest(memory, one.size if one.size > 0 else float("inf"))
    tried = max(one.law.sizes)
    if isinf(largest) or largest > REACH * tried:
        return f"more than {REACH * tried / 1e6:.3g} Mpx"
    return f"{largest / 1e6:.3g} Mpx"


def _predict_cards(laws: Sequence[LineLaw]) -> tuple[ReportPart, ...]:
    """A table of what fits into memories of common sizes, of one kind of memory each."""
    parts = []
    for kind in dict.fromkeys(one.kind for one in laws if one.law is not None and one.kind in CARDS):
        own = [one for one in laws if one.kind == kind and one.law is not None]
        rows = tuple(
            (f"{one.line}, {one.phase}", *(_format_largest(one, card * GIB) for card in CARDS[kind])) for one in own
        )
        device = "cards" if kind.startswith("gpu") else "machines and laptops"
        sentence = (
            f"Predicted by the laws above, not measured: the largest image within the memory of common {device}, of "
            f"which the run would have all ({KINDS[kind]}). A law is not followed beyond {REACH} times the largest "
            "image that was measured."
        )
        title = f"Predicted for common {device}"
        parts.append(ReportPart(title, (sentence,), ("", *(f"{card} GiB" for card in CARDS[kind])), rows))
    return tuple(parts)
