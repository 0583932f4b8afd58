"""Images to superpixels. A method is a file with a function (image, settings) -> segments, and an entry here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.config import SuperpixelsConfig, require, require_one_of


@dataclass(frozen=True)
class Method:
    """A superpixel method.

    Attributes:
        function: `module:function`, imported when the method is chosen. It takes an image (*spatial, C) float32 and a
            `SuperpixelsConfig`, if `banded` also a scratch folder and a number of rows, and returns int32 (*spatial).
        axes: Numbers of spatial axes that it can segment.
        banded: Whether it can work on a band of rows at a time, so that the image need not fit in memory.
        several: `module:function` that takes a sequence of settings that differ in the number of segments alone, and
            yields the segments of each: what they share is done once. Empty where they share nothing.
    """

    function: str
    axes: tuple[int, ...] = (2, 3)
    banded: bool = False
    several: str = ""

    def load(self) -> Any:
        """Import the method's module and return its function."""
        return _load(self.function)


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)


SUPERPIXELS: dict[str, Method] = {
    "slic": Method("bench.superpixels.slic:slic", banded=True, several="bench.superpixels.slic:slic_views"),
    "grid": Method("bench.superpixels.grid:segment_grid", banded=True),
    "skimage_slic": Method("bench.superpixels.skimage_slic:skimage_slic"),
    "felzenszwalb": Method("bench.superpixels.felzenszwalb:felzenszwalb"),
    "compact_watershed": Method("bench.superpixels.compact_watershed:compact_watershed"),
}


def segment(
    image: Readable, config: SuperpixelsConfig, scratch: Path | None = None, rows: int | None = None
) -> NDArray[np.int32]:
    """Segment an image into superpixels by the method that `config.method` names.

    Args:
        image: (*spatial, C) with 2 or 3 spatial axes, of any scale; an array, or what is read by slices of rows.
        config: Method and its settings.
        scratch: Folder for what is as large as the image; None keeps all in memory, and so do methods that are not
            `banded`, however large it is.
        rows: About how many rows of the first axis are in memory at a time; None leaves that to the method.

    Returns:
        Segments (*spatial) int32 with ids 0..N-1, all used, each connected by faces; with `scratch`, of a banded
        method, a read-only memory map in that folder. Neither `scratch` nor `rows` changes them.

    Raises:
        InputError: There is no such method, or one that needs the whole image returned ids that are not 0..N-1.
        ValueError: The image has another number of axes than the method can segment, an empty axis or a value that is
            not finite.
    """
    require_one_of("superpixels.method", config.method, tuple(SUPERPIXELS))
    method, axes = SUPERPIXELS[config.method], len(image.shape) - 1
    if axes not in (2, 3) or 0 in image.shape:
        raise ValueError(f"image must be (*spatial, C) with 2 or 3 spatial axes and no empty axis, got {image.shape}")
    if axes not in method.axes:
        able = ", ".join(name for name, other in SUPERPIXELS.items() if axes in other.axes)
        raise ValueError(f"superpixels.method {config.method} cannot segment images of {axes} axes: use one of {able}")
    whole = np.asarray(image, np.float32) if (scratch is None and rows is None) or not method.banded else image
    arguments = (whole, config, scratch, rows) if method.banded else (whole, config)
    found = cast(NDArray[np.int32], method.load()(*arguments))
    if not method.banded:
        check_ids(config.method, found, image.shape[:-1])
    return found


def are_contiguous(segments: NDArray[np.integer]) -> bool:
    """Return whether ids are 0..N-1 and each of them is used."""
    fitting = segments.min() >= 0 and segments.max() < segments.size
    return bool(fitting and np.bincount(segments.ravel()).all())


def check_ids(method: str, segments: NDArray[np.integer], shape: Sequence[int]) -> None:
    """Raise InputError where a method returned what compiled code would not notice.

    Args:
        method: Its name.
        segments: What it returned.
        shape: Shape (*spatial) of the image.
    """
    wanted = f"superpixels.method={method} must return int32 ids 0..N-1, all used, of the shape {tuple(shape)}"
    require(
        segments.shape == tuple(shape) and segments.dtype == np.int32,
        f"{wanted}: it returned {segments.dtype} of {segments.shape}",
    )
    require(
        are_contiguous(segments),
        f"{wanted}: its ids go from {segments.min()} to {segments.max()}, and not all of them are used",
    )


def segment_views(
    image: Readable, views: Sequence[SuperpixelsConfig], scratch: Path | None = None
) -> Iterator[NDArray[np.int32]]:
    """Segment an image by several settings that differ in the size of the segments, as `views.list_views` makes them.

    Args:
        image: As in `segment`.
        views: Settings of each segmentation.
        scratch: As in `segment`.

    Yields:
        The segments of each, to the bit those of `segment`; a method that can reads and smooths the image once.

    Raises:
        InputError, ValueError: As `segment`.
    """
    method = SUPERPIXELS.get(views[0].method)
    usable = len(image.shape) - 1 in (method.axes if method else ()) and 0 not in image.shape  # else `segment` refuses
    if len(views) == 1 or method is None or not method.several or not usable:
        yield from (segment(image, view, scratch) for view in views)
        return
    whole = np.asarray(image, np.float32) if scratch is None else image
    yield from _load(method.several)(whole, views, scratch)


def warm_up_segmentation(ndim: int, channels: int, config: SuperpixelsConfig | None = None) -> None:
    """Compile the kernels that `segment` needs.

    Args:
        ndim: Number of spatial axes.
        channels: Number of channels.
        config: Method and its settings; None: those of the default method.
    """
    noise = np.random.default_rng(0).random((8,) * ndim + (channels,), np.float32)  # with small pieces to be joined
    given = SuperpixelsConfig() if config is None else config
    segment(noise, replace(given, superpixel_size=16.0, n_segments=None, compactness=1e-3), rows=2)  # bands have seams
