"""One image of any size through a trained arm: opened, scaled as in training, predicted in blocks, written whole."""

import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from bench.arms import ARMS
from bench.config import CnnConfig, Config, InputError, ParallelConfig, require, require_one_of
from bench.datasets.examine import examine
from bench.datasets.files import Arranged, Layout, Scaled
from bench.datasets.opening import open_image
from bench.datasets.sample import Task
from bench.datasets.stored import Header, Opened
from bench.files import name_temporary
from bench.measure.memory import MemoryProbe
from bench.pipelines.protocol import Pipeline
from bench.pipelines.registry import build_pipeline
from bench.predict import outputs
from bench.predict.outputs import Meaning
from bench.predict.run_directory import FinishedRun, read_run
from bench.progress import Progress

Show = Callable[[str], AbstractContextManager[Callable[[float], None]]]


@dataclass
class PredictConfig:
    """Settings of `python -m bench predict`."""

    run: str = ""  # directory of a finished run
    image: str = ""  # an image of any kind that is read, a folder of them, or a pattern such as 'slides/*.tif'
    out: str = ""  # .zarr, .ome.zarr, .tif or .ome.tif; for several images a folder
    format: str = "tif"  # of the masks in a folder
    overwrite: bool = False  # replace masks that are there already
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    scratch: str | None = None  # folder for what is as large as the image; null: beside out
    channel_axis: int | None = None  # of the array in the file; null: as in the run, else what the file says
    max_pixels: int = 1 << 30  # values that may be decoded at once
    parallel: ParallelConfig = field(default_factory=ParallelConfig)  # several images at once

    def __post_init__(self) -> None:
        for name in ("run", "image", "out"):
            require(
                getattr(self, name) != "", f"predict needs {name}=: python -m bench predict run=... image=... out=..."
            )
        require_one_of("format", self.format, tuple(suffix[1:] for suffix in outputs.SUFFIXES))
        require(self.max_pixels >= 1, f"max_pixels must be at least 1, got {self.max_pixels}")


@dataclass(frozen=True)
class Work:
    """One image to be predicted; picklable."""

    run: Path
    image: Path
    out: Path
    settings: PredictConfig


@dataclass(frozen=True)
class Done:
    """What one prediction was: pixels, seconds, and the peak of the process's resident memory in bytes, if known."""

    out: Path
    pixels: int
    seconds: float
    peak_bytes: int | None

    def __str__(self) -> str:
        peak = "" if self.peak_bytes is None else f", peak memory {self.peak_bytes / 2**20:.0f} MiB"
        return f"{self.out}: {self.pixels} pixels in {self.seconds:.1f} s{peak}"


def opened(work: Work, run: FinishedRun) -> Opened:
    return open_image(work.image, axis_of(work, run), work.settings.max_pixels)


def axis_of(work: Work, run: FinishedRun) -> int | None:
    """The channel axis that was given, else the one of the run's own data set."""
    given = work.settings.channel_axis
    return getattr(run.config.dataset, "channel_axis", None) if given is None else given


def layout_of(path: Path, header: Header, task: Task, channel_axis: int | None) -> Layout:
    """Where the channels of a new image are. Raises `InputError` where it is not of the run's kind."""
    shape, axes, channels = header.shape, task.spatial_axes, task.in_channels
    wanted = f"the run was trained on images of {axes} spatial axes and {channels} channel{'s' * (channels > 1)}"
    if len(shape) == axes:
        require(channels == 1, f"{path} has the shape {shape} and no channels, and {wanted}")
        return Layout(None, False)
    require(len(shape) == axes + 1, f"{path} has the shape {shape}, and {wanted}")
    stated = header.channel_axis if channel_axis is None else channel_axis
    axis = len(shape) - 1 if stated is None else stated
    require(-len(shape) <= axis < len(shape), f"channel_axis={axis} does not exist in {path}, whose shape is {shape}")
    axis %= len(shape)
    found = shape[axis] - header.alpha
    fitting = [other for other in range(len(shape)) if shape[other] == channels and other != axis]
    advice = f": set channel_axis={fitting[0]}" if fitting else ""
    require(
        found == channels, f"{path} has the shape {shape} with {found} channels on axis {axis}, and {wanted}{advice}"
    )
    return Layout(axis, header.alpha)


def predict_one(work: Work, progress: Show | None = None) -> Done:
    """Predict one image and write its mask, whole or not at all."""
    started = time.perf_counter()
    memory = MemoryProbe()
    memory.reset()
    run, pipeline = loaded(work.run, work.settings.device)
    file = opened(work, run)
    stored = Arranged(file.array, layout_of(work.image, file.header, run.task, axis_of(work, run)))
    outputs.clear_stale(work.out)
    with failing_in_words(work), scratch_for(work, run, stored.shape) as scratch:
        scaling = run.normalization.scaling(stored.dtype, examine(work.image, stored))
        image, shape = Scaled(stored, scaling), stored.shape[:-1]
        shown = (progress or show_progress)(work.image.name)
        with outputs.writing(work.out, shape, meaning_of(file, run.task, stored.layout), scratch) as out, shown as show:
            pipeline.predict_into(image, out, scratch, show)
    peak = memory.peak()
    seconds = time.perf_counter() - started
    return Done(work.out, prod(shape), seconds, None if peak is None else peak.rss_bytes)


@lru_cache(maxsize=1)
def loaded(directory: Path, device: str) -> tuple[FinishedRun, Pipeline[Any]]:
    """A run and its pipeline with the weights of its checkpoint, ready to predict."""
    # torch_geometric uses it while it is imported; nothing that a user could mend
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
    run = read_run(directory)
    config = replace(without_download(run.config), device=device)
    pipeline = build_pipeline(config, run.task)
    pin(config)
    try:
        pipeline.load(run.checkpoint)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{run.checkpoint} cannot be loaded into {config.pipeline.name}: {reason}") from error
    return run, pipeline


def without_download(config: Config) -> Config:
    """The same settings, but an encoder starts from nothing: the checkpoint holds its weights."""
    model = getattr(config.pipeline, "model", None)
    if not isinstance(model, CnnConfig):
        return config
    pipeline: Any = config.pipeline
    return replace(config, pipeline=replace(pipeline, model=replace(model, encoder_weights=None, weights_file=None)))


def pin(config: Config) -> None:
    """The settings of torch under which the run was trained; nothing for an arm without torch."""
    if "torch" in sys.modules:
        from bench.measure.environment import pin_torch
        from bench.measure.machine import default_threads

        pin_torch(config.measure.threads or default_threads())


def meaning_of(file: Opened, task: Task, layout: Layout) -> Meaning:
    """Classes, and pixel sizes and units of the spatial axes."""
    axis = layout.channel_axis
    sizes, units = file.pixel_size, file.units
    if axis is not None:
        sizes = None if sizes is None else (*sizes[:axis], *sizes[axis + 1 :])
        units = None if units is None else (*units[:axis], *units[axis + 1 :])
    return Meaning(task.class_names, sizes, units)


@contextmanager
def scratch_for(work: Work, run: FinishedRun, shape: Sequence[int]) -> Iterator[Path]:
    """A folder of its own for this image, removed afterwards. Raises `InputError` where the disk is too small."""
    place = work.out.parent if work.settings.scratch is None else Path(work.settings.scratch)
    require(place.is_dir(), f"scratch={place} is not a folder")
    needed = scratch_bytes(run, shape)
    free = shutil.disk_usage(place).free
    require(
        needed <= free,
        f"{place} has {free / 2**30:.1f} GiB free, and {work.image} needs about {needed / 2**30:.1f} GiB while it is "
        "predicted: make room, or give scratch= on another disk",
    )
    if work.settings.scratch is None:
        folder = name_temporary(work.out, "scratch")
        folder.mkdir()
    else:
        folder = Path(tempfile.mkdtemp(prefix="gnn-vs-cnn-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_bytes(run: FinishedRun, shape: Sequence[int]) -> int:
    """What an image takes on the disk for a while, in bytes: its mask; for superpixels a smoothed image and all ids."""
    pixels = prod(shape[:-1])
    superpixels = ARMS[run.config.pipeline.name].uses_superpixels
    return pixels * (1 + superpixels * (8 + 4 * shape[-1] + 4 * (run.config.superpixels.views - 1)))


@contextmanager
def failing_in_words(work: Work) -> Iterator[None]:
    """Turn what a user can mend into an `InputError`: a full disk, a method that needs all of the image in memory."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{work.out} cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, InputError) or not str(error).startswith("superpixels."):
            raise
        raise InputError(str(error)) from error


@contextmanager
def show_progress(description: str) -> Iterator[Callable[[float], None]]:
    """Yield the function that shows on standard error the share of the work that is done."""
    with Progress(description) as bar:
        yield bar.show


@contextmanager
def silent(description: str) -> Iterator[Callable[[float], None]]:
    """No progress, for those who work beside others."""
    del description
    yield lambda _: None
