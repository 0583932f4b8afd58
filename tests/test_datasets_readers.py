"""PNG, JPEG and TIFF as arrays: what was saved is what is read, and the header says so beforehand."""

from __future__ import annotations

import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support import folder_sets as sets

from bench.config import InputError
from bench.datasets import masks, tiffs
from bench.datasets.opening import open_image

if TYPE_CHECKING:
    import zarr


ROOT = Path(__file__).parents[1]
LIMIT = 10**6


def read_pixels(path: Path) -> NDArray[Any]:
    return np.asarray(open_image(path).array)


def read_header(path: Path, limit: int) -> tuple[tuple[int, ...], int | None, bool]:
    header = open_image(path, None, limit).header
    assert header.dtype == read_pixels(path).dtype
    return header.shape, header.channel_axis, header.alpha


def read_mask(path: Path, limit: int) -> NDArray[Any]:
    return np.asarray(masks.open_mask(path, limit))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_integers_survive(tmp_path: Path, suffix: str, dtype: type) -> None:
    array = sets.picture(0, dtype=dtype) * (1 if dtype is np.uint8 else 300)
    path = tmp_path / f"a{suffix.lower()}"
    sets.write(path, array)
    path = path.rename(tmp_path / f"a{suffix}")
    assert read_header(path, LIMIT) == ((6, 8), None, False)
    np.testing.assert_array_equal(read_pixels(path), array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_keeps_its_type(tmp_path: Path, dtype: type, compression: str | None) -> None:
    array = sets.picture(0, dtype=dtype)
    sets.write(tmp_path / "a.tif", array, compression=compression)
    read = read_pixels(tmp_path / "a.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array)


def test_big_endian_and_planar_and_tiled_tiffs(tmp_path: Path) -> None:
    grey, colour = sets.picture(0, (40, 50), np.uint16), sets.picture(1, (3, 40, 50))
    sets.write(tmp_path / "big.tif", grey, byteorder=">")
    sets.write(tmp_path / "tiled.tif", grey, tile=(16, 16), compression="lzw")
    sets.write(tmp_path / "planar.tif", colour, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(tmp_path / "big.tif"), grey)
    np.testing.assert_array_equal(read_pixels(tmp_path / "tiled.tif"), grey)
    np.testing.assert_array_equal(read_pixels(tmp_path / "planar.tif"), colour)
    assert read_header(tmp_path / "planar.tif", LIMIT) == ((3, 40, 50), 0, False)


@pytest.mark.parametrize(("bands", "alpha"), [(2, True), (3, False), (4, True)])
def test_colour_pictures_say_where_their_channels_are(tmp_path: Path, bands: int, alpha: bool) -> None:
    array = sets.picture(0, (6, 8, bands))
    sets.write(tmp_path / "a.png", array)
    assert read_header(tmp_path / "a.png", LIMIT) == ((6, 8, bands), 2, alpha)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), array)


def test_colours_of_16_bits_are_not_cut_down_to_8(tmp_path: Path) -> None:
    array = sets.picture(0, (6, 8, 3), np.uint16) * 300
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    assert read_header(tmp_path / "a.png", LIMIT) == ((6, 8, 3), 2, False)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), array)


def test_a_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_pixels(tmp_path / "a.jpg").astype(int) - ramp).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "RGB", "RGBA"])
def test_a_picture_copied_in_bands_is_the_picture(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (23, 17, 4), np.uint8), "RGBA")
    picture = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "picture.png")
    whole = open_image(tmp_path / "picture.png").array[...]
    monkeypatch.setattr("bench.datasets.pictures.BAND_PIXELS", 50)
    banded = open_image(tmp_path / "picture.png").array[...]
    assert banded.dtype == whole.dtype
    np.testing.assert_array_equal(banded, whole)


def test_ome_and_imagej_files_name_their_channels(tmp_path: Path) -> None:
    array = sets.picture(0, (2, 6, 8), np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "CYX"}, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", array, imagej=True, metadata={"axes": "CYX"})
    for name in ("a.ome.tif", "b.tif"):
        assert read_header(tmp_path / name, LIMIT) == ((2, 6, 8), 0, False)


def test_a_palette_gives_colours_to_an_image_and_indices_to_a_mask(tmp_path: Path) -> None:
    indices = sets.classes(count=3)
    picture = Image.new("P", (8, 6))
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", LIMIT), indices)
    assert read_header(tmp_path / "a.png", LIMIT)[0] == (6, 8, 3)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "a.png"), np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[indices]
    )


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palette_of_greys_gives_one_channel(suffix: str, tmp_path: Path) -> None:
    """Pillow saves every grey GIF so; as three channels it would fit no grey image beside it, and cost three times."""
    indices = sets.classes(count=3)
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([shade for shade in (10, 40, 70) for _ in range(3)])
    picture.save(tmp_path / f"a.{suffix}")
    assert read_header(tmp_path / f"a.{suffix}", LIMIT)[0] == indices.shape
    np.testing.assert_array_equal(read_pixels(tmp_path / f"a.{suffix}"), np.array([10, 40, 70])[indices])


@pytest.mark.parametrize("bands", [3, 4])
def test_a_grey_mask_saved_in_colour_is_one_channel(tmp_path: Path, bands: int) -> None:
    colours = np.repeat(sets.classes()[..., None], bands, axis=2)
    colours[..., 3:] = 255
    sets.write(tmp_path / "a.png", colours)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", LIMIT), sets.classes())


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    Image.fromarray(sets.classes().astype(bool)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", LIMIT), sets.classes())


def test_a_volume_of_three_slices_is_no_colour_mask(tmp_path: Path) -> None:
    volume = sets.picture(0, (6, 8, 3)) % 2
    sets.write(tmp_path / "a.tif", volume)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", LIMIT), volume)


def test_the_limit_holds_before_any_pixel_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets.write(tmp_path / "a.tif", sets.picture(0), compression="zlib")
    sets.write(tmp_path / "a.png", sets.picture(0))
    monkeypatch.setattr(tiffs, "decode_whole", lambda *_: pytest.fail("pixels were read"))
    for suffix in ("tif", "png"):
        with pytest.raises(InputError, match="48 values"):
            open_image(tmp_path / f"a.{suffix}", None, 47)
    assert open_image(tmp_path / "a.png", None, 48).array.shape == (6, 8)


def test_a_kind_of_file_that_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(
        InputError, match=r"a\.czi is of a kind that is not read: use one of \.png.*Fiji by File > Save"
    ):
        read_header(tmp_path / "a.czi", LIMIT)
    (tmp_path / "a.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt is of a kind that is not read: use one of .*\.zarr$"):
        read_header(tmp_path / "a.txt", LIMIT)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tiled": {"tile": (32, 32), "compression": "zlib"},
    "striped": {"rowsperstrip": 16, "compression": "zlib"},
    "one strip": {"rowsperstrip": 90, "compression": "zlib"},
    "big": {"bigtiff": True, "tile": (16, 48), "compression": "zstd"},
    "big-endian": {"byteorder": ">", "tile": (32, 32)},
    "predicted": {"tile": (32, 32), "compression": "zlib", "predictor": True},
}
SHAPES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "grey": ((90, 110), {"photometric": "minisblack"}),
    "colours": ((90, 110, 3), {"photometric": "rgb"}),
    "planes": ((3, 90, 110), {"photometric": "rgb", "planarconfig": "separate"}),
    "volume": ((4, 90, 110), {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_part_of_a_large_tiff_is_that_of_the_array(
    kind: str, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiffs, "SMALL", 0)
    monkeypatch.setattr("bench.arrays.chunked.UNIT_VALUES", 1)
    monkeypatch.setattr(tiffs, "MAPPED_VALUES", 500)
    lengths, settings = SHAPES[shape]
    array = np.random.default_rng(0).integers(0, 60_000, lengths).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, **settings, **KINDS[kind])
    opened = open_image(tmp_path / "a.tif").array
    for key in (np.s_[2:3], np.s_[..., 40:60, 3:], np.s_[1, 10:80:3], np.s_[...]):
        np.testing.assert_array_equal(opened[key], array[key])


def test_a_tile_is_bounded_but_the_image_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiffs, "SMALL", 0)
    array = np.arange(96 * 96, dtype=np.uint16).reshape(96, 96)
    tifffile.imwrite(tmp_path / "tiles.tif", array, tile=(32, 32), compression="zlib")
    tifffile.imwrite(tmp_path / "strip.tif", array, rowsperstrip=96, compression="zlib")
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "tiles.tif", None, 32 * 32).array), array)
    with pytest.raises(InputError, match=r"strip\.tif says that a tile or strip has 9216 values"):
        open_image(tmp_path / "strip.tif", None, 32 * 32)


def test_a_pyramid_is_its_full_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiffs, "SMALL", 0)
    array = np.random.default_rng(0).integers(0, 60_000, (128, 96)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(
            array, subifds=1, tile=(32, 32), metadata={"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
        )
        tiff.write(array[::2, ::2], subfiletype=1, tile=(32, 32))
    opened = open_image(tmp_path / "a.ome.tif")
    assert (opened.array.shape, opened.pixel_size, opened.units) == ((128, 96), (0.5, 0.25), ("micrometer",) * 2)
    np.testing.assert_array_equal(opened.array[30:70], array[30:70])


def test_a_damaged_tile_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiffs, "SMALL", 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(96 * 96, dtype=np.uint16).reshape(96, 96), tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        [page] = tiff.pages
        place = page.dataoffsets[4]
    data = bytearray(path.read_bytes())
    data[place : place + 20] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif cannot be read as an image"):
        np.asarray(open_image(path).array)


@pytest.mark.parametrize(("suffix", "loaded"), [(".tif", "tifffile"), (".png", "PIL"), (".zarr", "numcodecs")])
def test_a_kind_of_file_loads_the_library_that_reads_it_and_no_other(tmp_path: Path, suffix: str, loaded: str) -> None:
    """What a run imports counts as its memory."""
    path = tmp_path / f"a{suffix}"
    if suffix == ".zarr":
        zarr.create_array(path, shape=(4, 4), dtype="uint8", zarr_format=2, compressors=numcodecs.Blosc())[...] = 1
    else:
        sets.write(path, sets.picture(0))
    code = (
        "import sys; from pathlib import Path; from bench.datasets import registry, opening;"
        f"numbers = opening.open_image(Path({str(path)!r})).array[...];"
        "print([name for name in ('tifffile', 'PIL', 'numcodecs', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert eval(done.stdout) == [loaded]


def test_a_tile_that_is_larger_than_any_memory_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((40, 52), np.uint8), tile=(16, 16), compression="lzw")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["TileWidth"].offset
    data = bytearray(path.read_bytes())
    data[place + 2 : place + 12] = (
        (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + (1 << 30).to_bytes(4, "little")
    )
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif says that a tile or strip has 17179869184 values"):
        open_image(path)


def save_volume_tiles(path: Path) -> None:
    tifffile.imwrite(
        path, volume((9, 40, 50)), tile=(4, 16, 32), compression="zlib", photometric="minisblack", volumetric=True
    )


def save_pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for page in volume((5, 40, 50)):
            tiff.write(page, tile=(16, 16), compression="lzw", photometric="minisblack", metadata=None)


def save_sparse(path: Path) -> None:
    """Tiles that were never written: their offsets and lengths are 0."""
    array = volume((40, 50)) + 1
    tifffile.imwrite(path, array, tile=(16, 16), compression="zlib", photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages[0]
        for name, values in (("TileByteCounts", page.databytecounts), ("TileOffsets", page.dataoffsets)):
            page.tags[name].overwrite([0, *values[1:5], 0, *values[6:]])


def volume(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)


WRITERS: dict[str, Any] = {
    "volumes as tiles": save_volume_tiles,
    "pages": save_pages,
    "sparse": save_sparse,
    "jpeg": lambda path: tifffile.imwrite(
        path, (volume((40, 50, 3)) >> 8).astype(np.uint8), tile=(16, 16), compression="jpeg", photometric="rgb"
    ),
    "bits": lambda path: tifffile.imwrite(
        path, volume((40, 50)) > 30_000, rowsperstrip=7, compression="packbits", photometric="minisblack"
    ),
    "hyperstack": lambda path: tifffile.imwrite(
        path, volume((3, 2, 40, 50)), tile=(16, 32), compression="zstd", metadata={"axes": "ZCYX"}, ome=True
    ),
    "planes of colours": lambda path: tifffile.imwrite(
        path, volume((4, 3, 40, 50)), rowsperstrip=9, compression="zlib", photometric="rgb", planarconfig="separate"
    ),
    "rows of pages": lambda path: tifffile.imwrite(
        path, volume((3, 1, 50)), compression="zlib", rowsperstrip=1, photometric="minisblack"
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_segments_are_put_together_as_tifffile_does(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ome.tif" if kind == "hyperstack" else tmp_path / "a.tif"
    WRITERS[kind](path)
    stored = tifffile.imread(path)
    monkeypatch.setattr(tiffs, "SMALL", 0)
    monkeypatch.setattr("bench.arrays.chunked.UNIT_VALUES", 1)
    monkeypatch.setattr(tiffs, "decode_whole", lambda *_: pytest.fail("the whole file was decoded"))
    array = open_image(path).array
    expected = stored.reshape(array.shape)
    for key in (np.s_[...], np.s_[1:3], np.s_[..., 5:17], np.s_[..., 0, 3:], np.s_[-1]):
        np.testing.assert_array_equal(array[key], expected[key])


def test_reading_tiles_leaves_no_threads_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that outlive a damaged tile would print lines of their own behind the one sentence."""
    before = threading.enumerate()
    monkeypatch.setattr(tiffs, "SMALL", 0)
    save_pages(tmp_path / "a.tif")
    open_image(tmp_path / "a.tif").array[...]
    assert threading.enumerate() == before


@pytest.mark.parametrize(("suffix", "kind"), [("webp", "WEBP"), ("tif", "TIFF")])
def test_a_file_of_another_format_under_a_known_name_is_refused_by_its_own(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"a.{suffix}")
    (tmp_path / f"a.{suffix}").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png is a {kind} file, whatever its name says: save it as PNG or TIFF"):
        open_image(tmp_path / "a.png")


def test_colours_of_16_bits_with_transparency_are_those_of_the_file(tmp_path: Path) -> None:
    values = (np.arange(64 * 48) * 7).astype(np.uint16).reshape(64, 48)
    opaque = np.full_like(values, 65535)
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(np.dstack([values, opaque])))
    opened = open_image(tmp_path / "grey.png")
    assert (opened.header.shape, opened.alpha) == ((64, 48, 2), True)
    np.testing.assert_array_equal(np.asarray(opened.array)[..., 0], values)
    colours = np.dstack([values, values // 2, values // 3])
    data = imagecodecs.png_encode(colours)
    chunk, start = b"tRNS" + bytes([0, 5] * 3), data.index(b"IDAT") - 4  # one colour that is to be transparent
    keyed = (6).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "keyed.png").write_bytes(data[:start] + keyed + data[start:])
    opened = open_image(tmp_path / "keyed.png")
    assert (opened.header.shape, opened.alpha) == ((64, 48, 3), False)
    np.testing.assert_array_equal(np.asarray(opened.array), colours)


def test_a_bmp_that_pillow_would_scramble_is_refused(tmp_path: Path) -> None:
    """By a palette of black and white it takes one of eight bits for one of one bit."""
    cells = np.zeros((20, 24), np.uint8)
    cells[3:9, 4:12] = 1
    picture = Image.fromarray(cells, "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "mask.bmp")
    for read in (open_image, masks.open_mask):
        with pytest.raises(InputError, match="is a BMP of 8 bits for each pixel with a palette of greys"):
            read(tmp_path / "mask.bmp")
    for mode in ("1", "L", "RGB"):
        Image.fromarray(cells * 255).convert(mode).save(tmp_path / f"{mode}.bmp")
        found = np.asarray(open_image(tmp_path / f"{mode}.bmp").array)
        np.testing.assert_array_equal((found[..., 0] if mode == "RGB" else found) > 0, cells > 0)


def test_a_zarr_store_in_one_file_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a\.zarr is a file, and a Zarr store is a folder: unpack it"):
        open_image(tmp_path / "a.zarr")
