"""Prepared graphs kept on disk: what was made of the same pixels, by the same code, under the same settings.

One file per image with all of its views, a plain `.npz` (nothing is pickled) that ends in its own SHA-256. It appears
whole or not at all; a damaged one is dropped and made again. With a graph its file keeps how long it took to make, and
rows report that.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source
from bench.arrays.rows import cut_bands
from bench.config import GraphConfig, InputError, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.files import fill_atomically
from bench.measure.machine import cpu_model, usable_cores
from bench.measure.memory import MemoryProbe
from bench.pipelines.origin import Origin
from bench.versions import graph_version

BAND_BYTES = 1 << 26  # hashed at once
STALE_SECONDS = 86400.0  # after which a file that nobody finished is taken for a dead process's

Array = NDArray[Any]


class GraphItem(Protocol):
    """What is kept: a graph, its segments and the counts worth a column."""

    @property
    def data(self) -> Any:
        """A `torch_geometric.data.Data` of tensors."""

    @property
    def segments(self) -> NDArray[np.int32]:
        """Superpixels (*spatial)."""

    @property
    def facts(self) -> dict[str, float]:
        """Columns of `runs` about the graph."""


Item = TypeVar("Item", bound=GraphItem)
Value = TypeVar("Value")
Made = TypeVar("Made", bound=GraphItem, covariant=True)


@dataclass(frozen=True)
class CacheEntry:
    """What a file holds: arrays, facts, and what making them took when it was done (seconds of wall time, bytes)."""

    arrays: Mapping[str, Array]
    facts: Mapping[str, float]
    seconds: float
    added_rss_bytes: int | None  # the process's peak above what it held before, at most


class Maker(Protocol[Made]):
    """Makes the items of a sample's views from its arguments alone: those and its module are what a key holds."""

    def __call__(
        self, sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task, /
    ) -> Sequence[Made]:
        """Make an item for each of `views`."""


class Cache(Generic[Item]):
    """Graphs below `graph.cache_dir`, made by `make` and put together by `kind(data, segments, facts)`.

    A sample has one file, with all of its views: they are made together, so that the time of one alone is not known.
    A key holds the pixels of image and mask, the settings, the task, the code, and the processor and its threads: the
    times that are kept would not be true of others. Raises `InputError` where the folder cannot be written.
    """

    def __init__(
        self,
        views: Sequence[SuperpixelsConfig],
        graph: GraphConfig,
        task: Task,
        make: Maker[Item],
        kind: Callable[[Any, NDArray[np.int32], dict[str, float]], Item],
    ) -> None:
        self.settings, self.make, self.kind = (tuple(views), graph, task), make, kind
        self.folder = None if graph.cache_dir is None else _open_folder(Path(graph.cache_dir))

    def prepare(self, sample: Sample) -> list[Item]:
        """Return the items of a sample, one for each view, made now or read from the cache.

        With a cache, image and mask are read whole, once, and the facts of the items tell where they come from: those
        of `Origin`, in which every view has an equal share of the seconds.
        """
        if self.folder is None:
            return list(self.make(sample, *self.settings))
        started, held = time.perf_counter(), MemoryProbe().rss()
        whole = Sample(sample.name, np.asarray(sample.image), np.asarray(sample.mask))
        read = time.perf_counter() - started
        path = self.folder / f"{self.key(whole)}.npz"
        entry = load_entry(path)
        if entry is None:
            return self._make(path, whole, read, started, held)
        views = range(len(self.settings[0]))
        graphs = [_data(_select(entry.arrays, f"{_prefix(view)}data.")) for view in views]
        reached = None if entry.added_rss_bytes is None else held + entry.added_rss_bytes
        origin = _share(Origin(1.0, entry.seconds, time.perf_counter() - started, reached), len(views))
        return [
            self.kind(data, entry.arrays[f"{_prefix(view)}segments"], {**_select(entry.facts, _prefix(view)), **origin})
            for view, data in zip(views, graphs, strict=True)
        ]

    def _make(self, path: Path, sample: Sample, read: float, started: float, held: int) -> list[Item]:
        begun = time.perf_counter()
        items = list(self.make(sample, *self.settings))
        seconds, peak = read + time.perf_counter() - begun, MemoryProbe().peak()
        arrays: dict[str, Array] = {}
        facts: dict[str, float] = {}
        for view, item in enumerate(items):
            named = {"segments": item.segments, **{f"data.{name}": array for name, array in _arrays(item.data).items()}}
            arrays |= {_prefix(view) + name: array for name, array in named.items()}
            facts |= {_prefix(view) + name: value for name, value in item.facts.items()}
        entry = CacheEntry(arrays, facts, seconds, None if peak is None else peak.rss_bytes - held)
        try:
            store_entry(path, entry)
        except OSError as error:
            raise _refuse_folder(path.parent, error) from error
        reached = None if peak is None else peak.rss_bytes
        origin = _share(Origin(0.0, seconds, time.perf_counter() - started, reached), len(items))
        return [self.kind(item.data, item.segments, {**item.facts, **origin}) for item in items]

    def key(self, sample: Sample) -> str:
        """Return the name of the file of a sample, without its ending."""
        from bench.arrays.threads import count_threads

        views, graph, task = self.settings
        settings = [[asdict(view) for view in views], {**asdict(graph), "cache_dir": None, "scratch_dir": None}]
        classes = [task.num_classes, task.in_channels, task.spatial_axes, task.ignore_index]
        machine = [cpu_model(), usable_cores(), count_threads()]
        pixels = [hash_pixels(sample.image), hash_pixels(sample.mask)]
        identity = json.dumps([settings, classes, machine, pixels, graph_version()], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:40]


def _prefix(view: int) -> str:
    """What the names of a view's arrays and facts begin with in a file: those of the first are bare."""
    return f"view{view}." if view else ""


def _select(named: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """Return what bears a prefix, without it; what follows has no further prefix."""
    rest = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    return {name: value for name, value in rest.items() if "." not in name}


def _share(origin: Origin, views: int) -> dict[str, float]:
    """Return what one of several views tells of the origin of all."""
    parts = replace(origin, made_seconds=origin.made_seconds / views, spent_seconds=origin.spent_seconds / views)
    return parts.facts()


def _open_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
    except OSError as error:
        raise _refuse_folder(folder, error) from error
    return folder


def _refuse_folder(folder: Path, error: OSError) -> InputError:
    return InputError(f"graph.cache_dir {folder} cannot be used ({error.strerror or error}): name a folder to write to")


# -------------------------------------------------------------------------------------------------------------- keys


def hash_pixels(source: Source, band_bytes: int = BAND_BYTES) -> str:
    """Return a hash of shape, type and values, read in bands of about `band_bytes` bytes along the first axis."""
    digest = hashlib.sha256(repr((tuple(source.shape), np.dtype(source.dtype).str)).encode())
    for start, stop in cut_bands(source.shape, band_bytes // source.dtype.itemsize):
        digest.update(np.ascontiguousarray(source[start:stop]).data)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------------- files


class _Sealed:
    """A file that is written once, from front to back, and ends in the hash of all that was written."""

    def __init__(self, path: Path) -> None:
        self._file, self._digest = path.open("xb"), hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write bytes and count them in the hash; returns their number."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file; without `seal` it lacks its hash, and so counts as incomplete."""
        self._file.close()

    def seal(self) -> None:
        """Write the SHA-256 (32 bytes) of all that was written, as the end of the file."""
        self._file.write(self._digest.digest())


def store_entry(path: Path, entry: CacheEntry) -> None:
    """Write a file that is there whole or not at all, whoever else writes it and whenever this process dies."""
    about = {"facts": dict(entry.facts), "seconds": entry.seconds, "added_rss_bytes": entry.added_rss_bytes}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with fill_atomically(path) as temporary, closing(_Sealed(temporary)) as sealed:
        with zipfile.ZipFile(sealed, "w", compresslevel=1) as archive:
            for name, array in (*entry.arrays.items(), ("about", text)):
                archive.compression = zipfile.ZIP_DEFLATED if array.dtype.kind in "iu" else zipfile.ZIP_STORED
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        sealed.seal()


def load_entry(path: Path) -> CacheEntry | None:
    """Return what `store_entry` wrote; None where there is nothing. A file whose hash does not match is removed."""
    if not path.exists():
        return None
    try:
        if not intact(path):
            path.unlink(missing_ok=True)
            return None
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:  # another process found it damaged
        return None
    about = json.loads(arrays.pop("about").tobytes())
    return CacheEntry(arrays, about["facts"], about["seconds"], about["added_rss_bytes"])


def intact(path: Path) -> bool:
    """Return whether a file ends in the SHA-256 of what comes before."""
    digest, left = hashlib.sha256(), path.stat().st_size - 32
    with path.open("rb") as file:
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        return left == 0 and file.read() == digest.digest()


def _remove_stale(folder: Path) -> None:
    """Files of processes that were killed while they wrote; those of living ones are younger."""
    for path in folder.glob(".*.partial"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


# ------------------------------------------------------------------------------------------------- graphs as arrays


def _arrays(data: Any) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in data.to_dict().items()}


def _data(arrays: Mapping[str, Array]) -> Any:
    import torch
    from torch_geometric.data import Data

    return Data(**{name: torch.from_numpy(array) for name, array in arrays.items()})
