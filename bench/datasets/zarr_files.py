"""Zarr stores (version 2 and 3, OME-Zarr) as arrays: the metadata is checked by us before the library sees it.

Only number types and codecs of a list are opened, so nothing in a store is ever executed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box
from bench.config import require
from bench.datasets.axes import abbreviate_axis
from bench.datasets.blocks import Blocks
from bench.datasets.stored import MOST_VALUES, Opened, assemble, explain_failures
from bench.datasets.zarr_chunks import open_reader
from bench.files import read_json

METADATA = ("zarr.json", ".zarray", ".zgroup")
METADATA_BYTES = 1 << 26
LARGEST_SHARD = 1 << 24  # values; a larger one is read by its inner chunks
DTYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
}  # fmt: skip
CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "gzip", "zstd",
    "numcodecs.blosc", "numcodecs.bz2", "numcodecs.crc32c", "numcodecs.delta", "numcodecs.gzip", "numcodecs.lz4",
    "numcodecs.lzma", "numcodecs.shuffle", "numcodecs.zlib", "numcodecs.zstd",
}  # fmt: skip
COMPRESSORS = {"blosc", "bz2", "crc32", "crc32c", "delta", "gzip", "lz4", "lzma", "shuffle", "zlib", "zstd"}


@dataclass(frozen=True)
class ZarrArray:
    """An array of a store, checked: its folder, the letters of its axes where named, and pixel sizes where known."""

    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: tuple[str, ...] | None  # letters, as in `bench.datasets.axes`
    pixel_size: tuple[float, ...] | None
    units: tuple[str | None, ...] | None
    content: dict[str, Any]  # its metadata
    channel_names: tuple[str, ...] = ()


def is_store(path: Path) -> bool:
    """Return whether a path is the folder of a Zarr array or group, by the files of metadata in it."""
    return path.is_dir() and any((path / name).is_file() for name in METADATA)


def find_array(path: Path, max_values: int) -> ZarrArray:
    """Return the array that is meant: the store, the only one of a group, the full resolution of an OME-Zarr image.

    Raises `InputError` naming what is wrong; `max_values` bounds a chunk, which is decoded whole.
    """
    require(path.is_dir(), f"{path} is not a folder: a Zarr store on disk is one")
    found = _read_metadata(path)
    require(found is not None, f"{path} is not a Zarr store: it holds none of {', '.join(METADATA)}")
    assert found is not None
    kind, content, attributes = found
    if kind == "array":
        return _check_array(path, content, attributes, max_values)
    ome = attributes.get("ome", attributes)
    require(isinstance(ome, Mapping), f"{path}: the metadata under ome must be an object")
    require("plate" not in ome, f"{path} is a plate of many images: give the folder of one of them")
    if "multiscales" in ome:
        found_array = _find_full_resolution(path, ome["multiscales"], max_values)
        return replace(found_array, channel_names=_read_channel_names(ome.get("omero")))
    if "bioformats2raw.layout" in ome:
        return find_array(
            _choose_only(path, [child for child in _list_children(path) if child.name.isdigit()]), max_values
        )
    arrays = [child for child in _list_children(path) if (_read_metadata(child) or ("",))[0] == "array"]
    return find_array(_choose_only(path, arrays), max_values)


def open_store(path: Path, max_values: int, channel_axis: int | None = None, plane: int | None = None) -> Opened:
    """Open the image of a store; its values are decoded on access.

    Args:
        path: The folder of the store.
        max_values: Most values that a chunk may have.
        channel_axis: Axis of the channels that the user states, counted without axes of length 1.
        plane: Index of the plane of a stack that is meant; None: all of it.

    Returns:
        The image, its axes in the order z, y, x where they are named, axes of length 1 left out.

    Raises:
        InputError: The store is damaged, or holds what is not one image.
    """
    with explain_failures(path):
        found = find_array(path, max_values)
        reader = open_reader(found.folder, found.content, found.shape)
    names = found.axes or ("",) * len(found.shape)

    def read(box: Box) -> NDArray[Any]:
        with explain_failures(found.folder):
            return reader.read(box)

    blocks = Blocks(found.shape, reader.dtype, found.chunks, read)
    opened = assemble(path, blocks, names, channel_axis, pixel_size=found.pixel_size, units=found.units, plane=plane)
    return replace(opened, channel_names=found.channel_names)


def count_absent(path: Path, max_values: int) -> int:
    """Count the chunks that a store does not hold, as after a copy that was cut short; their values are made up."""
    found = find_array(path, max_values)
    return open_reader(found.folder, found.content, found.shape).count_absent()


# ------------------------------------------------------------------------------------------------------- metadata


def _read_metadata(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """Return (array or group, metadata, attributes) of a folder; None where it is neither."""
    if (path / "zarr.json").is_file():
        content = _read_object(path / "zarr.json")
        kind = content.get("node_type")
        require(kind in ("array", "group"), f"{path / 'zarr.json'} must say array or group under node_type")
        return str(kind), content, _require_object(path / "zarr.json", content.get("attributes", {}))
    attributes = _read_object(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    for name, kind in ((".zarray", "array"), (".zgroup", "group")):
        if (path / name).is_file():
            return kind, _read_object(path / name), attributes
    return None


def _read_object(path: Path) -> dict[str, Any]:
    require(not path.is_symlink(), f"{path} is a link, a device or a pipe: replace it by the file itself")
    require(path.stat().st_size <= METADATA_BYTES, f"{path} is larger than {METADATA_BYTES} bytes: no such metadata")
    return _require_object(path, read_json(path))


def _require_object(path: Path, content: Any) -> dict[str, Any]:
    require(isinstance(content, dict), f"{path} must hold an object, got {type(content).__name__}")
    return dict(content)


def _list_children(path: Path) -> list[Path]:
    return [child for child in sorted(path.iterdir()) if is_store(child)]


def _choose_only(path: Path, children: Sequence[Path]) -> Path:
    require(len(children) > 0, f"{path} is a Zarr group without an array: nothing of it can be read as an image")
    names = ", ".join(str(child) for child in children[:4])
    require(len(children) == 1, f"{path} holds {len(children)} arrays or images: give one of them, as in {names}")
    return _resolve_inside(path, children[0].name)


def _resolve_inside(path: Path, name: Any) -> Path:
    """Return a folder below `path`. Raises `InputError` for a name that leads out of the store."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    proper = len(parts) > 0 and not PurePosixPath(str(name)).is_absolute() and ".." not in parts
    folder = path.joinpath(*parts)
    require(
        proper and folder.resolve().is_relative_to(path.resolve()),
        f"{path} names the array {name!r}, which lies outside the store: correct its metadata",
    )
    return folder


# ----------------------------------------------------------------------------------------------------- OME-Zarr


def _find_full_resolution(path: Path, multiscales: Any, max_values: int) -> ZarrArray:
    """Return the first data set of an image's metadata, where the specification puts the full resolution."""
    image = _take_first(path, multiscales, "multiscales")
    require(
        len(multiscales) == 1, f"{path} holds {len(multiscales)} images (multiscales): save each as a store of its own"
    )
    level = _take_first(path, image.get("datasets"), "multiscales/datasets")
    folder = _resolve_inside(path, level.get("path"))
    found = _read_metadata(folder) if folder.is_dir() else None
    require(
        found is not None and found[0] == "array",
        f"{path} names the array {level.get('path')} as its full resolution, and that is not there: copy it completely",
    )
    assert found is not None
    array = _check_array(folder, found[1], found[2], max_values)
    names, units = _read_axes(path, image.get("axes"), len(array.shape))
    scales = [_read_scale(one, image, len(names)) for one in image["datasets"] if isinstance(one, Mapping)]
    finer = scales[0] is not None and any(scale is not None and prod(scale) < prod(scales[0]) for scale in scales[1:])
    require(not finer, f"{path} names a lower resolution first: the first of multiscales/datasets must be the highest")
    return replace(array, axes=names, pixel_size=scales[0], units=units)


def _read_channel_names(omero: Any) -> tuple[str, ...]:
    """Return the labels of the channels, which are there for viewers: nothing of what is no list of objects."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    proper = isinstance(channels, list) and all(isinstance(one, Mapping) for one in channels)
    return tuple(str(one.get("label") or "") for one in channels) if proper and channels is not None else ()


def _take_first(path: Path, entries: Any, name: str) -> dict[str, Any]:
    proper = isinstance(entries, list) and len(entries) > 0 and isinstance(entries[0], dict)
    require(proper, f"{path}: the metadata under {name} must be a list of objects")
    return dict(entries[0])


def _read_axes(path: Path, axes: Any, count: int) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Return names and units of the axes; versions before 0.3 have no names and the order t, c, z, y, x."""
    entries = list("tczyx")[-count:] if axes is None else axes
    require(isinstance(entries, list), f"{path}: multiscales/axes must be a list")
    named = [entry if isinstance(entry, dict) else {"name": entry} for entry in entries]
    names = tuple(abbreviate_axis(str(entry.get("name", "")), entry.get("type")) for entry in named)
    units = tuple(str(entry["unit"]) if entry.get("unit") else None for entry in named)
    given = ", ".join(str(entry.get("name", "")) for entry in named)
    require(len(names) == count, f"{path} names the axes {given}, and its array has {count}")
    return names, units


def _read_scale(level: Mapping[str, Any], image: Mapping[str, Any], count: int) -> tuple[float, ...] | None:
    """Return the pixel size along each axis, the level's scale times the image's; None where there is none of use."""
    total, known = np.ones(count), False
    for owner in (level, image):
        transformations = owner.get("coordinateTransformations")
        for entry in transformations if isinstance(transformations, list) else []:
            factors = entry.get("scale") if isinstance(entry, dict) and entry.get("type") == "scale" else None
            proper = isinstance(factors, list) and len(factors) == count
            if proper and all(isinstance(factor, int | float) and factor > 0 for factor in factors or []):
                total, known = total * np.array(factors, dtype=np.float64), True
    return tuple(float(factor) for factor in total) if known and np.isfinite(total).all() else None


# -------------------------------------------------------------------------------------------------------- arrays


def _check_array(folder: Path, content: Mapping[str, Any], attributes: Mapping[str, Any], max_values: int) -> ZarrArray:
    """Return what an array's metadata says; what would run code or allocate too much is refused."""
    three = content.get("zarr_format") == 3
    shape = _read_lengths(folder, content.get("shape"), "shape", least=0)
    require(prod(shape) > 0, f"{folder} holds no pixels: its shape is {shape}")
    require(
        prod(shape) <= MOST_VALUES,
        f"{folder} says that it has {prod(shape)} values: more than {MOST_VALUES}: cut it into several images",
    )
    chunks = _read_chunks_3(folder, content) if three else _read_lengths(folder, content.get("chunks"), "chunks")
    require(len(chunks) == len(shape), f"{folder} has {len(shape)} axes, and its chunks {len(chunks)}")
    _check_dtype(folder, content.get("data_type" if three else "dtype"), three)
    for name in _list_codecs_3(folder, content.get("codecs")) if three else _list_codecs_2(content):
        allowed = CODECS if three else COMPRESSORS
        require(name in allowed, f"{folder} uses the codec {name}, which is not read: use {', '.join(sorted(allowed))}")
    inner = _read_inner_chunks(folder, content) if three else None
    if inner is not None and prod(chunks) > LARGEST_SHARD:
        chunks = inner
    require(
        prod(min(pair) for pair in zip(chunks, shape, strict=True)) <= max_values,
        f"{folder} has chunks of {prod(chunks)} values, more than the {max_values} of max_pixels, and a chunk is "
        "decoded whole: write it with smaller chunks, or raise dataset.max_pixels (max_pixels of predict) if one "
        "fits in memory",
    )
    names = _read_dimension_names(content, attributes, len(shape))
    return ZarrArray(folder, shape, chunks, names, None, None, dict(content))


def _read_lengths(folder: Path, values: Any, name: str, least: int = 1) -> tuple[int, ...]:
    proper = isinstance(values, list) and 1 <= len(values) <= 8 and all(type(v) is int and v >= least for v in values)
    require(proper, f"{folder}: {name} must be a list of up to 8 whole numbers from {least}, got {values!r}")
    return tuple(values)


def _read_chunks_3(folder: Path, content: Mapping[str, Any]) -> tuple[int, ...]:
    grid = content.get("chunk_grid")
    regular = isinstance(grid, dict) and grid.get("name") == "regular" and isinstance(grid.get("configuration"), dict)
    require(regular, f"{folder} has no regular chunk_grid in its metadata: write it with chunks of one size")
    assert isinstance(grid, dict)
    return _read_lengths(folder, grid["configuration"].get("chunk_shape"), "chunk_shape")


def _check_dtype(folder: Path, name: Any, three: bool) -> None:
    plain = isinstance(name, str) and "O" not in name and "V" not in name
    try:
        known = plain and (name if three else np.dtype(name).name) in DTYPES
    except TypeError:
        known = False
    require(
        known, f"{folder} holds values of the type {name!r}: an image must hold plain numbers, as uint16 or float32"
    )


def _list_codecs_3(folder: Path, codecs: Any) -> Iterator[str]:
    """Yield the names of an array's codecs, those inside shards included."""
    proper = isinstance(codecs, list) and all(isinstance(codec, dict | str) for codec in codecs)
    require(proper, f"{folder} has no list of codecs in its metadata")
    for codec in codecs:
        named = codec if isinstance(codec, dict) else {"name": codec}
        yield str(named.get("name"))
        if named.get("name") == "sharding_indexed":
            inside = named.get("configuration", {})
            yield from _list_codecs_3(folder, inside.get("codecs"))
            yield from _list_codecs_3(folder, inside.get("index_codecs", []))


def _list_codecs_2(content: Mapping[str, Any]) -> Iterator[str]:
    for codec in (content.get("compressor"), *(content.get("filters") or [])):
        if codec is not None:
            yield str(codec.get("id") if isinstance(codec, dict) else codec)


def _read_inner_chunks(folder: Path, content: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of the chunks inside a shard; None where there are no shards."""
    for codec in content["codecs"]:
        if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
            return _read_lengths(folder, codec.get("configuration", {}).get("chunk_shape"), "chunk_shape of the shards")
    return None


def _read_dimension_names(
    content: Mapping[str, Any], attributes: Mapping[str, Any], count: int
) -> tuple[str, ...] | None:
    """Return the names of the axes as version 3 stores them, or as xarray did before."""
    names: Any = content.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS")
    proper = isinstance(names, list) and len(names) == count and all(isinstance(name, str | None) for name in names)
    return tuple(abbreviate_axis(name or "") for name in names) if proper else None
