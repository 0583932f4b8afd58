"""PNG, JPEG, BMP and GIF files: what the header says, before anything is allocated, then the pixels, decoded whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.arrays.rows import cut_bands
from bench.config import InputError, require
from bench.datasets.stored import Coding, Colours, Header, Opened, assemble, check_size, decode_whole, explain_failures

FORMATS = ("BMP", "GIF", "JPEG", "PNG")  # that Pillow may find in a file, whatever its name
BAND_PIXELS = 1 << 20  # that are copied at once
BANDS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}
ORIENTATION = 274  # the tag of EXIF
BMP_DEPTHS = {"1": 1, "L": 8}  # bits of a pixel of a BMP that Pillow decodes rightly as such a mode
SIGNATURE = b"\x89PNG\r\n\x1a\n"
OTHERS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%PDF": "PDF", b"\x89HDF": "HDF5"}  # first bytes
DEEP_BANDS = {2: 3, 4: 2, 6: 4}  # of a PNG of 16 bits, by kind of colour


@dataclass(frozen=True)
class Png:
    """What the chunks of a PNG say: bits per sample, kind of colours, frames of an animation, whether it has EXIF."""

    depth: int = 8
    colour: int = 0  # 0 grey, 2 RGB, 3 palette, 4 grey with transparency, 6 RGB with transparency
    frames: int = 1
    exif: bool = False


def open_picture_file(path: Path, max_values: int, palette_index: bool = False) -> Opened:
    """Open a picture, upright.

    Args:
        path: The file.
        max_values: Most values that it may hold.
        palette_index: Whether the stored numbers are meant, as in `read_picture`.

    Returns:
        The image.

    Raises:
        InputError: The file is damaged, too large or an animation, or holds colours that are not read.
    """
    with explain_failures(path):
        header, coding = read_header(path, palette_index)
        check_size(path, header.shape, max_values)
    blocks = decode_whole(path, header.shape, header.dtype, lambda: read_picture(path, palette_index))
    return assemble(path, blocks, ("y", "x", "s")[: len(header.shape)], alpha=header.alpha, coding=coding)


def open_picture(path: Path) -> Image.Image:
    """Open a file and decode no more than its header; its content says which format it has, not its name."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header
    try:
        picture = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        kind = name_other_format(path)
        if kind is None:
            raise
        raise InputError(f"{path} is a {kind} file, whatever its name says: save it as PNG or TIFF") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if picture.mode not in BANDS:
        picture.close()
        raise InputError(f"{path} has the colour mode {picture.mode}: save it as grey, RGB or RGBA, or as a TIFF")
    if picture.format == "BMP" and (bits := read_bmp_depth(path)) != BMP_DEPTHS.get(picture.mode, bits):
        picture.close()
        raise InputError(
            f"{path} is a BMP of {bits} bits for each pixel with a palette of greys, which is not read: save it as PNG"
        )
    return picture


def read_bmp_depth(path: Path) -> int:
    """Return the bits of a pixel that the header of a BMP states; Pillow decodes by the colours of its palette."""
    with path.open("rb") as file:
        start = file.read(30)
    old = start[14:18] == b"\x0c\0\0\0"  # the header of OS/2, with shorter sizes
    return int.from_bytes(start[24:26] if old else start[28:30], "little")


def name_other_format(path: Path) -> str | None:
    """Return the format of a file that is no picture that is read here, by its first bytes; None for an unknown one."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        return "HEIC or AVIF"
    return next((kind for signature, kind in OTHERS.items() if start.startswith(signature)), None)


def read_png(path: Path) -> Png | None:
    """Read what the chunks around the pixels say, which are skipped; None for a file of another format."""
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return None
        start, frames, exif = b"", 1, False
        for name, data in read_chunks(file):
            if name == b"IHDR":
                start = data
            elif name == b"acTL":
                frames = int.from_bytes(data[:4], "big")
            exif |= name == b"eXIf" or data.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
    return Png(start[8], start[9], frames, exif) if len(start) == 13 else Png()


def read_chunks(file: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and the first bytes of the chunks of a PNG, whose signature has been read."""
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        data = file.read(min(length, 64))
        file.seek(length - len(data) + 4, 1)
        yield head[4:], data


def is_deep_colour(png: Png) -> bool:
    """Return whether a PNG is one of 16-bit colours, which Pillow would cut down to 8 bits."""
    return png.depth == 16 and png.colour in DEEP_BANDS


def read_header(path: Path, palette_index: bool) -> tuple[Header, Coding]:
    """Return what the array of `read_picture` will be, and how the file stores its numbers."""
    png = read_png(path)
    with open_picture(path) as picture:
        frames = count_frames(picture) if png is None else png.frames
        require(frames == 1, f"{path} is an animation of {frames} frames: save each as an image of its own")
        mode, shape = picture.mode, (picture.height, picture.width)
        dtype = np.asarray(Image.new(mode, (1, 1))).dtype
        coding = read_coding(picture, png, palette_index)
        if mode == "P" and not palette_index:
            mode = find_palette_mode(picture)
    bands, alpha = BANDS[mode], mode in ("LA", "RGBA")
    if png is not None and is_deep_colour(png):
        dtype, bands, alpha = np.dtype(np.uint16), DEEP_BANDS[png.colour], png.colour != 2
    if bands == 1:
        return Header(shape, dtype, None, False), coding
    return Header((*shape, bands), dtype, 2, alpha), coding


def count_frames(picture: Image.Image) -> int:
    """Count the pictures of the size of the first: cameras add smaller previews, which do not count."""
    size, count = picture.size, 1
    for frame in range(1, getattr(picture, "n_frames", 1)):
        picture.seek(frame)
        count += picture.size == size
    picture.seek(0)
    return count


def read_coding(picture: Image.Image, png: Png | None, palette_index: bool) -> Coding:
    """Return how a picture stores its numbers. EXIF of a PNG may lie behind its pixels, which are then decoded.

    Args:
        picture: The opened file.
        png: What its chunks say, where it is a PNG.
        palette_index: Whether the numbers of a palette are meant.
    """
    orientation = picture.getexif().get(ORIENTATION, 1) if png is None or png.exif else 1
    lossy = "JPEG" if picture.format in ("JPEG", "MPO") else None
    palette = read_palette(picture) if picture.mode == "P" and palette_index else ()
    return Coding(lossy, palette, False, orientation if orientation in range(2, 9) else 1)


def read_palette(picture: Image.Image) -> Colours:
    """Return red, green and blue, in 0..255, of each number of a palette; empty for a picture without one."""
    flat = picture.getpalette("RGB") or []
    return tuple(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))


def find_palette_mode(picture: Image.Image) -> str:
    """Return the mode that shows the colours of a palette: grey where it holds nothing else, as in a GIF of greys."""
    if "transparency" in picture.info:
        return "RGBA"
    return "L" if all(red == green == blue for red, green, blue in read_palette(picture)) else "RGB"


def _read_bands(picture: Image.Image) -> NDArray[Any]:
    """Copy the pixels of a picture band by band, since Pillow hands over an array by way of two more copies."""
    width, height = picture.size
    first, *others = cut_bands((height, width), BAND_PIXELS)
    if not others:
        return np.asarray(picture)
    picture.load()
    pixel = np.asarray(picture.crop((0, 0, 1, 1)))
    values = np.empty((height, width, *pixel.shape[2:]), pixel.dtype)
    for top, bottom in (first, *others):
        values[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return values


def read_picture(path: Path, palette_index: bool = False) -> NDArray[Any]:
    """Return all pixels as stored, (h, w) or (h, w, bands).

    Args:
        path: The file.
        palette_index: Whether the stored numbers are meant: those of a palette, and those of 2 or 4 bits unscaled.

    Returns:
        Colours, or numbers.
    """
    png = read_png(path)
    if png is not None and is_deep_colour(png):
        import imagecodecs

        values = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        return values[..., : DEEP_BANDS[png.colour]]  # one more where a colour is to be transparent
    with open_picture(path) as picture:
        if picture.mode == "P" and not palette_index:
            return np.asarray(picture.convert(find_palette_mode(picture)))
        values = _read_bands(picture)
    if values.dtype == bool:  # of one bit, whose true bytes Pillow may leave as 255
        return values.view(np.uint8) > 0
    if palette_index and png is not None and png.colour == 0 and png.depth in (2, 4):
        return values // (255 // ((1 << png.depth) - 1))
    return values
