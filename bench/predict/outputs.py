"""Masks of large images on disk: Zarr, OME-Zarr or a tiled TIFF, under their names only when they are whole."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.arrays.chunked import cut_boxes
from bench.config import require
from bench.files import fill_atomically, remove

SIDE = 512  # of chunks and tiles, in pixels
SMALLEST_LEVEL = 512  # longest side of the coarsest level of an OME-Zarr image, unless the image is smaller
SUFFIXES = (".ome.zarr", ".zarr", ".ome.tif", ".tif", ".tiff")
COLOURS = ("4477AA", "EE6677", "228833", "CCBB44", "66CCEE", "AA3377", "BBBBBB")


@dataclass(frozen=True)
class Meaning:
    """What a mask's numbers and axes mean: classes, and pixel size and unit of each spatial axis where known."""

    class_names: tuple[str, ...]
    pixel_size: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None


def kind_of(path: Path) -> str:
    """The suffix of `SUFFIXES` that `path` has. Raises `InputError` for another."""
    found = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    require(found is not None and path.name.lower() != found, f"out must end in {', '.join(SUFFIXES)}, got {path}")
    assert found is not None
    return found


def check_writable(path: Path, overwrite: bool) -> None:
    """Refuse a place that cannot take the result, before any work. Raises `InputError`."""
    kind_of(path)
    require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first, or correct out={path}")
    require(os.access(path.parent, os.W_OK), f"{path.parent} cannot be written to: choose another place for out")
    require(overwrite or not path.exists(), f"{path} exists already: choose another out, or add overwrite=true")


def clear_stale(path: Path) -> None:
    """Remove what processes that were killed have left beside `path`."""
    for kind in ("partial", "scratch"):
        for left in path.parent.glob(f".{path.name}.*.{kind}"):
            number = left.name.split(".")[-2].partition("-")[0]
            if number.isdigit() and not psutil.pid_exists(int(number)):
                remove(left)


@contextmanager
def writing(path: Path, shape: tuple[int, ...], meaning: Meaning, scratch: Path) -> Iterator[Any]:
    """A Zarr array of `shape` (*spatial) to be filled; `path` is there after the `with` block, if nothing was raised.

    Its type is the smallest unsigned one for the classes. What was under `path` before is replaced.
    """
    kind = kind_of(path)
    tiff = kind.endswith((".tif", ".tiff"))
    with fill_atomically(path) as temporary:
        place = scratch / "mask.zarr" if tiff else temporary
        try:
            array = created(place, kind, shape, meaning)
            yield array
            if tiff:
                write_tiff(temporary, array, meaning, ome=kind == ".ome.tif")
            elif kind == ".ome.zarr":
                describe(temporary, array, path.name.removesuffix(kind), meaning)
        finally:
            if tiff:
                remove(place)


def created(folder: Path, kind: str, shape: tuple[int, ...], meaning: Meaning) -> Any:
    """An empty array, alone or as the full resolution of an OME-Zarr image."""
    import zarr

    dtype = np.min_scalar_type(max(len(meaning.class_names) - 1, 0))
    group = zarr.open_group(str(folder), mode="w", zarr_format=3) if kind == ".ome.zarr" else None
    chunks, names = chunks_of(shape), axes_of(len(shape))
    if group is not None:
        return group.create_array("0", shape=shape, chunks=chunks, dtype=dtype, dimension_names=names, fill_value=0)
    attributes: dict[str, Any] = {"class_names": list(meaning.class_names)}
    return zarr.create_array(
        str(folder), shape=shape, chunks=chunks, dtype=dtype, dimension_names=names, fill_value=0, attributes=attributes
    )


def chunks_of(shape: Sequence[int]) -> tuple[int, ...]:
    return (*(1 for _ in shape[:-2]), *(min(length, SIDE) for length in shape[-2:]))


def axes_of(count: int) -> tuple[str, ...]:
    return ("z", "y", "x")[-count:]


# ------------------------------------------------------------------------------------------------------- OME-Zarr


def describe(folder: Path, array: Any, name: str, meaning: Meaning) -> None:
    """Add coarser levels to the array `0` in `folder`, and the metadata of OME-Zarr 0.5 for an image of labels."""
    import zarr

    group = zarr.open_group(str(folder), mode="r+")
    levels = [array]
    while max(levels[-1].shape[-2:]) > SMALLEST_LEVEL:
        levels.append(halved(group, str(len(levels)), levels[-1]))
    axes, size = axes_of(array.ndim), np.array(meaning.pixel_size or [1.0] * array.ndim)
    units = meaning.units or (None,) * array.ndim
    datasets = []
    for number in range(len(levels)):
        scale = size * np.array([*(1 for _ in axes[:-2]), 2**number, 2**number])
        datasets.append(
            {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale.tolist()}]}
        )
    described = [
        {"name": axis, "type": "space", **({} if unit is None else {"unit": unit})}
        for axis, unit in zip(axes, units, strict=True)
    ]
    image: Any = {"name": name, "type": "nearest", "axes": described, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image], "image-label": label(meaning.class_names)}


def label(class_names: Sequence[str]) -> dict[str, Any]:
    """Colours and names of the classes; the first one, the background, is transparent."""
    colours, properties = [], []
    for number, name in enumerate(class_names):
        red, green, blue = bytes.fromhex(COLOURS[(number - 1) % len(COLOURS)])
        colours.append({"label-value": number, "rgba": [red, green, blue, 255] if number else [0, 0, 0, 0]})
        properties.append({"label-value": number, "class": name})
    return {"version": "0.5", "colors": colours, "properties": properties}


def halved(group: Any, name: str, fine: Any) -> Any:
    """Every second row and column of `fine`, as labels must not be averaged."""
    shape = (*fine.shape[:-2], *(-(-length // 2) for length in fine.shape[-2:]))
    coarse = group.create_array(
        name, shape=shape, chunks=chunks_of(shape), dtype=fine.dtype, dimension_names=axes_of(len(shape)), fill_value=0
    )
    for *lead, y, x in cut_chunks(shape):
        source = tuple(slice(2 * part.start, 2 * part.stop) for part in (y, x))
        coarse[(*lead, y, x)] = fine[(*lead, *source)][..., ::2, ::2]
    return coarse


def cut_chunks(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The chunks of an array of `shape`, page by page and row by row."""
    return cut_boxes(shape, (*(1 for _ in shape[:-2]), SIDE, SIDE))


# ----------------------------------------------------------------------------------------------------------- TIFF


def write_tiff(path: Path, array: Any, meaning: Meaning, ome: bool) -> None:
    """A compressed TIFF in tiles, read from `array` one after the other."""
    import tifffile

    metadata: dict[str, Any] = {
        "axes": "".join(axes_of(array.ndim)).upper(),
        "class_names": ", ".join(meaning.class_names),
    }
    resolution: dict[str, Any] = {}
    if ome:
        del metadata["class_names"]
        metadata |= physical_sizes(meaning)
    elif meaning.pixel_size is not None and (meaning.units or ("",))[-1] == "micrometer":
        resolution = {
            "resolution": tuple(1e4 / size for size in meaning.pixel_size[:-3:-1]),
            "resolutionunit": "CENTIMETER",
        }
    tifffile.imwrite(
        path,
        tiles(array),
        shape=array.shape,
        dtype=array.dtype,
        tile=(SIDE, SIDE),
        compression="zlib",
        photometric="minisblack",
        bigtiff=prod(array.shape) * array.dtype.itemsize > 1 << 31,
        metadata=metadata,
        ome=ome,
        **resolution,
    )


def physical_sizes(meaning: Meaning) -> dict[str, Any]:
    """OME's names for pixel sizes and units."""
    short = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", None: "pixel"}
    sizes = meaning.pixel_size or ()
    units = meaning.units or (None,) * len(sizes)
    found: dict[str, Any] = {}
    for axis, size, unit in zip(axes_of(len(sizes)) if sizes else (), sizes, units, strict=True):
        found |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": short.get(unit, unit)}
    return found


def tiles(array: Any) -> Iterator[NDArray[Any]]:
    """The tiles of a TIFF in their order, those at the edges filled up with zeros."""
    for block in cut_chunks(array.shape):
        part = np.asarray(array[block])
        tile = np.zeros((SIDE, SIDE), part.dtype)
        tile[: part.shape[-2], : part.shape[-1]] = part.reshape(part.shape[-2:])
        yield tile
