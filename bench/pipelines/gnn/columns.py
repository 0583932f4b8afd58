"""Graphs whose columns lie on the disk: tensors over memory-mapped files, read where rows are taken.

Nothing but the rows that were taken is in memory after `release_columns`. The values are those of the graph in memory.
"""

import weakref
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch_geometric.data import Data

from bench.arrays.rows import release
from bench.pipelines.scratch import open_scratch

ROWS = 1024  # of segments copied at a time
_MAPS = "_maps"  # of a graph: in its own dictionary, not among its tensors, so that batches do not look into it


def tie_scratch(owner: object, folder: Path) -> None:
    """Have a folder removed when `owner`, whose values lie there, is gone, or when the process ends."""
    weakref.finalize(owner, rmtree, folder, ignore_errors=True)


def store_columns(graph: Data, place: str | None) -> Data:
    """Move the tensors of a graph to files, one for each, that go with the graph that is returned.

    Args:
        graph: Graph in memory.
        place: As in `open_scratch`.

    Returns:
        The same graph over the files.

    Raises:
        InputError: The folder cannot be used.
        OSError: The disk is full.
    """
    folder = open_scratch(place)
    stored, maps = Data(), []
    tie_scratch(stored, folder)
    for name, tensor in graph.to_dict().items():
        values = tensor.numpy()
        if values.size > 0:  # an empty file cannot be mapped
            path = folder / f"{name}.bin"
            values.tofile(path)  # a full disk is an OSError here, and not a fault later
            values = np.memmap(path, values.dtype, "r+", shape=values.shape)
            maps.append(values)
        stored[name] = torch.from_numpy(values)
    stored.__dict__[_MAPS] = tuple(maps)
    return stored


def release_columns(graph: Data) -> None:
    """Hand back what a graph on the disk has in memory; a graph in memory is left alone."""
    for values in graph.__dict__.get(_MAPS, ()):
        release(values)


def is_on_disk(graph: Data) -> bool:
    """Return whether the columns of a graph lie in files."""
    return _MAPS in graph.__dict__


def map_scratch(shape: tuple[int, ...], dtype: DTypeLike, place: str | None) -> NDArray[Any]:
    """Return an array of zeros in a file that goes with the array.

    Args:
        shape: Shape of the array.
        dtype: Type of its values.
        place: As in `open_scratch`.
    """
    folder = open_scratch(place)
    mapped: Any = np.memmap(folder / "array.bin", dtype, "w+", shape=shape)
    tie_scratch(mapped, folder)
    return mapped  # type: ignore[no-any-return]


def copy_views(views: list[NDArray[np.int32]], place: str | None) -> NDArray[np.int32]:
    """Put segmentations one after the other, (V, *spatial), in a file that goes with the array.

    Args:
        views: Memory maps (*spatial), whose pages are handed back.
        place: As in `open_scratch`.
    """
    stacked = map_scratch((len(views), *views[0].shape), np.int32, place)
    for target, view in zip(stacked, views, strict=True):
        for start in range(0, len(view), ROWS):
            target[start : start + ROWS] = view[start : start + ROWS]
            release(view)
            release(stacked)
    return stacked
