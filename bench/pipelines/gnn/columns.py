"""Graphs whose columns lie on the disk: tensors over memory-mapped files, read where rows are taken.

Nothing but the rows that were taken is in memory after `release_columns`. The values are those of the graph in memory.
"""

import weakref
from collections.abc import Callable, Iterator
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor
from torch_geometric.data import Data

from bench.arrays.rows import cut_bands, release
from bench.arrays.scratch import Storage
from bench.pipelines.scratch import COPIED, map_scratch, open_scratch, remove_file, tie_scratch

ALIGNMENT = 64  # bytes, of the start of a column in a file that it shares
ROWS = 256  # of segments copied at a time
TAKEN = 1 << 11  # rows that are read in between
ENTRIES = 1 << 17  # of a column that are in memory at a time
_MAPS = "_maps"  # of a graph: in its own dictionary, not among its tensors, so that batches do not look into it
_FOLDER = "_folder"  # of its files
_PLACE = "_place"  # where what is as long as the graph is put


class _Maps(tuple[NDArray[Any], ...]):
    """The memory maps of a graph, which another process does not get: its graph is in memory."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Maps, ()


def store_columns(graph: Data, place: str | None) -> Data:
    """Move the tensors of a graph to a file that goes with the graph that is returned.

    Args:
        graph: Graph in memory.
        place: As in `open_scratch`.

    Returns:
        The same graph over the file.

    Raises:
        InputError: The folder cannot be used.
        OSError: The disk is full.
    """
    return pack_columns({name: tensor.numpy() for name, tensor in graph.to_dict().items()}, Storage(None), place)


def pack_columns(columns: dict[str, NDArray[Any]], storage: Storage, place: str | None) -> Data:
    """Move arrays to one file, since systems limit the number of open files, and return the graph over it.

    Args:
        columns: Arrays by name, which are taken out one after the other.
        storage: Where they lie; what they take there is freed.
        place: As in `open_scratch`.

    Returns:
        Graph of the arrays, with which the file goes.

    Raises:
        InputError: The folder cannot be used.
        OSError: The disk is full.
    """
    folder, kept = open_scratch(place), dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]()
    path = folder / "columns.bin"
    with path.open("wb") as file:  # a full disk is an OSError here, and not a fault later
        for name in list(columns):
            values = columns.pop(name)
            kept[name] = file.seek(-(-file.tell() // ALIGNMENT) * ALIGNMENT), values.dtype, values.shape
            flat = values.reshape(-1)
            for low, high in cut_bands(flat.shape, COPIED):
                flat[low:high].tofile(file)
                storage.release()
            storage.drop(values)
            del values, flat
    empty = path.stat().st_size == 0  # such a file cannot be mapped
    whole = np.empty(0, np.uint8) if empty else np.memmap(path, np.uint8, "r+")
    graph = Data()
    for name, (start, dtype, shape) in kept.items():
        own = whole[start : start + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
        graph[name] = torch.from_numpy(own)
    tie_scratch(graph, folder)
    graph.__dict__[_MAPS] = _Maps((whole,) if isinstance(whole, np.memmap) else ())
    graph.__dict__[_PLACE], graph.__dict__[_FOLDER] = place, folder
    return graph


def add_column(graph: Data, name: str, make: Callable[[Storage], NDArray[Any]]) -> None:
    """Add a tensor to a graph on the disk, in a file that goes with the graph; a copy of it keeps its own.

    Args:
        graph: The graph, or a shallow copy of one.
        name: Name of the tensor.
        make: Makes its values in the storage that is given.
    """
    folder: Path = graph.__dict__[_FOLDER]
    with Storage(folder) as storage:
        made = make(storage)
        place = next(path for number in count() if not (path := folder / f"{name}{number}.bin").exists())
        values = storage.keep(made, place)
    graph[name] = torch.from_numpy(values)
    if isinstance(values, np.memmap):
        graph.__dict__[_MAPS] = _Maps((*graph.__dict__[_MAPS], values))
        weakref.finalize(graph, remove_file, place)


def release_columns(*graphs: Data) -> None:
    """Hand back what graphs on the disk have in memory; graphs in memory are left alone."""
    for graph in graphs:
        for values in graph.__dict__.get(_MAPS, ()):
            release(values)


def make_rows(graph: Data, rows: int, dtype: DTypeLike, columns: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return zeros (rows, *columns) for something about a graph: in memory, or in a file if a long graph is.

    Args:
        graph: The graph.
        rows: As many as the graph has nodes, or edges.
        dtype: Type of the values.
        columns: Shape of a row.
    """
    if not is_on_disk(graph) or rows <= ENTRIES:
        return np.zeros((rows, *columns), dtype)
    return map_scratch((rows, *columns), dtype, graph.__dict__[_PLACE])


def take_rows(graph: Data, column: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a column of a graph; of a long one on the disk some at a time, as each takes a whole page.

    Args:
        graph: The graph.
        column: One of its tensors, (N, ...) or (E, ...).
        rows: Numbers of the rows, (R,).
    """
    if not is_on_disk(graph) or len(graph.x) <= ENTRIES or len(rows) <= TAKEN:
        return column[rows]
    taken = column.new_empty((len(rows), *column.shape[1:]))
    for low in range(0, len(rows), TAKEN):
        taken[low : low + TAKEN] = column[rows[low : low + TAKEN]]
        release_columns(graph)
    return taken


def walk_rows(graph: Data, *others: NDArray[Any], rows: int | None = None) -> Iterator[slice]:
    """Yield the rows of a graph in bands, whose pages are handed back after each.

    Args:
        graph: The graph.
        others: Further arrays of which bands are read or written.
        rows: Number of rows; None: that of the nodes.
    """
    count = len(graph.x) if rows is None else rows
    step = ENTRIES if is_on_disk(graph) else max(count, 1)
    for low in range(0, count, step):
        yield slice(low, min(low + step, count))
        release_columns(graph)
        for values in others:
            release(values)


def is_on_disk(graph: Data) -> bool:
    """Return whether the columns of a graph lie in files."""
    return len(graph.__dict__.get(_MAPS, ())) > 0


def count_stored(graph: Data) -> int:
    """Return the bytes of a graph that lie in files."""
    return sum(
        len(values._mmap) for values in graph.__dict__.get(_MAPS, ()) if getattr(values, "_mmap", None) is not None
    )


def copy_views(views: list[NDArray[np.int32]], place: str | None) -> NDArray[np.int32]:
    """Put segmentations one after the other, (V, *spatial), in a file that goes with the array.

    Args:
        views: Segments (*spatial); the pages of memory maps are handed back.
        place: As in `open_scratch`.
    """
    stacked = map_scratch((len(views), *views[0].shape), np.int32, place)
    for target, view in zip(stacked, views, strict=True):
        for start in range(0, len(view), ROWS):
            target[start : start + ROWS] = view[start : start + ROWS]
            release(view)
            release(stacked)
    return stacked
