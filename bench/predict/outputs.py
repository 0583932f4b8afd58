"""Where predicted masks go, and how: under their names only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import require
from bench.files import fill_atomically, remove
from bench.predict import ome_zarr, png_files, tiff_files
from bench.predict.meaning import SIDE, Meaning, name_axes
from bench.predict.ome_zarr import Description

SUFFIXES = (".ome.zarr", ".zarr", ".ome.tif", ".tif", ".tiff", ".png")


def find_suffix(path: Path) -> str:
    """Return the suffix of `SUFFIXES` that `path` has. Raises `InputError` for another."""
    found = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    require(found is not None and path.name.lower() != found, f"out must end in {', '.join(SUFFIXES)}, got {path}")
    assert found is not None
    return found


def name_overlay(mask: Path) -> Path:
    """Return where the overlay of a mask goes: `a.tif` has `a.overlay.png`."""
    return mask.with_name(f"{mask.name[: -len(find_suffix(mask))]}.overlay.png")


def name_probabilities(mask: Path) -> Path:
    """Return where the probabilities beside a mask go: `a.tif` and `a.png` have `a.probabilities.tif`."""
    suffix = find_suffix(mask)
    return mask.with_name(f"{mask.name[: -len(suffix)]}.probabilities{'.tif' if suffix == '.png' else suffix}")


def check_name(path: Path, overwrite: bool) -> None:
    """Refuse a name that is none for a mask, or that is taken. Raises `InputError`."""
    find_suffix(path)
    require(overwrite or not path.exists(), f"{path} exists already: choose another out, or add overwrite=true")


def check_parent(path: Path) -> None:
    """Refuse a mask in a folder that is not there or cannot be written to. Raises `InputError`."""
    require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first, or correct out={path}")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there and cannot be made, or cannot be written to. Raises `InputError`."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    able = there.is_dir() and os.access(there, os.W_OK)
    require(able, f"{folder} cannot be written to: choose another place for out")


@contextmanager
def write_mask(path: Path, shape: tuple[int, ...], meaning: Meaning, scratch: Path, side: int = SIDE) -> Iterator[Any]:
    """Yield a Zarr array for the classes of an image; `path` is there after the block, if nothing was raised.

    Args:
        path: File or store to be; what was under this name before is replaced.
        shape: Of the mask, (*spatial).
        meaning: Classes, pixel sizes and units; the numbers have the smallest unsigned type for the classes.
        scratch: Folder for what is as large as the mask.
        side: Of chunks and tiles, in pixels, a multiple of 16.

    Yields:
        The array (*spatial) to be filled.
    """
    dtype = np.min_scalar_type(max(len(meaning.class_names) - 1, 0))
    with _fill(path, Description(shape, dtype, name_axes(len(shape), meaning), side), meaning, scratch) as array:
        yield array


@contextmanager
def write_probabilities(
    path: Path, shape: tuple[int, ...], meaning: Meaning, scratch: Path, side: int = SIDE
) -> Iterator[Any]:
    """Yield a Zarr array for the class probabilities of an image; else as `write_mask`.

    Args:
        path: File or store to be; what was under this name before is replaced.
        shape: Of the mask, (*spatial).
        meaning: Classes, pixel sizes and units.
        scratch: Folder for what is as large as the probabilities.
        side: Of chunks and tiles, in pixels, a multiple of 16.

    Yields:
        The array (K, *spatial) to be filled: float16 in Zarr; float32 in TIFF, where few programs read float16.
    """
    suffix = find_suffix(path)
    dtype = np.dtype(np.float16 if suffix.endswith(".zarr") else np.float32)
    if suffix == ".ome.zarr":  # in which points in time must come before the classes
        meaning = replace(meaning, stack="z")
    whole, axes = (len(meaning.class_names), *shape), ("c", *name_axes(len(shape), meaning))
    with _fill(path, Description(whole, dtype, axes, side), meaning, scratch) as array:
        yield array


@contextmanager
def _fill(path: Path, described: Description, meaning: Meaning, scratch: Path) -> Iterator[Any]:
    suffix = find_suffix(path)
    store = suffix.endswith(".zarr")
    with fill_atomically(path) as temporary:
        place = temporary if store else scratch / f"{''.join(described.axes)}.zarr"
        try:
            array = ome_zarr.create_array(place, described, meaning, ome=suffix == ".ome.zarr")
            yield array
            if suffix == ".ome.zarr":
                ome_zarr.describe_image(temporary, described, path.name.removesuffix(suffix), meaning)
            elif suffix == ".png":
                png_files.write_png(temporary, array)
            elif not store:
                tiff_files.write_tiff(temporary, array, described, meaning, ome=suffix == ".ome.tif")
        finally:
            if not store:
                remove(place)
