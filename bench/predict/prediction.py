"""One image of any size through a trained arm: opened, scaled as in training, predicted in blocks, written whole."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from bench.arrays.protocols import PlaneOf, Readable, Source, Writable
from bench.config import MAX_PIXELS, FolderConfig, InputError, ParallelConfig, require, require_one_of, require_spacing
from bench.console.progress import Progress
from bench.datasets.axes import check_volume
from bench.datasets.channel_names import compare_channels
from bench.datasets.examine import examine
from bench.datasets.files import Arranged, Layout, Scaled
from bench.datasets.inspection import select_pixel_size
from bench.datasets.opening import open_image
from bench.datasets.sample import Task
from bench.datasets.stored import Header, Opened
from bench.files import fill_atomically, remove
from bench.measure.memory import MemoryProbe
from bench.pipelines.protocol import Pipeline, Probabilistic
from bench.predict import outputs
from bench.predict.loading import load_run
from bench.predict.meaning import Meaning, describe_mask
from bench.predict.png_files import write_overlay
from bench.predict.run_directory import FinishedRun, read_run
from bench.predict.scratch import estimate_scratch, make_scratch
from bench.predict.voxels import choose_spacing, describe_difference

Show = Callable[[str], AbstractContextManager[Callable[[float], None]]]


@dataclass
class PredictConfig:
    """Settings of `python -m bench predict`."""

    run: str = ""  # directory of a finished run, or a results folder: of that, the best run by its validation score
    image: str = ""  # an image of any kind that is read, a folder of them, or a pattern such as 'slides/*.tif'
    out: str = ""  # mask to be: .tif, .ome.tif, .zarr, .ome.zarr or .png; or a folder for masks, made where needed
    format: str = "tif"  # of the masks in a folder: tif | ome.tif | zarr | ome.zarr | png
    overlay: bool = False  # also write the image with its classes in colour, as NAME.overlay.png beside the mask
    probabilities: bool = False  # also write NAME.probabilities of the classes, (classes, rows, columns), beside it
    pipeline: str | None = None  # with a results folder: only runs of this arm
    dataset: str | None = None  # with a results folder: only runs on this data set
    overwrite: bool = False  # replace masks that are there already
    skip_existing: bool = False  # leave images alone whose masks, and what is to lie beside them, are there already
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    scratch: str | None = None  # folder for what is as large as the image; null: beside out
    channel_axis: int | None = None  # of the array in the file; null: as in the run, else what the file says
    spacing: list[float] | None = None  # length of a pixel along each axis; null: what the file says, else as trained
    max_pixels: int = MAX_PIXELS  # values that may be decoded at once
    parallel: ParallelConfig = field(default_factory=ParallelConfig)  # several images, or the tiles of one, at once

    def __post_init__(self) -> None:
        for name in ("run", "image", "out"):
            require(
                getattr(self, name) != "", f"predict needs {name}=: python -m bench predict run=... image=... out=..."
            )
        require_one_of("format", self.format, tuple(suffix[1:] for suffix in outputs.SUFFIXES))
        require(self.max_pixels >= 1, f"max_pixels must be at least 1, got {self.max_pixels}")
        require_spacing("spacing", self.spacing)


@dataclass(frozen=True)
class Work:
    """One image to be predicted; picklable."""

    run: Path
    image: Path
    out: Path
    settings: PredictConfig

    @property
    def outs(self) -> list[Path]:
        """Everything that is written, the mask first."""
        beside = [outputs.name_overlay(self.out)] if self.settings.overlay else []
        beside += [outputs.name_probabilities(self.out)] if self.settings.probabilities else []
        return [self.out, *beside]

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do: files take their names when they are whole, and the mask takes its last."""
        return self.settings.skip_existing and all(out.exists() for out in self.outs)


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


def open_work(work: Work, run: FinishedRun, plane: int | None = None) -> tuple[Opened, Layout]:
    """Open the image of a piece of work; its values are decoded when they are read.

    Args:
        work: The image and the settings.
        run: The run that is to predict it.
        plane: Index of the plane of a stack that is meant; None: all that the file holds.

    Returns:
        The image, and where its channels are.

    Raises:
        InputError: It cannot be read, or is not of the run's kind.
    """
    stated = choose_channel_axis(work, run)
    opened = open_image(work.image, stated, work.settings.max_pixels, plane)
    # of a plane `open_image` has found the channels
    layout = find_channels(work.image, opened.header, run.task, stated if plane is None else None)
    run.normalization.check_type(opened.array.dtype, str(work.image))
    return opened, layout


def list_planes(work: Work, run: FinishedRun) -> list[int | None]:
    """Return the planes of a stack, which a run with `dataset.planes=true` sees one by one; [None] of another image.

    Raises `InputError` for an image that is neither of the run's kind nor a stack of such images.
    """
    try:
        open_work(work, run)
        return [None]
    except InputError:
        if not (isinstance(run.config.dataset, FolderConfig) and run.config.dataset.planes):
            raise
    opened, _ = open_work(work, run, plane=0)
    return list(range(opened.planes)) if opened.planes else [None]


def choose_channel_axis(work: Work, run: FinishedRun) -> int | None:
    """Return the channel axis that was given, else the one of the run's own data set."""
    given = work.settings.channel_axis
    return getattr(run.config.dataset, "channel_axis", None) if given is None else given


def check_work(work: Work, run: FinishedRun) -> None:
    """Refuse, before any work, an image that is not of the run's kind and a place that cannot take its mask.

    Args:
        work: An image, the place of its mask and the settings.
        run: The run that is to predict it.

    Raises:
        InputError: The sentence names the file or the setting.
    """
    settings, flat = work.settings, run.task.spatial_axes == 2
    require(flat or not settings.overlay, "overlay=true is for images of two axes, and the run is one of volumes")
    if outputs.find_suffix(work.out) == ".png":
        require(flat, f"out={work.out} holds one plane, and the run is one of volumes: choose .tif or .zarr")
        require(len(run.task.class_names) <= 256, f"out={work.out} holds at most 256 classes: choose .tif or .zarr")
    stopped = settings.skip_existing and not work.out.exists()
    for out in work.outs:
        outputs.check_name(out, settings.overwrite or stopped or work.is_finished)
    if work.is_finished:
        return
    if list_planes(work, run) != [None]:
        require(not settings.overlay, f"overlay=true is for single images, and {work.image} is a stack of planes")
        png = outputs.find_suffix(work.out) == ".png"
        require(not png, f"out={work.out} holds one plane, and {work.image} is a stack: choose .tif or .zarr")


def find_channels(path: Path, header: Header, task: Task, channel_axis: int | None) -> Layout:
    """Find the channels of a new image.

    Args:
        path: The image, for sentences.
        header: Shape and channels as the file has them.
        task: Spatial axes and channels of the run's images.
        channel_axis: Axis of the channels in the file; None means what the file says, else the last.

    Returns:
        Where the channels are.

    Raises:
        InputError: The image is not of the run's kind.
    """
    shape, axes, channels = header.shape, task.spatial_axes, task.in_channels
    wanted = f"the run was trained on images of {axes} spatial axes and {channels} channel{'s' * (channels > 1)}"
    if len(shape) == axes:
        advice = "where each channel is a file of its own, put them into one file (docs/your-images.md)"
        require(channels == 1, f"{path} has the shape {shape} and no channels, and {wanted}: {advice}")
        check_volume(path, shape, header.channel_axis)
        return Layout(None, False)
    require(len(shape) == axes + 1, f"{path} has the shape {shape}, and {wanted}")
    stated = header.channel_axis if channel_axis is None else channel_axis
    axis = len(shape) - 1 if stated is None else stated
    require(-len(shape) <= axis < len(shape), f"channel_axis={axis} does not exist in {path}, whose shape is {shape}")
    axis %= len(shape)
    found = shape[axis] - header.alpha
    fitting = [other for other in range(len(shape)) if shape[other] == channels and other != axis]
    advice = f": set channel_axis={fitting[0]}" if fitting else ""
    if stated is None and not fitting and channels == 1 and axes == 2:
        advice = ": of a stack, save each plane as an image, or take a run that was trained with dataset.planes=true"
    require(
        found == channels, f"{path} has the shape {shape} with {found} channels on axis {axis}, and {wanted}{advice}"
    )
    return Layout(axis, header.alpha)


def predict_one(
    work: Work, progress: Show | None = None, adapt: Callable[[Pipeline[Any], Work], Any] = lambda pipeline, _: pipeline
) -> Done:
    """Predict one image and write its mask, whole or not at all.

    Args:
        work: The image, the place of its mask and the settings.
        progress: Makes what shows the share that is done; None means a bar or lines on standard error.
        adapt: Returns what predicts in place of the trained arm, as `bench.predict.divided.divide_pipeline`.

    Returns:
        What it took.

    Raises:
        InputError: The image or a setting cannot be used, or the disk is full.
    """
    started = time.perf_counter()
    memory = MemoryProbe()
    memory.reset()
    settings, run = work.settings, read_run(work.run)
    planes = list_planes(work, run)
    file, layout = open_work(work, run, planes[0])
    spacing = choose_spacing(settings.spacing, select_pixel_size(file, layout)[0], run.task)
    run, pipeline = load_run(work.run, settings.device, spacing)
    name, able = run.config.pipeline.name, isinstance(pipeline, Probabilistic)
    require(able or not settings.probabilities, f"probabilities=true: {name} does not say how probable a class is")
    flat = Arranged(file.array, layout).shape
    shape = flat if planes == [None] else (len(planes), *flat)
    needed = estimate_scratch(run.config, shape, len(run.task.class_names), settings.probabilities)
    with explain_prediction(work), make_scratch(work.out, settings.scratch, needed) as scratch:
        meaning = describe_mask(file, run.task, layout, planes != [None], settings.spacing)
        images = open_images(work, run, planes)
        notes = describe_difference(name, spacing, run.task), compare_channels(work.image, file.channel_names, run.task)
        for note in filter(None, notes):
            print(f"note: {work.image} {note}", file=sys.stderr, flush=True)
        with (progress or show_progress)(work.image.name) as show:
            write_outputs(work, adapt(pipeline, work), images, shape[:-1], meaning, scratch, show)
    peak, pixels = memory.peak(), prod(shape[:-1])
    return Done(work.out, pixels, time.perf_counter() - started, None if peak is None else peak.rss_bytes)


def open_images(work: Work, run: FinishedRun, planes: Sequence[int | None]) -> Iterator[tuple[Readable, Source]]:
    """Yield each image that a run predicts at once, (*spatial, C): as stored, and as scaled for the arm.

    Args:
        work: The file and the settings.
        run: The run.
        planes: As `list_planes` gives them; every plane is scaled as an image of its own, as in training.
    """
    for plane in planes:
        file, layout = open_work(work, run, plane)
        stored = Arranged(file.array, layout)
        yield stored, Scaled(stored, run.normalization.scaling(stored.dtype, examine(work.image, stored)))


def write_outputs(
    work: Work,
    pipeline: Pipeline[Any],
    images: Iterable[tuple[Readable, Source]],
    shape: tuple[int, ...],
    meaning: Meaning,
    scratch: Path,
    show: Callable[[float], None],
) -> None:
    """Predict and write the mask and what is to lie beside it; the mask takes its name last.

    Args:
        work: Where the mask goes, and the settings.
        pipeline: The trained arm.
        images: The image (*spatial, C) as stored and as scaled for the arm; of a stack each plane.
        shape: Of the mask, (*spatial), planes first.
        meaning: Classes, pixel sizes and units.
        scratch: Folder for what is as large as the image.
        show: Receives the share that is done, in [0, 1].
    """
    settings, place = work.settings, outputs.name_probabilities(work.out)
    with ExitStack() as stack:
        mask = stack.enter_context(outputs.write_mask(work.out, shape, meaning, scratch))
        shares = None
        if settings.probabilities:
            shares = stack.enter_context(outputs.write_probabilities(place, shape, meaning, scratch))
        for number, (stored, scaled) in enumerate(images):
            if len(stored.shape) > len(shape):
                predict_part(pipeline, scaled, (mask, shares), scratch, show)
            else:
                planes = (PlaneOf(mask, 0, number), None if shares is None else PlaneOf(shares, 1, number))
                predict_part(pipeline, scaled, planes, scratch, partial(show_plane, show, number, shape[0]))
        if settings.overlay:
            temporary = stack.enter_context(fill_atomically(outputs.name_overlay(work.out)))
            write_overlay(temporary, stored, mask)


def predict_part(
    pipeline: Pipeline[Any],
    image: Source,
    into: tuple[Writable, Writable | None],
    scratch: Path,
    show: Callable[[float], None],
) -> None:
    """Predict an image, or one plane of a stack, in a folder of its own below the scratch folder.

    Args:
        pipeline: The trained arm.
        image: Scaled for the arm, (*spatial, C).
        into: Receives the classes (*spatial), and the probabilities (K, *spatial) if not None.
        scratch: Folder for what is as large as the image.
        show: Receives the share that is done, in [0, 1].
    """
    (mask, shares), folder = into, scratch / "part"
    folder.mkdir()
    try:
        if shares is None:
            pipeline.predict_into(image, mask, folder, show)
        else:
            assert isinstance(pipeline, Probabilistic)
            pipeline.predict_probabilities(image, mask, shares, folder, show)
    finally:
        remove(folder)


def show_plane(show: Callable[[float], None], number: int, planes: int, share: float) -> None:
    """Show the share of all planes that is done.

    Args:
        show: Receives the share of the whole, in [0, 1].
        number: Index of the plane at work.
        planes: Number of planes.
        share: What is done of this one, in [0, 1].
    """
    show((number + share) / planes)


@contextmanager
def explain_prediction(work: Work) -> Iterator[None]:
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
def hide_progress(description: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that shows nothing, for those who work beside others."""
    del description
    yield lambda _: None
