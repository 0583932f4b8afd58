"""One reading of an image and its mask: everything that is checked, mapped, scaled or reported follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import FolderConfig, require
from bench.datasets.axes import check_volume
from bench.datasets.examine import Intensities, measure_intensities
from bench.datasets.files import Arranged, Joined, Layout, StoredImage
from bench.datasets.manifest import Manifest, ManifestEntry
from bench.datasets.masks import Count, StoredMask, check_transparency, count_numbers, open_mask
from bench.datasets.normalization import Moments
from bench.datasets.opening import open_image
from bench.datasets.stored import Colours, Names, Opened
from bench.datasets.strips import Strip
from bench.datasets.zarr_files import count_absent

MOST_CHANNELS = 8  # above which an axis is as likely one of planes
METRES = {
    "angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3, "centimeter": 1e-2, "meter": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Inspected:
    """What one reading of an image and its mask has found."""

    entry: ManifestEntry
    layout: Layout
    shape: tuple[int, ...]  # (*spatial, C)
    dtype: np.dtype[Any]  # of the stored image
    intensities: Intensities
    numbers: dict[int, Count]  # that occur in the mask, sorted
    palette: Colours  # of the mask
    white_is_zero: bool  # the mask
    turned: bool  # an orientation tag turned the image
    sources: tuple[Path, ...]  # every file or folder that pixels come from, the mask's last
    absent: int = 0  # chunks of Zarr stores of the image that are not stored and hold the fill value
    pixel_size: tuple[float, ...] | None = None  # along the spatial axes, where the image file has it
    unit: str | None = None
    channel_names: Names = ()  # where the image files have them

    @property
    def moments(self) -> Moments:
        """Mean and variance of each channel over the finite pixels of the image, before scaling."""
        return self.intensities.moments


def inspect(entry: ManifestEntry, config: FolderConfig) -> Inspected:
    """Read one image and its mask, in bands; what is kept is small. Raises `InputError` naming the file at fault."""
    opened = [open_image(path, config.channel_axis, config.max_pixels, entry.plane) for path in entry.images]
    mask = open_mask(entry.mask, config.max_pixels, entry.plane, config.mask_colours or ())
    for one in opened:
        require(one.planes == mask.planes, explain_planes(one, mask))
        check_volume(one.path, restore_stack(mask.planes, mask.shape))
    stated = config.channel_axis if entry.plane is None else None  # of a plane `open_image` has found it
    layouts = [find_layout(one, mask, stated) for one in opened]
    image, mask = join_files(opened, layouts, entry.strip), mask.cut(entry.strip)
    found = measure_intensities(entry.images, image, find_ignored(mask, config))
    numbers = count_numbers(mask)
    check_transparency(mask, numbers)
    sizes, units = select_pixel_size(opened[0], layouts[0])
    absent = sum(count_absent(path, config.max_pixels) for path in entry.images if path.is_dir())
    return Inspected(
        entry,
        layouts[0],
        image.shape,
        image.dtype,
        found,
        numbers,
        mask.coding.palette,
        mask.coding.white_is_zero,
        any(one.coding.orientation != 1 for one in opened),
        (*(path for one in opened for path in (one.path, *one.siblings)), entry.mask, *mask.siblings),
        absent,
        sizes,
        units,
        join_names([one.channel_names for one in opened], image.shape[-1]),
    )


def join_names(parts: Sequence[Names], channels: int) -> Names:
    """Return the names of an image's channels; nothing where some have none, or two have the same.

    Args:
        parts: Of the channels of each file of the image.
        channels: Number of channels of the image.
    """
    names = tuple(chain.from_iterable(parts))
    proper = len(names) == channels > 1 and all(names) and len(set(names)) == channels
    return names if proper else ()


def explain_planes(opened: Opened, mask: StoredMask) -> str:
    """Say how the numbers of planes of an image and its mask differ, and which channel axis would mend it."""
    shape, wanted = restore_stack(opened.planes, opened.array.shape), restore_stack(mask.planes, mask.shape)
    fitting = [axis for axis in range(len(shape)) if drop_axis(shape, axis) == wanted]
    advice = f"set dataset.channel_axis={fitting[0]}" if fitting else "they must be the same"
    return f"{opened.path} holds {max(opened.planes, 1)} planes and its mask {max(mask.planes, 1)}: {advice}"


def restore_stack(planes: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the stack that something is a plane of, or its own where it is none (0 planes)."""
    return (planes, *shape) if planes else shape


def split_planes(manifest: Manifest, config: FolderConfig) -> Manifest:
    """Replace every stack of a manifest by its planes, which stay in its split; flat images stay as they are."""
    entries: list[ManifestEntry] = []
    counts = []
    for entry in manifest.entries:
        planes = open_mask(entry.mask, config.max_pixels, plane=0).planes
        names = [f"{entry.name}_z{plane:03d}" for plane in range(planes)]
        entries += [replace(entry, name=name, plane=plane) for plane, name in enumerate(names)] or [entry]
        counts += [planes] if planes else []
    stacks = "1 stack was" if len(counts) == 1 else f"{len(counts)} stacks were"
    note = f"{stacks} read as {sum(counts)} planes, each an image (dataset.planes=true)"
    return replace(manifest, entries=tuple(entries), notes=(*manifest.notes, *([note] if counts else [])))


def join_files(opened: list[Opened], layouts: list[Layout], strip: Strip | None) -> StoredImage:
    """Return the stored values of an image, whose channels lie in one file or in several; nothing is read.

    Args:
        opened: The files of the image, in the order of their channels.
        layouts: Place of the channels in each file.
        strip: Part of the image that is meant; None: all of it.

    Returns:
        The values (*spatial, C), read on access.

    Raises:
        InputError: The files differ in shape, number type or place of the channels.
    """
    parts = [Arranged(layout.cut(one.array, strip), layout) for one, layout in zip(opened, layouts, strict=True)]
    if len(parts) == 1:
        return parts[0]
    for one, part in zip(opened, parts, strict=True):
        same = layouts[0] == part.layout and (part.shape, part.dtype) == (parts[0].shape, parts[0].dtype)
        require(
            same,
            f"{one.path} holds {part.dtype} values of the shape {part.shape} and {opened[0].path} {parts[0].dtype} "
            f"values of {parts[0].shape}: the files of one image must be alike",
        )
    return Joined(tuple(parts))


def find_ignored(mask: StoredMask, config: FolderConfig) -> Callable[[slice], NDArray[np.bool_]]:
    """Return the function that marks the ignored pixels of a band; none where `dataset.ignore_index` is not set."""
    if config.ignore_index is None:
        return lambda band: np.zeros(mask[band].shape, dtype=bool)
    mapping = config.mask_values if isinstance(config.mask_values, dict) else {config.ignore_index: config.ignore_index}
    numbers = [number for number, index in mapping.items() if index == config.ignore_index]
    return lambda band: np.isin(mask[band], numbers)


def select_pixel_size(opened: Opened, layout: Layout) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel sizes along the spatial axes, and their unit; those of several units in that of the last one.

    Without a unit where one is not known, as what such sizes mean beside the others cannot be said.
    """
    if opened.pixel_size is None:
        return None, None
    kept = [axis for axis in range(len(opened.pixel_size)) if axis != layout.channel_axis]
    sizes = [opened.pixel_size[axis] for axis in kept]
    units = [None if opened.units is None else opened.units[axis] for axis in kept]
    if len(set(units)) == 1:
        return tuple(sizes), units[0]
    metres = [METRES.get(unit or "") for unit in units]
    if None in metres:
        return tuple(sizes), None
    return tuple(size * one / metres[-1] for size, one in zip(sizes, metres, strict=True)), units[-1]  # type: ignore[operator]


# ------------------------------------------------------------------------------------------- where the channels are


def find_layout(opened: Opened, mask: StoredMask, channel_axis: int | None) -> Layout:
    """Find the channels of an image by the shape of its mask.

    Args:
        opened: The image.
        mask: Its mask.
        channel_axis: What the user says, which outweighs the file's own word.

    Returns:
        The place of the channels.

    Raises:
        InputError: Image and mask do not fit together.
    """
    path, shape, axes = opened.path, opened.array.shape, len(mask.shape)
    turned = "" if opened.coding.orientation == 1 else " (turned as its orientation tag says)"
    stated = opened.channel_axis if channel_axis is None else channel_axis
    if len(shape) == axes:
        if stated is not None and axes > 2:
            check_mask_planes(opened, mask, stated, channel_axis is not None)
        require(
            shape == mask.shape,
            f"{path} has the shape {shape}{turned} and its mask {mask.shape}: they must be the same",
        )
        return Layout(None, False)
    require(
        len(shape) == axes + 1,
        f"{path} has {len(shape)} axes and its mask {axes}: an image has those of its mask and perhaps one of channels",
    )
    require(
        stated is not None or mask.array.shape != shape,
        f"{mask.path} calls its planes channels where {path} does not ({shape} both): name that axis z in the file of "
        "the mask (in Fiji: Image > Properties), since a mask has no channels",
    )
    axis = check_axis(path, shape, len(shape) - 1 if stated is None else stated)
    require(drop_axis(shape, axis) == mask.shape, explain_mismatch(opened, mask.shape, axis, turned))
    return Layout(axis, opened.alpha)


def check_axis(path: Path, shape: tuple[int, ...], axis: int) -> int:
    """Return the axis of the channels, counted from 0.

    Args:
        path: The image, for the message.
        shape: Its shape.
        axis: An axis of it; a negative one counts from the last.

    Returns:
        The axis, in 0..len(shape) - 1.

    Raises:
        InputError: The image has no such axis.
    """
    require(
        -len(shape) <= axis < len(shape),
        f"dataset.channel_axis = {axis} does not exist in {path}, whose shape is {shape}",
    )
    return axis % len(shape)


def check_mask_planes(opened: Opened, mask: StoredMask, stated: int, by_user: bool) -> None:
    """Refuse a mask of several planes beside an image of several channels, which is no volume.

    Args:
        opened: The image.
        mask: Its mask, of as many axes.
        stated: The axis of the channels.
        by_user: Whether the user has stated it, not the file.
    """
    axis = check_axis(opened.path, opened.array.shape, stated)
    flat = drop_axis(opened.array.shape, axis)
    planes = [mask.shape[other] for other in range(len(mask.shape)) if drop_axis(mask.shape, other) == flat]
    other = ", or leave out dataset.channel_axis if they are planes of a volume" if by_user else ""
    require(
        not planes,
        f"{mask.path} has {planes and planes[0]} planes where {opened.path} has {opened.array.shape[axis]} channels: a "
        f"mask holds one number per pixel; save the one mask that is meant, or combine them into class numbers{other}",
    )


def drop_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return a shape without the length of one axis, which is counted from 0 and not negative."""
    return shape[:axis] + shape[axis + 1 :]


def explain_mismatch(opened: Opened, mask_shape: tuple[int, ...], axis: int, turned: str) -> str:
    """Say how image and mask differ, and which channel axis would mend it.

    Args:
        opened: The image.
        mask_shape: Shape of its mask.
        axis: The axis taken for the channels.
        turned: What was done because of an orientation tag, in words.

    Returns:
        One sentence.
    """
    path, shape = opened.path, opened.array.shape
    fitting = [other for other in range(len(shape)) if drop_axis(shape, other) == mask_shape]
    advice = "they must agree on all axes but that of the channels"
    if fitting:
        count = shape[fitting[0]]  # the setting counts the axes of the stack, of which this may be a plane
        what = f" if its {count} planes are channels, or make a mask of as many planes if they are depth"
        advice = f"set dataset.channel_axis={fitting[0] + (opened.planes > 0)}{what if count > MOST_CHANNELS else ''}"
    return f"{path} has the shape {shape}{turned} with channels on axis {axis}, and its mask {mask_shape}: {advice}"


# ------------------------------------------------------------------------------------------------------ as plain text


def to_plain(item: Inspected) -> dict[str, Any]:
    """Return all that was found, as values that JSON can hold; the entry, with its split, is left out."""
    found = item.intensities
    return {
        "layout": asdict(item.layout),
        "shape": item.shape,
        "dtype": item.dtype.str,
        "count": found.moments.count,
        "mean": found.moments.mean.tolist(),
        "variance": found.moments.variance.tolist(),
        "low": found.low,
        "high": found.high,
        "holes": found.holes,
        "pixels": found.digest,
        "numbers": [[number, count.pixels, count.euler, list(count.runs)] for number, count in item.numbers.items()],
        "palette": item.palette,
        "white_is_zero": item.white_is_zero,
        "turned": item.turned,
        "absent": item.absent,
        "sources": [str(path) for path in item.sources],
        "pixel_size": item.pixel_size,
        "unit": item.unit,
        "channel_names": item.channel_names,
    }


def from_plain(entry: ManifestEntry, plain: dict[str, Any]) -> Inspected:
    """Rebuild what `to_plain` was made of. Raises KeyError, TypeError or ValueError where `plain` is something else."""
    moments = Moments(int(plain["count"]), np.array(plain["mean"]), np.array(plain["variance"]))
    low, high = (tuple(float(value) for value in plain[name]) for name in ("low", "high"))
    sizes = plain["pixel_size"]
    return Inspected(
        entry,
        Layout(**plain["layout"]),
        tuple(plain["shape"]),
        np.dtype(plain["dtype"]),
        Intensities(moments, low, high, int(plain["holes"]), str(plain["pixels"])),
        {int(number): Count(pixels, euler, tuple(runs)) for number, pixels, euler, runs in plain["numbers"]},
        tuple(tuple(colour) for colour in plain["palette"]),
        bool(plain["white_is_zero"]),
        bool(plain["turned"]),
        tuple(Path(path) for path in plain["sources"]),
        int(plain["absent"]),
        None if sizes is None else tuple(sizes),
        plain["unit"],
        tuple(plain["channel_names"]),
    )
