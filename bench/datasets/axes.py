"""What the axes of a file mean, by one rule for TIFF and Zarr: which are space, which are channels, which are left out.

Names are single lower-case letters: y, x and z are space; c and s are channels; t is time; an empty name is unknown and
may be depth or channels. Every other letter names something that an image of one field of view does not have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config import InputError, require

SPACE, CHANNELS = "zyx", "cs"
SYNONYMS = {
    "time": "t", "times": "t", "channel": "c", "channels": "c", "samples": "s", "depth": "z", "plane": "z",
    "planes": "z", "height": "y", "row": "y", "rows": "y", "width": "x", "col": "x", "column": "x", "columns": "x",
}  # fmt: skip
NAMES = {
    "a": "angles", "p": "phases or positions", "r": "regions", "m": "mosaic tiles", "h": "lifetimes",
    "l": "exposures", "v": "events", "e": "wavelengths", "b": "blocks", "f": "frames",
}  # fmt: skip
MOST_COLUMNS = 8  # of an axis that is hardly one of columns, where all others are as many times as long


@dataclass(frozen=True)
class Arrangement:
    """How the axes of a file become those of an image."""

    order: tuple[int, ...]  # the file's axis of each axis of the image; the others have length 1
    channel_axis: int | None  # of the image; None: the file does not say


def abbreviate_axis(name: str, kind: str | None = None) -> str:
    """Return the letter of an axis by its name in a Zarr store, or by its type there; empty where neither is known."""
    lowered = name.strip().lower()
    by_kind = {"time": "t", "channel": "c"}.get(kind or "", "")
    return by_kind or SYNONYMS.get(lowered, lowered if lowered in ("t", "c", "s", *SPACE) else "")


def arrange_axes(
    path: Path, names: Sequence[str], shape: Sequence[int], channel_axis: int | None = None, planes: bool = False
) -> Arrangement:
    """Leave out axes of length 1, and put z, y and x into that order; channels keep their place.

    Args:
        path: The file, for messages.
        names: One letter per axis of the file; empty where it is not known.
        shape: Lengths of these axes.
        channel_axis: The axis of the image that the user calls channels, counted without those left out; it may then
            be one of time or of anything else.
        planes: Whether points in time are wanted one by one, as the planes of a stack.

    Returns:
        The kept axes and the place of the channels.

    Raises:
        InputError: The file holds more than one point in time, two axes of channels, or an axis of another meaning.
    """
    kept = order_space(keep_axes(names, shape), names)
    given = None if channel_axis is None else channel_axis % max(len(kept), 1)
    for place, axis in enumerate(kept):
        if place != given and not (planes and names[axis] == "t"):
            check_meaning(path, names, shape, axis)
    channels = [place for place, axis in enumerate(kept) if names[axis] and names[axis] in CHANNELS]
    require(
        len(channels) <= 1 or given is not None,
        f"{path} has two axes of channels ({describe_axes(names, shape)}): save the colours as plain "
        "channels, on one axis",
    )
    return Arrangement(tuple(kept), channels[0] if channels else None)


def keep_axes(names: Sequence[str], shape: Sequence[int]) -> list[int]:
    """Return the axes longer than 1 and those of height and width, and of unknown ones so many that two are left."""
    kept = [axis for axis, length in enumerate(shape) if length > 1 or names[axis] in ("y", "x")]
    for axis in range(len(shape) - 1, -1, -1):
        if len(kept) < 2 and axis not in kept:
            kept = sorted([*kept, axis])
    return kept


def order_space(kept: Sequence[int], names: Sequence[str]) -> list[int]:
    """Return the axes with those of space in the order z, y, x, if all of them are named and no name is repeated."""
    places = [place for place, axis in enumerate(kept) if not names[axis] or names[axis] not in CHANNELS]
    space = [kept[place] for place in places]
    named = [names[axis] for axis in space]
    if not set(named) <= set(SPACE) or "" in named or len(set(named)) < len(named):
        return list(kept)
    out = list(kept)
    for place, axis in zip(places, sorted(space, key=lambda axis: SPACE.index(names[axis])), strict=True):
        out[place] = axis
    return out


def check_meaning(path: Path, names: Sequence[str], shape: Sequence[int], axis: int) -> None:
    """Refuse time, and any axis that one image of one field of view does not have.

    Args:
        path: The file, for the message.
        names: A letter per axis.
        shape: Lengths of the axes.
        axis: The axis in question.
    """
    name, length = names[axis], shape[axis]
    if name == "t" and length > 1:
        raise InputError(
            f"{path} holds {length} points in time ({describe_axes(names, shape)}): save each as an image of its "
            "own, or, if they are slices of a volume, name the axis z in the file (in Fiji: Image > Properties); "
            "of a data set, dataset.planes=true reads them one by one where the mask is a stack of as many (tifffile "
            "saves 3 or 4 planes as one picture in colour unless photometric='minisblack' is given)"
        )
    known = not name or name in SPACE or name in CHANNELS or name == "t"
    require(
        known or length == 1,
        f"{path} holds {length} {NAMES.get(name, name)} ({describe_axes(names, shape)}): save each as an image of its "
        "own",
    )


def check_volume(path: Path, shape: Sequence[int], channel_axis: int | None = None) -> None:
    """Refuse a volume one of whose axes is channels: by the file's word, or because it has very few columns.

    Args:
        path: The file, for the message.
        shape: Lengths of all axes, which are to be spatial; those of a flat image are taken.
        channel_axis: The axis that the file calls channels; None: it calls none so.
    """
    if len(shape) < 3:
        return
    require(
        channel_axis is None,
        f"{path} has the shape {tuple(shape)} with channels on axis {channel_axis}: it is no volume of one channel",
    )
    require(
        shape[-1] > MOST_COLUMNS or shape[-1] * MOST_COLUMNS > min(shape[:-1]),
        f"{path} has the shape {tuple(shape)} and would be a volume {shape[-1]} columns wide: planes lie on the first "
        "axis, and an image with channels on the last one has one axis more than its mask",
    )


def describe_axes(names: Sequence[str], shape: Sequence[int]) -> str:
    """Return the axes and their lengths in words, as in `axes TYX of 4, 48, 64`."""
    return f"axes {''.join(name.upper() or '?' for name in names)} of {', '.join(map(str, shape))}"
