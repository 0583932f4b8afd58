"""How long pixels are along each axis, as the image files of a data set say or its settings give it."""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from bench.arrays.spacing import relate_spacing
from bench.config import FolderConfig, require
from bench.datasets.inspection import METRES, Inspected
from bench.datasets.listing import name_files

SAME_SHAPE, CUBIC = 0.05, 0.01  # relative difference of the sides of pixels that are alike, and that are cubes


def find_spacing(items: Sequence[Inspected], config: FolderConfig) -> tuple[float, ...] | None:
    """Find the length of a pixel along each spatial axis: that of the settings, else what the files say.

    Args:
        items: All images and masks.
        config: Settings of the data set.

    Returns:
        The lengths in the unit of the first image, or where images differ in size multiples of a pixel's shortest side;
        None where a file says nothing, or pixels are cubes to one per cent.

    Raises:
        InputError: The settings have another number of axes, or the images' pixels differ in shape.
    """
    axes = len(items[0].shape) - 1
    if config.spacing is not None:
        given = len(config.spacing)
        require(given == axes, f"dataset.spacing must hold one length for each of {axes} axes, got {config.spacing}")
        return tuple(config.spacing)
    first = items[0]
    if any(item.pixel_size is None for item in items):
        return None
    shapes = [relate_spacing(item.pixel_size, axes) for item in items]
    for item, shape in zip(items, shapes, strict=True):
        require(
            bool(np.allclose(shape, shapes[0], rtol=SAME_SHAPE)),
            f"{item.entry.image} has pixels of {format_sizes(item.pixel_size)} and {first.entry.image} of "
            f"{format_sizes(first.pixel_size)}, of another shape: resample them, or give dataset.spacing for all",
        )
    if max(shapes[0]) <= 1 + CUBIC:
        return None
    return shapes[0] if find_other_sizes(items) else first.pixel_size


def find_other_sizes(items: Sequence[Inspected]) -> list[Inspected]:
    """Return the images whose pixels are of another size than those of the first one whose file says it."""
    known = [item for item in items if item.pixel_size is not None]
    return [item for item in known if abs(measure_pixel(item) / measure_pixel(known[0]) - 1) > CUBIC]


def measure_pixel(item: Inspected) -> float:
    """Return the side of a square or cube as large as a pixel, in metres where the unit is known."""
    assert item.pixel_size is not None
    return float(prod(item.pixel_size) ** (1 / len(item.pixel_size)) * METRES.get(item.unit or "", 1.0))


def describe_sizes(items: Sequence[Inspected]) -> Iterator[str]:
    """Yield a sentence where images were taken at several magnifications, as far as their files say so."""
    others = find_other_sizes(items)
    if others:
        first = next(item for item in items if item.pixel_size is not None)
        own, other = (f"{format_sizes(item.pixel_size)} {item.unit or ''}".strip() for item in (first, others[0]))
        where = name_files([item.entry.image for item in others])
        alike = len({format_sizes(item.pixel_size) for item in others}) == 1
        which = where if alike else f"{others[0].entry.image.name}, and of other sizes in {where}"
        yield (
            f"pixels are {own} in {first.entry.image.name} and {other} in {which}: crops, filters and superpixels have "
            "one size in pixels, and objects have not; resample the images to one size, or compare each size by itself"
        )


def format_sizes(lengths: Sequence[float] | None) -> str:
    """Return lengths as in `2 x 0.5 x 0.5`."""
    return " x ".join(f"{length:.4g}" for length in lengths or ())


def describe_lengths(items: Sequence[Inspected], spacing: Sequence[float]) -> str:
    """Return the lengths of a pixel, as in `2 x 0.5 x 0.5 micrometer`, without a unit where they are not the files'."""
    first = items[0]
    stated = first.unit and tuple(spacing) == first.pixel_size and not find_other_sizes(items)
    return f"{format_sizes(spacing)} {first.unit}" if stated else format_sizes(spacing)
