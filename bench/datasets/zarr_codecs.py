"""Bytes of a Zarr chunk as they were before compression, never more of them than the chunk can have.

Every codec of `DECODERS` bounds its output before or while it is made, and none looks beyond the end of its input.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

BLOSC_HEADER = 16  # bytes
MOST_MEMORY = 1 << 29  # bytes that the dictionary of an LZMA stream may take

Settings = Mapping[str, Any]
Decoder = Callable[[bytes, Settings, int], bytes]


class ChunkError(ValueError):
    """Stored bytes that are not what the metadata says; the message begins with what they are."""


def check_chunk(condition: bool, sentence: str) -> None:
    """Raise `ChunkError(sentence)` unless `condition` holds."""
    if not condition:
        raise ChunkError(sentence)


def decode_codec(name: str, settings: Settings, data: bytes, limit: int) -> bytes:
    """Undo one codec.

    Args:
        name: A key of `DECODERS`.
        settings: The codec's configuration in the metadata of the array.
        data: What was stored.
        limit: Most bytes that can be right.

    Returns:
        The bytes before the codec was applied.

    Raises:
        ChunkError: `data` is seen to be cut off or damaged, or to become more than `limit` bytes, before it is decoded.
        Exception: Whatever the decoder raises for other damaged data; each function of `DECODERS` says which.
    """
    return DECODERS[name](data, settings, limit)


def check_limit(found: int, limit: int) -> None:
    """Raise `ChunkError` where a chunk becomes `found` bytes, and that is more than `limit`."""
    check_chunk(found <= limit, f"it becomes more than the {limit} bytes that it can hold")


def decode_blosc(data: bytes, _: Settings, limit: int) -> bytes:
    """Decode Blosc by numcodecs, once the sizes in its header are checked.

    The library reads as many bytes as the header says, whether they are there or not.

    Args:
        data: The stored bytes, with the header of Blosc.
        _: Settings of the codec, which the header repeats.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression.

    Raises:
        ChunkError: The header states another number of bytes, or they would become more than `limit`.
        RuntimeError: They cannot be decoded.
    """
    from numcodecs import blosc

    check_chunk(len(data) >= BLOSC_HEADER, f"{len(data)} bytes are too few for Blosc")
    plain, packed = (int.from_bytes(data[at : at + 4], "little") for at in (4, 12))
    check_chunk(packed == len(data), f"it has {len(data)} bytes, and its header says {packed}: copy it completely")
    check_limit(plain, limit)
    return bytes(blosc.decompress(data))


def decode_deflate(data: bytes, _: Settings, limit: int) -> bytes:
    """Decode deflate with the header of zlib or of gzip, which may have several members.

    Args:
        data: The stored bytes.
        _: Settings of the codec, which decoding does not need.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression, those of all members.

    Raises:
        ChunkError: The bytes end too early, or would become more than `limit`.
        zlib.error: They cannot be decoded.
    """
    parts, left = [], limit
    while data:
        inflating = zlib.decompressobj(wbits=47)
        parts.append(inflating.decompress(data, left + 1))
        left -= len(parts[-1])
        check_limit(limit - left, limit)
        check_chunk(inflating.eof, "it ends before its compressed data does: copy it completely")
        data = inflating.unused_data
    return b"".join(parts)


def decode_zstd(data: bytes, _: Settings, limit: int) -> bytes:
    """Decode Zstandard by imagecodecs, into a buffer of `limit` bytes.

    Args:
        data: The stored bytes.
        _: Settings of the codec, which decoding does not need.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression.

    Raises:
        ZstdError: Of imagecodecs: the bytes cannot be decoded, or would become more than `limit`.
    """
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(data, out=limit))


def decode_lz4(data: bytes, _: Settings, limit: int) -> bytes:
    """Decode LZ4 by numcodecs, which begins with the number of decoded bytes in four bytes, the lowest first.

    Args:
        data: The stored bytes.
        _: Settings of the codec, which decoding does not need.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression.

    Raises:
        ChunkError: There are fewer than four bytes, or they would become more than `limit`.
        RuntimeError: They cannot be decoded.
    """
    from numcodecs import lz4

    check_chunk(len(data) >= 4, f"{len(data)} bytes are too few for LZ4")
    check_limit(int.from_bytes(data[:4], "little"), limit)
    return bytes(lz4.decompress(data))


def decode_bz2(data: bytes, _: Settings, limit: int) -> bytes:
    """Decode bzip2. Only the first stream is decoded, and bytes after it are ignored.

    Args:
        data: The stored bytes.
        _: Settings of the codec, which decoding does not need.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression.

    Raises:
        ChunkError: The bytes end too early, or would become more than `limit`.
        OSError: They cannot be decoded.
    """
    return finish_stream(bz2.BZ2Decompressor(), data, limit)


def decode_lzma(data: bytes, settings: Settings, limit: int) -> bytes:
    """Decode LZMA, whose dictionary may take `MOST_MEMORY` bytes; that of a raw stream is what its filters say.

    Args:
        data: The stored bytes; only the first stream is decoded, and bytes after it are ignored.
        settings: `format`, a number of the module lzma (XZ where it is missing), and `filters`, which raw streams need.
        limit: Most bytes that can be right.

    Returns:
        The bytes before compression.

    Raises:
        ChunkError: The bytes end too early, or would become more than `limit`.
        lzma.LZMAError: They cannot be decoded, or need more memory.
    """
    kind, filters = int(settings.get("format", lzma.FORMAT_XZ)), settings.get("filters")
    raw = kind == lzma.FORMAT_RAW
    stream = lzma.LZMADecompressor(kind, None if raw else MOST_MEMORY, filters if raw else None)
    return finish_stream(stream, data, limit)


def finish_stream(stream: Any, data: bytes, limit: int) -> bytes:
    """Return all that a decompressor of the standard library makes of `data`, within `limit`.

    Args:
        stream: The decompressor.
        data: Compressed bytes.
        limit: Most bytes that can be right.
    """
    plain = bytes(stream.decompress(data, limit + 1))
    check_limit(len(plain), limit)
    check_chunk(stream.eof, "it ends before its compressed data does: copy it completely")
    return plain


def decode_shuffle(data: bytes, settings: Settings, _: int) -> bytes:
    """Undo a shuffle, which puts the first bytes of all values first, then the second bytes of all, and so on.

    Args:
        data: The shuffled bytes.
        settings: `elementsize`, the number of bytes of a value; 4 where it is missing.
        _: Most bytes that can be right; not needed, since the result has as many bytes as `data`.

    Returns:
        The bytes value after value.

    Raises:
        ChunkError: The bytes are no whole number of values.
    """
    size = int(settings.get("elementsize", 4))
    check_chunk(size >= 1 and len(data) % size == 0, f"{len(data)} bytes are no whole values of {size} bytes")
    return np.frombuffer(data, np.uint8).reshape(size, -1).T.tobytes()


def decode_delta(data: bytes, settings: Settings, limit: int) -> bytes:
    """Sum up the first value and the differences that follow it.

    Args:
        data: The bytes of the differences.
        settings: `dtype`, the type of the values, and `astype`, that of the differences where it is another one.
        limit: Most bytes that can be right; `dtype` may be wider than `astype`.

    Returns:
        The bytes of the values, in the byte order of `dtype`.

    Raises:
        ChunkError: The values would become more than `limit` bytes.
        ValueError: The bytes are no whole number of differences.
    """
    kept, plain = np.dtype(settings.get("astype") or settings["dtype"]), np.dtype(settings["dtype"])
    stored = np.frombuffer(data, kept)
    check_limit(len(stored) * plain.itemsize, limit)
    return np.cumsum(stored, dtype=plain.newbyteorder("=")).astype(plain).tobytes()


def decode_crc32c(data: bytes, settings: Settings, _: int) -> bytes:
    """Check and remove a checksum by CRC-32C (Castagnoli).

    Args:
        data: The bytes with their checksum.
        settings: `location` of the checksum, start or end; end where it is missing.
        _: Most bytes that can be right; the result has four fewer than there are.

    Returns:
        The bytes without their checksum.

    Raises:
        ChunkError: The checksum does not agree with the bytes.
    """
    import google_crc32c

    return strip_checksum(data, settings.get("location", "end"), google_crc32c.value)


def decode_crc32(data: bytes, settings: Settings, _: int) -> bytes:
    """Check and remove a checksum by CRC-32, that of zlib.

    Args:
        data: The bytes with their checksum.
        settings: `location` of the checksum, start or end; start where it is missing.
        _: Most bytes that can be right; the result has four fewer than there are.

    Returns:
        The bytes without their checksum.

    Raises:
        ChunkError: The checksum does not agree with the bytes.
    """
    return strip_checksum(data, settings.get("location", "start"), zlib.crc32)


def strip_checksum(data: bytes, location: str, checksum: Callable[[bytes], int]) -> bytes:
    """Return the bytes without their checksum of 4 bytes, which must agree.

    Args:
        data: Bytes with the checksum.
        location: start or end.
        checksum: Computes it.
    """
    plain, stored = (data[4:], data[:4]) if location == "start" else (data[:-4], data[-4:])
    check_chunk(
        len(data) >= 4 and int.from_bytes(stored, "little") == checksum(plain),
        "its checksum does not agree with its bytes: copy it again",
    )
    return plain


DECODERS: dict[str, Decoder] = {
    "blosc": decode_blosc, "gzip": decode_deflate, "zlib": decode_deflate, "zstd": decode_zstd, "lz4": decode_lz4,
    "bz2": decode_bz2, "lzma": decode_lzma, "shuffle": decode_shuffle, "delta": decode_delta,
    "crc32c": decode_crc32c, "crc32": decode_crc32,
}  # fmt: skip
