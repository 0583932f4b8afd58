"""Zarr arrays, alone or as OME-Zarr 0.5 images with coarser levels, labels' colours and pixel sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays.chunked import cut_boxes
from bench.predict.meaning import Meaning, choose_colour

AXIS_TYPES = {"c": "channel", "t": "time"}  # of axes that are none of space


@dataclass(frozen=True)
class Description:
    """An array that is to be: length, type and axes (of c, t, z, y, x), and the side of a chunk in pixels."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: tuple[str, ...]
    side: int

    @property
    def chunks(self) -> tuple[int, ...]:
        """Lengths of a chunk: one plane thick."""
        return (*(1 for _ in self.shape[:-2]), *(min(length, self.side) for length in self.shape[-2:]))


def create_array(folder: Path, array: Description, meaning: Meaning, ome: bool) -> Any:
    """Create an empty Zarr array.

    Args:
        folder: Folder of the store, which is not there yet.
        array: Shape, type, axes and chunks.
        meaning: Names of the classes, kept as an attribute of an array that stands alone.
        ome: Whether it is the full resolution, `0`, of an OME-Zarr image, which `describe` completes.

    Returns:
        The array, filled with zeros.
    """
    import zarr

    if ome:
        return _add_level(zarr.open_group(str(folder), mode="w", zarr_format=3), "0", array)
    attributes: dict[str, Any] = {"class_names": list(meaning.class_names)}
    layout: dict[str, Any] = {"chunks": array.chunks, "dimension_names": array.axes, "fill_value": 0}
    return zarr.create_array(str(folder), shape=array.shape, dtype=array.dtype, attributes=attributes, **layout)


def _add_level(group: Any, name: str, array: Description) -> Any:
    layout = {"chunks": array.chunks, "dimension_names": array.axes, "fill_value": 0}
    return group.create_array(name, shape=array.shape, dtype=array.dtype, **layout)


def list_blocks(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    """Return the blocks of an array of `shape`, one plane thick and `side` pixels wide, plane by plane, row by row."""
    return cut_boxes(shape, (*(1 for _ in shape[:-2]), side, side))


def describe_image(folder: Path, array: Description, name: str, meaning: Meaning) -> None:
    """Add coarser levels, down to one chunk, and the metadata of OME-Zarr 0.5 to the array `0`.

    Args:
        folder: Folder of the store.
        array: Axes and chunks of the array `0` in it, which is filled; without the axis `c` it is an image of labels.
        name: Name of the image.
        meaning: Classes, pixel sizes and units.
    """
    import zarr

    group = zarr.open_group(str(folder), mode="r+")
    axes, levels = array.axes, [array]
    while max(levels[-1].shape[-2:]) > array.side:
        levels.append(_halve(group, len(levels), levels[-1]))
    labels = {} if "c" in axes else {"image-label": _describe_labels(meaning.class_names)}
    image: Any = {
        "name": name,
        "type": "nearest",
        "axes": _describe_axes(axes, meaning),
        "datasets": _describe_levels(len(levels), axes, meaning),
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image], **labels}


def _describe_axes(axes: tuple[str, ...], meaning: Meaning) -> list[dict[str, str]]:
    units = iter(meaning.units or ())
    spatial = {axis: next(units, None) for axis in axes if axis != "c"}
    described = []
    for axis in axes:
        unit = spatial.get(axis)
        kind = {"name": axis, "type": AXIS_TYPES.get(axis, "space")}
        described.append(kind if unit is None else {**kind, "unit": unit})
    return described


def _describe_levels(count: int, axes: tuple[str, ...], meaning: Meaning) -> list[dict[str, Any]]:
    spatial = [axis for axis in axes if axis != "c"]
    size = np.array([*(1.0 for axis in axes if axis == "c"), *(meaning.pixel_size or [1.0] * len(spatial))])
    found = []
    for number in range(count):
        scale = size * np.array([*(1 for _ in axes[:-2]), 2**number, 2**number])
        found.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale.tolist()}]})
    return found


def _describe_labels(class_names: Sequence[str]) -> dict[str, Any]:
    """Colours and names of the classes; the first one, the background, is transparent."""
    numbers = range(len(class_names))
    colours = [{"label-value": n, "rgba": [*choose_colour(n), 255] if n else [0, 0, 0, 0]} for n in numbers]
    properties = [{"label-value": n, "class": name} for n, name in zip(numbers, class_names, strict=True)]
    return {"version": "0.5", "colors": colours, "properties": properties}


def _halve(group: Any, number: int, fine: Description) -> Description:
    """Add level `number`: every second row and column of the one before, as labels must not be averaged."""
    source = group[str(number - 1)]
    coarse = replace(fine, shape=(*fine.shape[:-2], *(-(-length // 2) for length in fine.shape[-2:])))
    target = _add_level(group, str(number), coarse)
    for *lead, y, x in list_blocks(coarse.shape, coarse.side):
        place = tuple(slice(2 * part.start, 2 * part.stop) for part in (y, x))
        target[(*lead, y, x)] = source[(*lead, *place)][..., ::2, ::2]
    return coarse
