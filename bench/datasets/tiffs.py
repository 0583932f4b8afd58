"""TIFF files (also OME-TIFF and BigTIFF), of which only the tiles or strips that an access touches are decoded."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np
import tifffile
from numpy.typing import NDArray

from bench.arrays.chunked import Box
from bench.config import require
from bench.datasets import imagej, ome
from bench.datasets.blocks import Blocks, apply_palette, invert_values
from bench.datasets.segments import find_file, open_segments
from bench.datasets.stored import MOST_VALUES, Coding, Opened, assemble, check_size, decode_whole, explain_failures

SMALL = 1 << 24  # values in a compressed file that is decoded whole: finding single tiles takes longer
MAPPED_VALUES = 1 << 21  # of an uncompressed file that are read at once
BESIDE = {  # images that scanners of slides put beside the one that is meant
    *("thumbnail", "label", "macro", "map", "overview", "probability", "label image", "macro image"),
    "thumbnail image",
}
LOSSY = {  # compressions that may change numbers, by their number in the file
    6: "JPEG", 7: "JPEG", 99: "JPEG", 33007: "JPEG", 34892: "lossy JPEG", 22610: "JPEG XR", 34934: "JPEG XR",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC",
    34927: "WebP", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL", 48124: "Jetraw", 34713: "Nikon's NEF",
}  # fmt: skip
WHITE_IS_ZERO, PALETTE, MASK, YCBCR = 0, 3, 4, 6
COLOURS = {  # meanings of values that are refused by name
    5: "CMYK colours", 8: "CIELab colours", 9: "ICCLab colours", 10: "ITULab colours", YCBCR: "YCbCr colours",
    32803: "a colour filter mosaic", 32844: "LogL values", 32845: "LogLuv colours", 34892: "linear raw values",
    MASK: "a transparency mask", 51177: "a depth map", 52527: "a semantic mask of a photograph",
}  # fmt: skip


class Metadata(NamedTuple):
    """What a file says of the pixels of an image, apart from their values.

    Attributes:
        sizes: Length of a pixel along each axis; None where it is not known.
        units: Unit of each length.
        channels: Names of the channels, where the file has them.
    """

    sizes: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None
    channels: tuple[str, ...] = ()


def open_tiff(
    path: Path,
    max_values: int,
    channel_axis: int | None = None,
    palette_index: bool = False,
    plane: int | None = None,
) -> Opened:
    """Open the one image of a TIFF at full resolution; its values are decoded on access.

    Args:
        path: The file.
        max_values: Most values that may be decoded at once: of a tile, a strip or a small file.
        channel_axis: Axis of the channels that the user states; None: what the file says.
        palette_index: Whether the numbers themselves are meant, as in a mask: those of a palette, or of white-is-zero.
        plane: Index of the plane of a stack that is meant; None: all of it.

    Returns:
        The image upright, its colours those of the palette, its values counted from black.

    Raises:
        InputError: The file is damaged, holds no image or several, or values of a meaning that is not read.
    """
    with explain_failures(path), collect_warnings() as warned:
        tiff = tifffile.TiffFile(path)
        try:
            others = ome.find_siblings(path, tiff.ome_metadata) if tiff.is_ome else {}
            number, series = choose_series(path, tiff)
            check_files(path, series, others)
            check_whole(path, series)
            require(not any("zeroed" in text for text in warned), f"{path} is not complete: {'; '.join(warned)}")
            blocks = open_blocks(path, tiff, series, max_values)
            check_named(path, tiff, series)
            blocks, names, coding = interpret(path, series, blocks, palette_index)
            sizes, units, channels = read_metadata(tiff, number, series.axes + "S" * (len(names) - len(series.axes)))
            alpha = any(int(kind) in (1, 2) for kind in tuple(series.keyframe.extrasamples))
            files = sorted({find_file(page).resolve() for page in list_pages(series)} - {path.resolve()})
            opened = assemble(path, blocks, names, channel_axis, alpha, coding, files, sizes, units, plane)
        except BaseException:
            tiff.close()
            raise
    finalize(opened.array, tiff.close)
    return replace(opened, channel_names=channels)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect what tifffile logs of a file instead of printing it."""
    texts: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, collector = logging.getLogger("tifffile"), Collector()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield texts
    finally:
        logger.removeHandler(collector)
        logger.propagate = before


# ------------------------------------------------------------------------------------------------ which image it is


def choose_series(path: Path, tiff: Any) -> tuple[int, Any]:
    """Return the one image of the file and its number; pyramid levels, thumbnails and labels of slides do not count."""
    found = [(n, series) for n, series in enumerate(tiff.series) if list_pages(series)]
    own = [pair for pair in found if any(page.parent is tiff for page in list_pages(pair[1]))]
    full = [pair for pair in own if not (is_beside(pair[1]) and len(own) > 1)]
    shapes = ", ".join(str(tuple(series.shape)) for _, series in full[:4])
    require(len(full) > 0, f"{path} holds no image of its own: its pixels lie in other files")
    require(
        len(full) == 1,
        f"{path} holds {len(full)} images, of the shapes {shapes}{', ...' if len(full) > 4 else ''}: save each as a "
        "file of its own, or all as one stack",
    )
    require(full[0][1].dtype is not None, f"{path} holds no pixels of one number type")
    return full[0]


def is_beside(series: Any) -> bool:
    """Return whether a series is a smaller copy of another, or a thumbnail or label of a slide."""
    return bool(series.keyframe.is_reduced) or str(series.name).strip().lower() in BESIDE


def list_members(path: Path) -> list[Path]:
    """Return the other files of the set that an OME-TIFF belongs to; none for any other file."""
    with explain_failures(path), collect_warnings(), tifffile.TiffFile(path, _multifile=False) as tiff:
        return list(ome.find_siblings(path, tiff.ome_metadata)) if tiff.is_ome else []


def list_pages(series: Any) -> list[Any]:
    """Return the pages of a series that a file holds; tifffile has None in the place of any other."""
    return [page for page in series.pages if page is not None]


def check_files(path: Path, series: Any, others: dict[Path, str]) -> None:
    """Refuse pixels of a file that the metadata does not name, or of one that is not the file that is meant.

    Args:
        path: The file that was opened.
        series: Its image.
        others: The other files of its set, and the UUID that each must have.
    """
    known = {other.resolve(): uuid for other, uuid in others.items()}
    for page in list_pages(series):
        file = find_file(page).resolve()
        require(
            file == path.resolve() or file in known or file.parent == path.parent.resolve(),
            f"{path} takes pixels from {file}, which lies outside its folder: put the file beside it",
        )
    for other, uuid in others.items():
        with tifffile.TiffFile(other, _multifile=False) as tiff:
            actual = ome.read_uuid(tiff.ome_metadata) if tiff.is_ome else None
        require(
            actual in (None, uuid),
            f"{path} is part of a set, and {other.name} beside it belongs to another one: its UUID differs",
        )


def check_whole(path: Path, series: Any) -> None:
    """Refuse missing planes, and pixels beyond the end of a file: decoders may fill the rest with zeros."""
    missing = sum(page is None for page in series.pages)
    require(missing == 0, f"{path} lacks {missing} of its {len(series.pages)} planes: copy it completely")
    if series.dataoffset is not None:
        check_end(path, [series.dataoffset + series.nbytes])
        return
    ends: dict[Path, list[int]] = {}
    for page in list_pages(series):
        spans = zip(page.dataoffsets, page.databytecounts, strict=True)
        ends.setdefault(find_file(page), []).extend(offset + count for offset, count in spans)
    for file, found in ends.items():
        check_end(file, found)


def check_end(path: Path, ends: Sequence[int]) -> None:
    """Refuse a file that is shorter than some of the `ends` of its pixels, in bytes. Raises `InputError`."""
    size, end = path.stat().st_size, max(ends, default=0)
    require(end <= size, f"{path} is truncated: it ends at byte {size} and its pixels at byte {end}")


# ------------------------------------------------------------------------------------------- what its values mean


def interpret(path: Path, series: Any, blocks: Blocks, palette_index: bool) -> tuple[Blocks, list[str], Coding]:
    """Apply what the tags of an image say of its values.

    Args:
        path: The file, for messages.
        series: The image in it.
        blocks: Stored values of the image.
        palette_index: As in `open_tiff`.

    Returns:
        The values that are meant; a letter per axis of them, as in `bench.datasets.axes`; how the file stores numbers.

    Raises:
        InputError: The values have a meaning that is not read.
    """
    page, names = series.keyframe, [letter if letter not in "qi" else "" for letter in series.axes.lower()]
    stated = int(page.photometric) if 262 in page.tags else 1
    check_colours(path, page, stated, palette_index)
    colours = read_palette_colours(page) if stated == PALETTE else None
    if colours is not None and not palette_index:
        require("s" not in names, f"{path} has a palette and several samples per pixel: save it as RGB")
        blocks, names, colours = apply_palette(blocks, colours), [*names, "s"], None
    if stated == WHITE_IS_ZERO and not palette_index:
        blocks = count_from_black(path, page, blocks)
    palette = () if colours is None else tuple(tuple(int(band) for band in entry) for entry in colours)
    return blocks, names, Coding(find_lossy(series), palette, stated == WHITE_IS_ZERO, read_orientation(page))


def find_lossy(series: Any) -> str | None:
    """Return the first compression of an image that may change numbers; None where there is none."""
    numbers = (int(page.compression) for page in list_keyframes(series))
    return next((LOSSY[number] for number in numbers if number in LOSSY), None)


def read_orientation(page: Any) -> int:
    """Return the orientation that a page states, 2 to 8; 1, upright, where it states none of them."""
    stated = int(page.tags[274].value) if 274 in page.tags else 1
    return stated if stated in range(2, 9) else 1


def read_metadata(tiff: Any, number: int, letters: str) -> Metadata:
    """Return what OME-XML or ImageJ's description says of an image.

    Args:
        tiff: The file, opened by tifffile.
        number: Index of the image among its series.
        letters: An upper-case letter per axis.
    """
    pixels = ome.find_pixels(tiff.ome_metadata, number) if tiff.is_ome else None
    if pixels is not None:
        return Metadata(*ome.read_pixel_sizes(pixels, letters), ome.read_channel_names(pixels))
    if tiff.is_imagej:
        tags = tiff.series[number].keyframe.tags
        return Metadata(*imagej.read_imagej_sizes(tiff.imagej_metadata or {}, tags, letters))
    return Metadata()


def check_named(path: Path, tiff: Any, series: Any) -> None:
    """Refuse planes of an OME-TIFF that only another file says the meaning of.

    Args:
        path: The file, for the message.
        tiff: The file, opened by tifffile.
        series: The image in it.

    Raises:
        InputError: There are several, and this file does not say what they are.
    """
    planes = len(list_pages(series))
    require(
        not tiff.is_ome or series.kind == "ome" or planes == 1,
        f"{path} holds {planes} planes, and another file says what they are, which is not read: save it as one "
        "OME-TIFF",
    )


def list_keyframes(series: Any) -> list[Any]:
    """Return the pages of a series that others take their tags from."""
    return list({id(page.keyframe): page.keyframe for page in list_pages(series)}.values())


def check_colours(path: Path, page: Any, stated: int, palette_index: bool) -> None:
    """Refuse values of another meaning than grey, RGB or a palette; YCbCr is RGB after decoding JPEG.

    Args:
        path: The file, for the message.
        page: The page with the tags.
        stated: PhotometricInterpretation.
        palette_index: Whether the image is a mask.
    """
    decoded = stated == YCBCR and int(page.compression) in LOSSY
    mask = stated == MASK and palette_index
    require(
        stated not in COLOURS or decoded or mask,
        f"{path} holds {COLOURS.get(stated, 'other values')}: save it as grey or RGB",
    )


def read_palette_colours(page: Any) -> NDArray[Any]:
    """Return the palette of a page, (numbers, 3): uint8 where 8 bits say all of it, else uint16."""
    colours = np.asarray(page.colormap).T
    high, low = colours >> 8, colours & 255
    eight_bits = bool(np.all(high == low)) or not bool(np.any(low))
    return high.astype(np.uint8) if colours.dtype == np.uint16 and eight_bits else colours


def count_from_black(path: Path, page: Any, blocks: Blocks) -> Blocks:
    """Return values counted from black of a page that counts from white.

    Args:
        path: The file, for the message.
        page: The page with the tags.
        blocks: Stored values.

    Raises:
        InputError: The largest value is not defined, as for floating point.
    """
    require(
        blocks.dtype.kind in "bu" and page.samplesperpixel == 1,
        f"{path} is white-is-zero and holds {blocks.dtype} values of {page.samplesperpixel} channels, whose white is "
        "not defined: save it as black-is-zero",
    )
    return invert_values(blocks, (1 << int(page.bitspersample)) - 1)


# ---------------------------------------------------------------------------------------------- how they are decoded


def open_blocks(path: Path, tiff: Any, series: Any, max_values: int) -> Blocks:
    """Return stored values by the cheapest way there is: mapped, decoded whole, or tile by tile.

    Args:
        path: The file, for messages.
        tiff: The file, opened by tifffile.
        series: The image in it.
        max_values: Most values that may be decoded at once.
    """
    shape = tuple(int(length) for length in series.shape)
    check_size(path, shape, MOST_VALUES)
    dtype = np.dtype(series.dtype).newbyteorder("=")
    if series.dataoffset is not None and series.keyframe.is_memmappable:
        return map_values(path, shape, np.dtype(series.dtype).newbyteorder(tiff.byteorder), series.dataoffset)
    segments = open_segments(series, dtype)
    if segments is not None:
        check_size(path, segments.sides, max_values, "a tile or strip")
    if segments is None or prod(shape) <= min(SMALL, max_values):
        check_size(path, shape, max_values)

        def decode() -> NDArray[Any]:
            with collect_warnings():
                return np.asarray(series.asarray()).astype(dtype, copy=False)

        return decode_whole(path, shape, dtype, decode)

    def read(box: Box) -> NDArray[Any]:
        with explain_failures(path):
            return segments.read(box)

    return Blocks(shape, dtype, segments.chunks, read)


def map_values(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> Blocks:
    """Return values that lie one after the other in the file, which is mapped anew for each access: no pages are kept.

    Args:
        path: The file.
        shape: Shape of the values.
        dtype: Their number type, with its byte order.
        offset: First byte of the values.
    """

    def read(box: Box) -> NDArray[Any]:
        with explain_failures(path):
            values = np.memmap(path, dtype, "r", offset, shape)[box]
            return np.array(values, dtype=dtype.newbyteorder("="))

    return Blocks(shape, dtype.newbyteorder("="), choose_block(shape), read)


def choose_block(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a block that lies in one piece, of about `MAPPED_VALUES` values."""
    block = list(shape)
    for axis, length in enumerate(shape):
        rest = prod(shape[axis + 1 :])
        block[axis] = max(1, min(length, MAPPED_VALUES // rest))
        if block[axis] > 1 or length == 1:
            break
    return tuple(block)
