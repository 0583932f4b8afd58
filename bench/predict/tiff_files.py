"""Predicted arrays as tiled TIFF and OME-TIFF; a mask in plain TIFF has a colour table, which viewers show it in."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.inspection import METRES
from bench.predict.meaning import Meaning, choose_colour, name_axes
from bench.predict.ome_zarr import Description, list_blocks

UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", None: "pixel"}  # as OME-XML writes them


def write_tiff(path: Path, array: Any, described: Description, meaning: Meaning, ome: bool) -> None:
    """Write a compressed TIFF in tiles, read from `array` one after the other.

    Args:
        path: File to write.
        array: Numbers, (*spatial) or (K, *spatial).
        described: Its axes, and the side of a tile in pixels, a multiple of 16.
        meaning: Classes, pixel sizes and units.
        ome: Whether to write OME-XML; else names of classes, and the pixel sizes along all axes, stand in the
            description as JSON.
    """
    import tifffile

    names: dict[str, Any] = {"class_names": ", ".join(meaning.class_names)}
    if meaning.pixel_size is not None:
        names |= {"pixel_size": meaning.pixel_size, "pixel_size_units": meaning.units}
    coloured = array.dtype == np.uint8 and not ome  # OME has no colour tables
    tifffile.imwrite(
        path,
        _cut_tiles(array, described.side),
        shape=array.shape,
        dtype=array.dtype,
        tile=(described.side, described.side),
        compression="zlib",
        photometric="palette" if coloured else "minisblack",
        colormap=_make_table() if coloured else None,
        bigtiff=prod(array.shape) * array.dtype.itemsize > 1 << 31,
        metadata={"axes": "".join(described.axes).upper(), **(_size_ome(meaning) if ome else names)},
        ome=ome,
        **({} if ome else _resolution(meaning)),
    )


def _make_table() -> NDArray[np.uint16]:
    """Return the colour table (3, 256) of 16 bits per part."""
    table: NDArray[np.uint16] = np.array([choose_colour(number) for number in range(256)], np.uint16).T * 257
    return table


def _resolution(meaning: Meaning) -> dict[str, Any]:
    """Return pixels per centimetre across and down, where pixel sizes are known in a unit of length."""
    sizes, units = meaning.pixel_size or (), meaning.units or ()
    metres = [size * METRES.get(unit or "", np.nan) for size, unit in zip(sizes, units, strict=False)][:-3:-1]
    if len(metres) < 2 or not np.isfinite(metres).all():
        return {}
    return {"resolution": tuple(0.01 / length for length in metres), "resolutionunit": "CENTIMETER"}


def _size_ome(meaning: Meaning) -> dict[str, Any]:
    """Return OME's names for pixel sizes and units."""
    sizes = meaning.pixel_size or ()
    units = meaning.units or (None,) * len(sizes)
    found: dict[str, Any] = {}
    for axis, size, unit in zip(name_axes(len(sizes), meaning) if sizes else (), sizes, units, strict=True):
        if axis != "t":
            found |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": UNITS.get(unit, unit)}
    return found


def _cut_tiles(array: Any, side: int) -> Iterator[NDArray[Any]]:
    """Yield the tiles of a TIFF in their order, those at the edges filled up with zeros."""
    for block in list_blocks(array.shape, side):
        part = np.asarray(array[block])
        tile = np.zeros((side, side), part.dtype)
        tile[: part.shape[-2], : part.shape[-1]] = part.reshape(part.shape[-2:])
        yield tile
