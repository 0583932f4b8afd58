"""Tags that turn or recolour an image are honoured or refused by name, in images and masks alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.config import InputError
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image

UPRIGHT = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10)
# what a camera stores so that an image with the orientation tag is upright, written out by the definition of EXIF
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.swapaxes(image, 0, 1)[::-1],
    7: lambda image: np.swapaxes(image, 0, 1)[::-1, ::-1],
    8: lambda image: np.swapaxes(image, 0, 1)[:, ::-1],
}


def save_turned(path: Path, image: NDArray[Any], orientation: int, **options: Any) -> None:
    stored = np.ascontiguousarray(STORED[orientation](image))
    if path.suffix == ".tif":
        photometric = "rgb" if image.ndim == 3 else "minisblack"
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, stored, photometric=photometric, extratags=tags, metadata=None, **options)
        return
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(path, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_an_image_and_a_mask_are_read_upright(tmp_path: Path, orientation: int, suffix: str, bands: int) -> None:
    upright = UPRIGHT if bands == 1 else np.repeat(UPRIGHT[..., None], 3, axis=2)
    path = tmp_path / f"a{suffix}"
    save_turned(path, upright, orientation)
    image = open_image(path).array
    assert image.shape == upright.shape
    for key in (np.s_[...], np.s_[1:4, 2:9], np.s_[5], np.s_[:, 7]):
        np.testing.assert_array_equal(image[key], upright[key])
    np.testing.assert_array_equal(open_mask(path)[2:5, 1:], UPRIGHT[2:5, 1:])


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(np.uint8)
    save_turned(tmp_path / "a.jpg", noise, orientation, quality=95)
    with Image.open(tmp_path / "a.jpg") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(open_image(tmp_path / "a.jpg").array[...], expected)


@pytest.mark.parametrize("orientation", STORED)
def test_a_large_tiff_is_turned_tile_by_tile(tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.datasets.tiffs.SMALL", 0)
    monkeypatch.setattr("bench.arrays.chunked.UNIT_VALUES", 1)
    upright = np.random.default_rng(0).integers(0, 60_000, (50, 70)).astype(np.uint16)
    save_turned(tmp_path / "a.tif", upright, orientation, tile=(16, 32), compression="zlib")
    array = open_image(tmp_path / "a.tif").array
    for key in (np.s_[3:20, 40:], np.s_[...], np.s_[49], np.s_[::3, 5]):
        np.testing.assert_array_equal(array[key], upright[key])


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path: Path, orientation: int) -> None:
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", UPRIGHT, extratags=tags, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").array[...], UPRIGHT)


# -------------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("scale", [257, 256, 100])
def test_a_palette_tiff_shows_its_colours_and_as_a_mask_its_numbers(
    tmp_path: Path, scale: int, compression: str | None
) -> None:
    numbers = (UPRIGHT % 7).astype(np.uint8)
    colours = np.random.default_rng(0).integers(0, 255, (3, 256)).astype(np.uint16)
    colormap = (colours * scale).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", numbers, photometric="palette", colormap=colormap, compression=compression, metadata=None
    )
    opened = open_image(tmp_path / "a.tif")
    expected = (colours if scale != 100 else colormap).T[numbers]
    assert opened.channel_axis == 2
    assert opened.array.dtype.name == ("uint16" if scale == 100 else "uint8")
    np.testing.assert_array_equal(opened.array[...], expected)
    np.testing.assert_array_equal(opened.array[2, 3:5, 1], expected[2, 3:5, 1])
    np.testing.assert_array_equal(open_mask(tmp_path / "a.tif")[...], numbers)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_is_turned_to_black_is_zero(tmp_path: Path, dtype: type, compression: str | None) -> None:
    values = (UPRIGHT * 3 % 2).astype(bool) if dtype is bool else UPRIGHT.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", compression=compression)
    largest = 1 if dtype is bool else int(np.iinfo(dtype).max)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").array[1:, 2:], (largest - values.astype(int))[1:, 2:])
    np.testing.assert_array_equal(open_mask(tmp_path / "a.tif")[...], values)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_a_white_that_is_not_defined_is_refused(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", UPRIGHT.astype(dtype), photometric="miniswhite")
    with pytest.raises(InputError, match=r"a\.tif is white-is-zero and holds (float32|int16) values"):
        open_image(tmp_path / "a.tif")


def test_a_tiff_that_does_not_say_its_colours_counts_from_black(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", UPRIGHT, photometric="miniswhite", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[place : place + 2] = (261).to_bytes(2, "little")  # no tag that is known
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").array[...], UPRIGHT)


@pytest.mark.parametrize(
    ("photometric", "bands", "sentence"),
    [
        ("separated", 4, "CMYK"),
        ("cielab", 3, "CIELab"),
        ("icclab", 3, "ICCLab"),
        ("cfa", 1, "a colour filter mosaic"),
        ("ycbcr", 3, "YCbCr"),
    ],
)
def test_colours_that_are_not_read_are_refused_by_name(
    tmp_path: Path, photometric: str, bands: int, sentence: str
) -> None:
    values = UPRIGHT if bands == 1 else np.repeat(UPRIGHT[..., None], bands, axis=2)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack" if bands == 1 else "rgb", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[place + 8 : place + 10] = int(tifffile.PHOTOMETRIC[photometric.upper()]).to_bytes(2, "little")
    (tmp_path / "a.tif").write_bytes(data)
    for read in (open_image, open_mask):
        with pytest.raises(InputError, match=rf"a\.tif holds {sentence}"):
            read(tmp_path / "a.tif")


def test_a_cmyk_jpeg_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg has the colour mode CMYK"):
        open_image(tmp_path / "a.jpg")


def test_a_jpeg_in_a_tiff_is_rgb_though_it_is_stored_as_ycbcr(tmp_path: Path) -> None:
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[..., 0] = 200
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", compression="jpeg")
    assert np.abs(open_image(tmp_path / "a.tif").array[...].astype(int) - colours).max() < 8


# ------------------------------------------------------------------------------------------- bit depths and kinds


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_numbers_of_few_bits_are_those_that_were_stored(tmp_path: Path, bits: int) -> None:
    numbers = (UPRIGHT % (1 << bits)).astype(np.uint8)
    (tmp_path / "grey.png").write_bytes(png_of_bits(numbers, bits))
    np.testing.assert_array_equal(open_mask(tmp_path / "grey.png")[...], numbers)
    picture = Image.fromarray(numbers, "P")
    picture.putpalette([(37 * n) % 256 for n in range(3 << bits)])
    picture.save(tmp_path / "palette.png", bits=bits)
    np.testing.assert_array_equal(open_mask(tmp_path / "palette.png")[...], numbers)
    if bits > 1:
        tifffile.imwrite(tmp_path / "a.tif", numbers, bitspersample=bits, photometric="minisblack")
        np.testing.assert_array_equal(open_mask(tmp_path / "a.tif")[...], numbers)


def png_of_bits(numbers: NDArray[np.uint8], bits: int) -> bytes:
    """A grey PNG written byte by byte, for no library writes 2 and 4 bits."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    unpacked = np.unpackbits(numbers[..., None], axis=-1)[..., -bits:].reshape(len(numbers), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)
    header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("dtype", ["int8", "int32", "float16", "float64", ">u2", ">f4", "uint64"])
def test_number_types_survive(tmp_path: Path, dtype: str) -> None:
    values = UPRIGHT.astype(np.dtype(dtype))
    byteorder = ">" if np.dtype(dtype).byteorder == ">" else "<"
    tifffile.imwrite(tmp_path / "a.tif", values.astype(values.dtype.newbyteorder("=")), byteorder=byteorder)
    array = open_image(tmp_path / "a.tif").array
    assert array.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(array[...], values)


def test_colours_of_16_bits_are_not_cut_down(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65535, (6, 10, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").array[...], values)


def test_a_palette_image_with_a_transparent_colour_has_an_alpha_channel(tmp_path: Path) -> None:
    picture = Image.fromarray((UPRIGHT % 2).astype(np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png", transparency=b"\xff\xff")
    opened = open_image(tmp_path / "a.png")
    assert opened.alpha
    np.testing.assert_array_equal(opened.array[0, 0], [10, 20, 30, 255])
    np.testing.assert_array_equal(open_mask(tmp_path / "a.png")[...], UPRIGHT % 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_bmp_is_read(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(UPRIGHT).convert(mode)
    picture.save(tmp_path / "a.bmp")
    expected = np.asarray(picture.convert("RGB") if mode == "P" else picture)
    found = open_image(tmp_path / "a.bmp").array[...]
    np.testing.assert_array_equal(found if found.ndim == expected.ndim else found[..., None].repeat(3, -1), expected)


# --------------------------------------------------------------------------------------------------- lossy masks


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "jpegxl", "webp", "lerc", "jpegxr"])
def test_a_mask_in_a_lossy_container_is_refused_by_name(tmp_path: Path, compression: str) -> None:
    values = np.repeat((UPRIGHT % 2)[..., None], 3, axis=2).repeat(4, 0).repeat(4, 1)
    values = values if compression in ("webp", "jpegxr") else values[..., 0]
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, compression=compression)
    name = {"jpeg2000": "JPEG 2000", "jpegxl": "JPEG XL", "jpegxr": "JPEG XR", "webp": "WebP"}
    with pytest.raises(InputError, match=rf"a\.tif is compressed by {name.get(compression, compression.upper())}"):
        open_mask(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif").array.shape[:2] == (24, 40)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "packbits", "png"])
def test_a_mask_in_a_lossless_container_is_read(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", UPRIGHT, photometric="minisblack", compression=compression)
    np.testing.assert_array_equal(open_mask(tmp_path / "a.tif")[...], UPRIGHT)


@pytest.mark.parametrize("highest", [1, 255])
def test_a_gif_of_one_picture_is_read_as_a_mask(tmp_path: Path, highest: int) -> None:
    """Masks of vessels are published so; whether the file has a palette depends on the program that wrote it."""
    cells = np.random.default_rng(0).random((7, 9)) < 0.3
    Image.fromarray(cells.astype(np.uint8) * highest).save(tmp_path / "a.gif")
    Image.fromarray(cells).save(tmp_path / "b.gif")
    for name in ("a.gif", "b.gif"):
        numbers = np.asarray(open_mask(tmp_path / name)[...])
        np.testing.assert_array_equal(numbers > 0, cells)
    frames = [Image.fromarray(cells.astype(np.uint8) * level) for level in (100, 200)]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"c\.gif is an animation of 2 frames"):
        open_image(tmp_path / "c.gif")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_a_jpeg_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / f"a{suffix}", format="JPEG")
    with pytest.raises(InputError, match="is compressed by JPEG, which changes numbers"):
        open_mask(tmp_path / f"a{suffix}")
    assert open_image(tmp_path / f"a{suffix}").array.shape == UPRIGHT.shape
