"""TIFF files (also OME-TIFF and BigTIFF), of which only the tiles or strips that are asked for are decoded."""

from math import prod
from pathlib import Path
from typing import Any
from weakref import finalize
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from bench.arrays.chunked import Box, ChunkedArray
from bench.config import require
from bench.datasets.stored import MOST_VALUES, Header, Opened, check_size, decoded_whole, reading

TIFFS = (".tif", ".tiff")
SMALL = 1 << 24  # values in a compressed file that is decoded whole: finding single tiles takes longer
MAPPED_VALUES = 1 << 21  # of an uncompressed file that are read at once


def open_tiff(path: Path, max_values: int, channel_axis: int | None = None) -> Opened:
    """The first series of a TIFF at full resolution, decoded when asked.

    What is decoded at once, a tile, a strip or a small file, may hold `max_values` values.
    """
    with reading(path):
        tiff = tifffile.TiffFile(path)
        try:
            series = tiff.series[0]
            check_whole(path, series)
            header = header_of(series)
            require(series.dtype is not None, f"{path} holds no pixels of one number type")
            check_size(path, header.shape, MOST_VALUES)
            sizes, units = ome_pixel_sizes(tiff, series.axes)
            stated = header.channel_axis if channel_axis is None else channel_axis
            band_axis = 1 if stated == 0 and len(header.shape) > 1 else 0
            array = array_of(path, tiff, series, header, max_values, band_axis)
        except BaseException:
            tiff.close()
            raise
    finalize(array, tiff.close)
    return Opened(path, array, header.channel_axis, header.alpha, sizes, units)


def header_of(series: Any) -> Header:
    axes, shape = series.axes, tuple(int(length) for length in series.shape)
    axis = next((axes.index(letter) for letter in "SC" if letter in axes), None)
    alpha = "S" in axes and any(int(kind) in (1, 2) for kind in tuple(series.keyframe.extrasamples))
    return Header(shape, np.dtype(series.dtype), axis, alpha)


def check_whole(path: Path, series: Any) -> None:
    """Refuse a TIFF whose pixels reach beyond the end of the file: decoders may fill the rest with zeros."""
    size = path.stat().st_size
    if series.dataoffset is not None:
        ends = [series.dataoffset + series.nbytes]
    else:
        pages = [page for page in series.pages if page is not None]
        spans = [zip(page.dataoffsets, page.databytecounts, strict=True) for page in pages]
        ends = [offset + count for span in spans for offset, count in span]
    require(
        max(ends, default=0) <= size, f"{path} is truncated: it ends at byte {size} and its pixels at byte {max(ends)}"
    )


def array_of(path: Path, tiff: Any, series: Any, header: Header, max_values: int, band_axis: int) -> ChunkedArray:
    """Stored values by the cheapest way there is: mapped, decoded whole, or tile by tile."""
    shape, dtype = header.shape, header.dtype.newbyteorder("=")
    if series.dataoffset is not None and series.keyframe.is_memmappable:
        return mapped(path, shape, np.dtype(series.dtype).newbyteorder(tiff.byteorder), series.dataoffset, band_axis)
    if prod(shape) <= min(SMALL, max_values):
        return decoded_whole(path, shape, dtype, lambda: np.asarray(series.asarray()).astype(dtype, copy=False))
    import zarr

    array: Any = zarr.open_array(series.aszarr(level=0), mode="r")
    check_size(path, tuple(min(pair) for pair in zip(array.chunks, shape, strict=True)), max_values, "a tile or strip")

    def read(box: Box) -> NDArray[Any]:
        with reading(path):
            return np.asarray(array[box]).astype(dtype, copy=False)

    return ChunkedArray(shape, dtype, tuple(array.chunks), read, band_axis)


def mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, band_axis: int) -> ChunkedArray:
    """Values that lie one after the other in the file. It is mapped anew for each access: pages are not kept."""

    def read(box: Box) -> NDArray[Any]:
        with reading(path):
            values = np.memmap(path, dtype, "r", offset, shape)[box]
            return np.array(values, dtype=dtype.newbyteorder("="))

    return ChunkedArray(shape, dtype.newbyteorder("="), whole_rows(shape), read, band_axis)


def whole_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A block that lies in one piece, of about `MAPPED_VALUES` values."""
    block = list(shape)
    for axis, length in enumerate(shape):
        rest = prod(shape[axis + 1 :])
        block[axis] = max(1, min(length, MAPPED_VALUES // rest))
        if block[axis] > 1 or length == 1:
            break
    return tuple(block)


def ome_pixel_sizes(tiff: Any, axes: str) -> tuple[tuple[float, ...] | None, tuple[str | None, ...] | None]:
    """Pixel size and unit of each axis from the OME metadata; None where the file has none of use."""
    if not tiff.is_ome:
        return None, None
    pixels = next((e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
    sizes = [None if pixels is None else pixels.get(f"PhysicalSize{letter}") for letter in axes]
    if pixels is None or all(size is None for size in sizes):
        return None, None
    found = tuple(1.0 if size is None else float(size) for size in sizes)
    units = [pixels.get(f"PhysicalSize{letter}Unit", "µm") if letter in "XYZ" else None for letter in axes]
    names = {"µm": "micrometer", "nm": "nanometer", "mm": "millimeter"}
    usable = all(np.isfinite(size) and size > 0 for size in found)
    return (found, tuple(names.get(unit or "", unit) for unit in units)) if usable else (None, None)
