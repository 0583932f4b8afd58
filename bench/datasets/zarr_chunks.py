"""The values of a Zarr array, chunk by chunk, read from plain files below its folder and from nothing else.

The metadata has been checked by `bench.datasets.zarr_files`. A chunk that is not stored holds the fill value. Links,
devices and pipes are refused, and so is a chunk that would become more than it can hold.

    stored bytes --bytes_steps, last first--> bytes of one chunk --order, delta--> values
    of a shard:  its index (offset and length of each inner chunk), then the inner chunks that are needed, each as above
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, shift_box
from bench.config import InputError, require
from bench.datasets import zarr_codecs
from bench.datasets.zarr_codecs import ChunkError, Settings, check_chunk

SPARE_BYTES = 1 << 16  # that compression may add to a chunk
NOT_STORED = 2**64 - 1  # offset and length of an inner chunk that a shard does not hold
Step = tuple[str, Settings]  # a codec's name and its configuration


@dataclass(frozen=True)
class ChunkCoding:
    """How chunks of one shape become bytes. Steps are in the order in which they were applied in writing."""

    chunk: tuple[int, ...]
    stored: np.dtype[Any]  # of the values as bytes, with their byte order
    order: tuple[int, ...]  # the chunk's axes as they lie in memory, slowest first
    delta: Settings | None  # values are stored as differences
    bytes_steps: tuple[Step, ...]
    inner: "ChunkCoding | None" = None  # of the chunks of a shard
    index_steps: tuple[Step, ...] = ()
    index_first: bool = False

    @property
    def limit(self) -> int:
        """Most bytes that one chunk can take at any step."""
        plain = prod(self.chunk) * self.stored.itemsize
        return plain + plain // 8 + SPARE_BYTES


@dataclass(frozen=True)
class Span:
    """Bytes that are read on access: of a file, or in memory."""

    file: int | bytes
    start: int
    length: int

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset`. Raises `ChunkError` where there are not so many."""
        check_chunk(
            offset >= 0 and offset + count <= self.length,
            f"it should have {offset + count} bytes and has {self.length}: copy it completely",
        )
        at = self.start + offset
        return self.file[at : at + count] if isinstance(self.file, bytes) else os.pread(self.file, count, at)


@dataclass(frozen=True)
class ChunkReader:
    """Reads boxes of an array. `prefix` and `separator` make the name of a chunk from its place in the grid."""

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    coding: ChunkCoding
    prefix: tuple[str, ...]
    separator: str

    def read(self, box: Box) -> NDArray[Any]:
        """Decode the chunks that `box` touches, and return its values."""
        out = np.full([part.stop - part.start for part in box], self.fill, self.dtype)
        for place, here, inside in list_touched(box, self.coding.chunk):
            found = open_regular(self.folder, self.name_of(place))
            if found is None:
                continue
            with os.fdopen(found, "rb") as file, name_failures("/".join(self.name_of(place))):
                span = Span(file.fileno(), 0, os.fstat(file.fileno()).st_size)
                out[here] = decode_box(span, self.coding, inside, self.dtype, self.fill)
        return out

    def count_absent(self) -> int:
        """Count the chunks, or shards, that are not stored, so that their values are the fill value."""
        whole = tuple(slice(0, length) for length in self.shape)
        names = (self.name_of(place) for place, _, _ in list_touched(whole, self.coding.chunk))
        return sum(not os.path.lexists(self.folder.joinpath(*name)) for name in names)

    def name_of(self, place: Sequence[int]) -> tuple[str, ...]:
        """Return the parts of the path of a chunk below the folder."""
        numbers = [str(number) for number in place] or ([] if self.prefix else ["0"])
        if self.separator == "/":
            return (*self.prefix, *numbers)
        return (self.separator.join([*self.prefix, *numbers]),)


@contextmanager
def name_failures(chunk: str) -> Iterator[None]:
    """Put the name of a chunk before whatever a decoder raises within the block."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ChunkError(f"chunk {chunk}: {str(error) or type(error).__name__}") from error


def list_touched(box: Box, chunk: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Box, Box]]:
    """Yield for each chunk that a box overlaps its place in the grid, and the overlap within the box and the chunk."""
    grid = [range(part.start // side, -(-part.stop // side)) for part, side in zip(box, chunk, strict=True)]
    for place in product(*grid):
        whole = [slice(number * side, (number + 1) * side) for number, side in zip(place, chunk, strict=True)]
        both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(whole, box, strict=True)]
        yield place, shift_box(both, box), shift_box(both, whole)


def open_regular(folder: Path, parts: Sequence[str]) -> int | None:
    """Open a file below `folder` for reading; None where it does not exist.

    Raises:
        InputError: The file or a folder on the way to it is a link, a device or anything else but a plain file.
    """
    path = folder
    for number, part in enumerate(parts, 1):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        proper = stat.S_ISREG(mode) if number == len(parts) else stat.S_ISDIR(mode)
        require(proper, f"{path} is a link, a device or a pipe: replace it by the file itself")
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def decode_box(span: Span, coding: ChunkCoding, box: Box, dtype: np.dtype[Any], fill: Any) -> NDArray[Any]:
    """Decode `box` of the chunk in `span`; of a shard only the inner chunks that it needs.

    Args:
        span: The stored bytes.
        coding: How the chunk became bytes.
        box: Part of the chunk.
        dtype: Number type of the result.
        fill: Value of what is not stored.

    Returns:
        The values of the box.

    Raises:
        ChunkError: The bytes are cut off or damaged, or would become too many.
        Exception: Whatever a decoder raises for damaged bytes; `name_failures` turns it into a `ChunkError`.
    """
    if coding.inner is None:
        check_chunk(span.length <= coding.limit, f"it has {span.length} bytes, more than its values can take")
        return decode_values(span.read(0, span.length), coding, dtype)[box]
    if coding.bytes_steps:
        whole = undo_steps(span.read(0, span.length), coding.bytes_steps, coding.limit)
        span = Span(whole, 0, len(whole))
    turned = [box[axis] for axis in coding.order]
    chunk = [coding.chunk[axis] for axis in coding.order]
    out = np.full([part.stop - part.start for part in turned], fill, dtype)
    index = read_index(span, coding, [length // side for length, side in zip(chunk, coding.inner.chunk, strict=True)])
    for place, here, inside in list_touched(tuple(turned), coding.inner.chunk):
        offset, length = (int(number) for number in index[place])
        if (offset, length) != (NOT_STORED, NOT_STORED):
            check_chunk(offset + length <= span.length, "the shard is cut off: copy it completely")
            out[here] = decode_box(Span(span.file, span.start + offset, length), coding.inner, inside, dtype, fill)
    return out.transpose(np.argsort(coding.order))


def read_index(span: Span, coding: ChunkCoding, grid: Sequence[int]) -> NDArray[np.uint64]:
    """Return offsets and lengths of the inner chunks of a shard, (*grid, 2).

    Args:
        span: The stored bytes of the shard.
        coding: How it became bytes.
        grid: Inner chunks along each axis.
    """
    checksums = sum(name == "crc32c" for name, _ in coding.index_steps)
    size = 16 * prod(grid) + 4 * checksums
    check_chunk(size <= span.length, "the shard is shorter than its index: copy it completely")
    data = span.read(0 if coding.index_first else span.length - size, size)
    plain = undo_steps(data, coding.index_steps, size)
    return np.frombuffer(plain, "<u8").reshape(*grid, 2)


def undo_steps(data: bytes, steps: Sequence[Step], limit: int) -> bytes:
    """Undo the steps from bytes to bytes, the last one first.

    Args:
        data: The stored bytes.
        steps: Codecs in the order in which they were applied.
        limit: Most bytes that any step may give.
    """
    for name, settings in reversed(steps):
        data = zarr_codecs.decode_codec(name, settings, data, limit)
    return data


def decode_values(data: bytes, coding: ChunkCoding, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of one chunk from its stored bytes.

    Args:
        data: The stored bytes.
        coding: How the chunk became bytes.
        dtype: Number type of the result.
    """
    plain = undo_steps(data, coding.bytes_steps, coding.limit)
    wanted = prod(coding.chunk) * coding.stored.itemsize
    check_chunk(len(plain) == wanted, f"it holds {len(plain)} bytes instead of {wanted}: copy it again")
    if coding.delta is not None:
        plain = zarr_codecs.decode_codec("delta", coding.delta, plain, prod(coding.chunk) * dtype.itemsize)
    flat = np.frombuffer(plain, dtype if coding.delta is not None else coding.stored)
    shaped = flat.reshape([coding.chunk[axis] for axis in coding.order])
    return shaped.transpose(np.argsort(coding.order)).astype(dtype, copy=False)


# -------------------------------------------------------------------------------------- from checked metadata


def open_reader(folder: Path, content: dict[str, Any], shape: tuple[int, ...]) -> ChunkReader:
    """Return the reader of an array whose metadata was checked.

    Args:
        folder: Folder of the array.
        content: Its metadata.
        shape: Its shape.

    Raises:
        InputError: Its coding is not read.
    """
    three = content.get("zarr_format") == 3
    dtype = np.dtype(content["data_type"] if three else content["dtype"]).newbyteorder("=")
    fill = read_fill(folder, content.get("fill_value"), dtype)
    if not three:
        given = content.get("dimension_separator")
        separator = "." if given is None else given
        check_separator(folder, separator)
        return ChunkReader(folder, shape, dtype, fill, read_coding_2(content), (), separator)
    grid = content["chunk_grid"]["configuration"]["chunk_shape"]
    naming = content.get("chunk_key_encoding") or {"name": "default"}
    named = naming if isinstance(naming, dict) else {"name": naming}
    default = named.get("name") == "default"
    require(
        default or named.get("name") == "v2", f"{folder} names its chunks by {named.get('name')!r}, which is not read"
    )
    separator = (named.get("configuration") or {}).get("separator", "/" if default else ".")
    check_separator(folder, separator)
    coding = read_coding_3(folder, content["codecs"], tuple(grid), dtype)
    return ChunkReader(folder, shape, dtype, fill, coding, ("c",) if default else (), separator)


def check_separator(folder: Path, separator: Any) -> None:
    """Refuse a separator of the numbers in a chunk's name that is neither a dot nor `/`. Raises `InputError`."""
    require(separator in (".", "/"), f"{folder} separates the numbers of a chunk by {separator!r}: it must be . or /")


def read_fill(folder: Path, value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the value of chunks that are not stored; 0 where the metadata has none.

    Args:
        folder: Folder of the array, for the message.
        value: What the metadata says.
        dtype: Number type of the array.
    """
    try:
        if isinstance(value, str) and value.startswith("0x"):
            data = bytes.fromhex(value[2:])[::-1]
            return np.frombuffer(data, dtype.newbyteorder("<"))[0]
        return np.array(0 if value is None else float(value) if isinstance(value, str) else value).astype(dtype)
    except (ValueError, OverflowError, IndexError) as error:
        raise InputError(f"{folder} has the fill value {value!r}, which is no {dtype} value") from error


def read_coding_2(content: dict[str, Any]) -> ChunkCoding:
    """Return the coding of version 2: filters, then a compressor; `order` F lets the first axis vary fastest."""
    chunk, stored = tuple(content["chunks"]), np.dtype(content["dtype"])
    axes = tuple(range(len(chunk)))
    steps = [codec for codec in (*(content.get("filters") or []), content.get("compressor")) if codec is not None]
    named = tuple((str(codec["id"]), codec) for codec in steps)
    return ChunkCoding(chunk, stored, axes[::-1] if content.get("order") == "F" else axes, None, named)


def read_coding_3(folder: Path, codecs: Sequence[Any], chunk: tuple[int, ...], dtype: np.dtype[Any]) -> ChunkCoding:
    """Return the coding of version 3: codecs of arrays, one that makes bytes of them, codecs of bytes.

    Args:
        folder: Folder of the array, for messages.
        codecs: The list in the metadata.
        chunk: Shape of a chunk.
        dtype: Number type of the array.
    """
    steps = [read_step(codec) for codec in codecs]
    at = [n for n, (name, _) in enumerate(steps) if name in ("bytes", "sharding_indexed")]
    require(len(at) == 1, f"{folder} must have exactly one of the codecs bytes and sharding_indexed")
    order, delta, stored = tuple(range(len(chunk))), None, dtype
    for name, settings in steps[: at[0]]:
        require(name in ("transpose", "delta"), f"{folder} applies the codec {name} to arrays, which is not read")
        if name == "delta":
            delta, stored = settings, np.dtype(settings.get("astype") or settings["dtype"])
        else:
            order = transpose_order(folder, order, settings.get("order"))
    name, settings = steps[at[0]]
    after = tuple(steps[at[0] + 1 :])
    if name == "bytes":
        written = stored.newbyteorder(">" if settings.get("endian") == "big" else "<")
        if delta is not None:
            check_differences(folder, delta, written == stored)
        return ChunkCoding(chunk, written, order, delta, after)
    require(delta is None, f"{folder} applies the codec delta to shards, which is not read")
    inner = read_coding_3(folder, settings["codecs"], tuple(settings["chunk_shape"]), dtype)
    whole = [chunk[axis] for axis in order]
    fits = len(inner.chunk) == len(whole) and all(a % b == 0 for a, b in zip(whole, inner.chunk, strict=True))
    require(fits, f"{folder} has shards of {whole}, which are no whole number of chunks of {list(inner.chunk)}")
    index = tuple(read_step(codec) for codec in settings.get("index_codecs") or [{"name": "bytes"}])
    kept = tuple(step for step in index if step[0] != "bytes")
    require(all(name == "crc32c" for name, _ in kept), f"{folder} compresses the index of its shards: that is not read")
    return ChunkCoding(chunk, dtype, order, None, after, inner, kept, settings.get("index_location") == "start")


def check_differences(folder: Path, delta: Settings, alike: bool) -> None:
    """Refuse differences whose bytes do not lie as their codec states: zarr itself reads them as other values.

    Args:
        folder: Folder of the array, for the message.
        delta: Settings of the codec delta.
        alike: Whether the bytes of the differences lie in the order of their type.

    Raises:
        InputError: They do not, or the type of the values is big-endian, which types of version 3 are not.
    """
    plain = np.dtype(delta["dtype"])
    require(
        alike and plain == plain.newbyteorder("<"),
        f"{folder} stores differences (codec delta) in mixed byte orders, which is not read: write it in little-endian",
    )


def read_step(codec: Any) -> Step:
    """Return name and settings of a codec in metadata of version 3, where a name alone may stand for it."""
    named = codec if isinstance(codec, dict) else {"name": codec}
    return str(named.get("name")).removeprefix("numcodecs."), dict(named.get("configuration") or {})


def transpose_order(folder: Path, order: tuple[int, ...], axes: Any) -> tuple[int, ...]:
    """Return `order` after one more transposition; C and F are names of the two trivial ones.

    Args:
        folder: Folder of the array, for the message.
        order: Axes of the chunk so far.
        axes: What the metadata says.
    """
    plain = range(len(order))
    chosen: Any = {"C": list(plain), "F": list(plain)[::-1]}.get(str(axes), axes)
    require(isinstance(chosen, list) and sorted(chosen) == list(plain), f"{folder} transposes its axes by {axes!r}")
    return tuple(order[int(axis)] for axis in chosen)
