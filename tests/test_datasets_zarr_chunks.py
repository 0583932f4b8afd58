"""Chunks of Zarr stores: what the library wrote is what is read; what is cut, inflated or linked is refused."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest

from bench.config import InputError
from bench.datasets import zarr_codecs
from bench.datasets.opening import open_image

if TYPE_CHECKING:
    import zarr
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec


VALUES = np.random.default_rng(0).integers(0, 250, (45, 70))
KEYS = (np.s_[...], np.s_[3:9, 5:20], np.s_[40:, 60:], np.s_[7], np.s_[:, 16:32])
COMPRESSORS: dict[str, Any] = {
    "none": None,
    "blosc lz4": numcodecs.Blosc("lz4"),
    "blosc blosclz, bits": numcodecs.Blosc("blosclz", shuffle=2),
    "blosc zstd": numcodecs.Blosc("zstd"),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "zstd": numcodecs.Zstd(),
    "lz4": numcodecs.LZ4(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "raw lzma": numcodecs.LZMA(format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]),
}
FILTERS: dict[str, Callable[[np.dtype[Any]], Any]] = {
    "delta": lambda dtype: numcodecs.Delta(dtype=dtype.str),
    "narrow delta": lambda dtype: numcodecs.Delta(dtype=dtype.str, astype=">i2"),
    "shuffle": lambda dtype: numcodecs.Shuffle(dtype.itemsize),
    "crc32": lambda _: numcodecs.CRC32(),
    "crc32c": lambda _: numcodecs.CRC32C(),
}


def check(path: Path, values: np.ndarray) -> None:
    array = open_image(path).array
    assert array.dtype == values.dtype.newbyteorder("=")
    for key in KEYS:
        np.testing.assert_array_equal(array[key], values[key])


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("dtype", ["|u1", ">u2", "<f4"])
def test_version_2_is_read_as_the_library_wrote_it(tmp_path: Path, compressor: str, dtype: str) -> None:
    values, separator = VALUES.astype(dtype), "/" if dtype == "|u1" else "."
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=values.shape,
        chunks=(16, 16),
        dtype=values.dtype,
        zarr_format=2,
        order="F" if dtype == ">u2" else "C",
        compressors=COMPRESSORS[compressor],
        chunk_key_encoding={"name": "v2", "separator": separator},
    )
    array[...] = values
    check(tmp_path / "a.zarr", values)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", ["<u2", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_filters_of_version_2_are_undone(tmp_path: Path, name: str, dtype: str, order: Any) -> None:
    values = VALUES.astype(dtype)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=values.shape,
        chunks=(16, 16),
        dtype=values.dtype,
        zarr_format=2,
        order=order,
        filters=[FILTERS[name](values.dtype)],
        compressors=numcodecs.Zlib(),
    )
    array[...] = values
    check(tmp_path / "a.zarr", values)


@pytest.mark.parametrize("kind", ["none", "blosc", "gzip, crc32c", "zstd"])
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shards", [None, (32, 48)])
def test_version_3_is_read_as_the_library_wrote_it(
    tmp_path: Path, kind: str, endian: Any, turned: bool, shards: Any
) -> None:
    values = VALUES.astype(np.uint16)
    every = {"none": None, "blosc": [BloscCodec()], "gzip, crc32c": [GzipCodec(), Crc32cCodec()]}
    compressors: Any = (every | {"zstd": [ZstdCodec(checksum=True)]})[kind]
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=values.shape,
        chunks=(16, 16),
        dtype=values.dtype,
        shards=shards,
        compressors=compressors,
        serializer=BytesCodec(endian=endian),
        filters=[TransposeCodec(order=(1, 0))] if turned else [],
        fill_value=3,
    )
    array[...] = values
    values[16:32, 16:32] = 3  # a chunk that is not stored
    array[16:32, 16:32] = 3
    check(tmp_path / "a.zarr", values)


@pytest.mark.parametrize("location", ["start", "end"])
def test_shards_within_shards(tmp_path: Path, location: Any) -> None:
    values = np.random.default_rng(0).integers(0, 9000, (12, 20, 30)).astype(np.uint16)
    codecs: Any = [TransposeCodec(order=(2, 0, 1)), BytesCodec(), BloscCodec()]
    inner = ShardingCodec(chunk_shape=(3, 5, 5), codecs=codecs, index_location=location)
    outer = ShardingCodec(chunk_shape=(6, 10, 10), codecs=[inner], index_location=location)
    settings: dict[str, Any] = {"zarr_format": 3, "chunk_shape": (6, 20, 30), "codecs": [outer]}
    array: Any = zarr.create(store=tmp_path / "a.zarr", shape=values.shape, dtype="u2", **settings)
    array[...] = values
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").array[2:9, 3:11, 7:29], values[2:9, 3:11, 7:29])


@pytest.mark.parametrize("fill", ["NaN", "Infinity", "0x7fc00000", 1.5, None])
def test_what_is_not_stored_holds_the_fill_value(tmp_path: Path, fill: Any) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(8, 8), chunks=(4, 4), dtype="float32")
    content = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text()) | {"fill_value": fill}
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(content))
    number = float("nan") if fill == "0x7fc00000" else float(fill or 0)
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").array[...], np.full((8, 8), number, np.float32))


# ---------------------------------------------------------------------------------------------------- cut and bombs


def store(path: Path, compressor: Any = None, dtype: str = "u2", **settings: Any) -> Path:
    """One chunk of 64 x 64; returns the file that holds it."""
    values = np.random.default_rng(0).integers(0, 250, (64, 64)).astype(dtype)
    options = {"zarr_format": 2, "compressors": compressor} | settings
    array = zarr.create_array(path, shape=values.shape, chunks=values.shape, dtype=values.dtype, **options)
    array[...] = values
    [chunk] = [file for file in path.rglob("*") if file.is_file() and file.name[0] != "." and file.suffix != ".json"]
    return chunk


@pytest.mark.parametrize("name", ["lz4", "lz4hc", "blosclz", "zstd", "zlib"])
@pytest.mark.parametrize("cut", [1, 2, 5, 10])
@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_cut_by_a_few_bytes_is_refused(tmp_path: Path, name: Any, cut: int, version: int) -> None:
    settings: dict[str, Any] = {"zarr_format": 3, "compressors": [BloscCodec(cname=name)]} if version == 3 else {}
    chunk = store(tmp_path / "a.zarr", numcodecs.Blosc(name), **settings)
    chunk.write_bytes(chunk.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"a\.zarr.*its header says"):
        open_image(tmp_path / "a.zarr").array[...]


@pytest.mark.parametrize("compressor", [name for name in COMPRESSORS if name != "none"])
@pytest.mark.parametrize("keep", [0, 3, 20, 200])
def test_a_chunk_cut_anywhere_is_refused(tmp_path: Path, compressor: str, keep: int) -> None:
    chunk = store(tmp_path / "a.zarr", COMPRESSORS[compressor])
    chunk.write_bytes(chunk.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(tmp_path / "a.zarr").array[...]


@pytest.mark.parametrize("cut", [1, 5, 40, 2000])
def test_a_shard_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    shard = store(tmp_path / "a.zarr", zarr_format=3, shards=(64, 64))
    shard.write_bytes(shard.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(tmp_path / "a.zarr").array[...]


def test_a_chunk_within_a_shard_is_bounded_by_it(tmp_path: Path) -> None:
    shard = store(tmp_path / "a.zarr", zarr_format=3, shards=(64, 64), compressors=[BloscCodec()])
    data = bytearray(shard.read_bytes())
    data[-20:-4] = (8).to_bytes(8, "little") + (10**9).to_bytes(8, "little")
    from google_crc32c import value

    data[-4:] = value(bytes(data[-20:-4])).to_bytes(4, "little")
    shard.write_bytes(data)
    with pytest.raises(InputError, match="chunk c/0/0: the shard is cut off"):
        open_image(tmp_path / "a.zarr").array[...]


ZEROS = bytes(1 << 26)
BOMBS: dict[str, tuple[Any, Callable[[], bytes]]] = {
    "gzip": (numcodecs.GZip(), lambda: gzip.compress(ZEROS)),
    "gzip of two members": (numcodecs.GZip(), lambda: gzip.compress(bytes(8192)) + gzip.compress(ZEROS)),
    "zlib": (numcodecs.Zlib(), lambda: zlib.compress(ZEROS)),
    "bz2": (numcodecs.BZ2(), lambda: bz2.compress(ZEROS)),
    "lzma": (numcodecs.LZMA(), lambda: lzma.compress(ZEROS, preset=0)),
    "zstd": (numcodecs.Zstd(), lambda: bytes(numcodecs.Zstd().encode(ZEROS))),
    "lz4": (numcodecs.LZ4(), lambda: bytes(numcodecs.LZ4().encode(ZEROS))),
    "blosc": (numcodecs.Blosc(), lambda: bytes(numcodecs.Blosc().encode(ZEROS))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_chunk_that_becomes_too_large_is_refused_before_it_does(tmp_path: Path, bomb: str) -> None:
    codec, make = BOMBS[bomb]
    chunk = store(tmp_path / "a.zarr", codec)
    chunk.write_bytes(make())
    with pytest.raises(InputError, match=r"a\.zarr.*(more than|too small)"):
        open_image(tmp_path / "a.zarr").array[...]


def test_differences_that_become_too_many_bytes_are_refused_before_they_are_summed_up() -> None:
    settings, ones = {"dtype": "<f8", "astype": "|i1"}, bytes([1]) * 100
    assert len(zarr_codecs.decode_codec("delta", settings, ones, 800)) == 800
    with pytest.raises(zarr_codecs.ChunkError, match="more than the 799 bytes"):
        zarr_codecs.decode_codec("delta", settings, ones, 799)


def store_differences(path: Path, values: np.ndarray, endian: Any = "little", **delta: str) -> None:
    """A store of version 3 with one chunk of differences."""
    filters: Any = [{"name": "numcodecs.delta", "configuration": delta}]
    settings: dict[str, Any] = {"shape": values.shape, "chunks": values.shape, "dtype": values.dtype}
    array = zarr.create_array(path, filters=filters, serializer=BytesCodec(endian=endian), compressors=None, **settings)
    array[...] = values


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_narrow_differences_of_a_large_chunk_are_read(tmp_path: Path) -> None:
    """Its values take more bytes than its differences, by more than compression may add."""
    values = np.random.default_rng(0).integers(0, 50, (300, 400)).astype(np.int32)
    store_differences(tmp_path / "a.zarr", values, dtype="<i4", astype="|i1")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").array[...], values)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("astype", ["<i2", ">i2", "|i1"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_differences_in_mixed_byte_orders_are_refused(tmp_path: Path, dtype: str, astype: str, endian: str) -> None:
    values = np.random.default_rng(0).integers(0, 50, (20, 30)).astype(np.uint16)
    store_differences(tmp_path / "a.zarr", values, endian, dtype="<u2", astype=astype)
    metadata = tmp_path / "a.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"<u2"', f'"{dtype}"'))
    orders = {"<": "little", ">": "big", "|": endian}
    if dtype == "<u2" and orders[astype[0]] == endian:
        np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").array[...], values)
    else:
        with pytest.raises(InputError, match=r"a\.zarr stores differences \(codec delta\) in mixed byte orders"):
            open_image(tmp_path / "a.zarr")


def test_every_allowed_codec_has_a_decoder() -> None:
    from bench.datasets.zarr_files import CODECS, COMPRESSORS

    plain = {name.removeprefix("numcodecs.") for name in CODECS} - {"bytes", "transpose", "sharding_indexed"}
    assert plain | COMPRESSORS == set(zarr_codecs.DECODERS)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("separator", ["-", "", 1])
def test_another_separator_in_the_names_of_chunks_is_refused(tmp_path: Path, version: int, separator: Any) -> None:
    """Under other names no chunk would be found, and all values would be the fill value."""
    store(tmp_path / "a.zarr", zarr_format=version)
    metadata = tmp_path / "a.zarr" / ("zarr.json" if version == 3 else ".zarray")
    naming = {"chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}}}
    changed = naming if version == 3 else {"dimension_separator": separator}
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | changed))
    with pytest.raises(InputError, match=rf"a\.zarr separates the numbers of a chunk by {separator!r}: it must be"):
        open_image(tmp_path / "a.zarr")


# ----------------------------------------------------------------------------------------- only plain files within


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["link out", "link within", "pipe", "folder", "link to a folder"])
def test_a_chunk_that_is_no_plain_file_is_refused(tmp_path: Path, version: int, kind: str) -> None:
    chunk = store(tmp_path / "a.zarr", zarr_format=version, chunk_key_encoding=None)
    elsewhere = tmp_path / "secret" if kind != "link within" else chunk.with_name("other")
    if kind == "link to a folder":
        if version == 2:
            pytest.skip("version 2 has no folders of chunks here")
        chunk.parent.rename(tmp_path / "moved")
        chunk.parent.symlink_to(tmp_path / "moved")
    else:
        chunk.rename(elsewhere)
        if kind == "pipe":
            os.mkfifo(chunk)
        elif kind == "folder":
            chunk.mkdir()
        else:
            chunk.symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"is a link, a device or a pipe"):
        open_image(tmp_path / "a.zarr").array[...]


@pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
def test_metadata_that_is_no_plain_file_is_refused(tmp_path: Path, name: str) -> None:
    store(tmp_path / "a.zarr", zarr_format=3 if name == "zarr.json" else 2)
    (tmp_path / "a.zarr" / name).rename(tmp_path / name)
    (tmp_path / "a.zarr" / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match=r"is a link, a device or a pipe"):
        open_image(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / name).unlink()
    os.mkfifo(tmp_path / "a.zarr" / name)
    with pytest.raises(InputError, match=r"a\.zarr is not a Zarr store"):
        open_image(tmp_path / "a.zarr")
