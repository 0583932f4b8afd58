"""From the numbers in mask files to classes: how numbers are mapped, and how many pixels each class has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.config import FolderConfig
from bench.datasets.files import Classes
from bench.datasets.inspection import Inspected

FOREGROUND = "foreground"
FULL_NUMBERS = (255, 65535)  # that alone beside 0 are the foreground, as most programs write it


def complete_mapping(items: Sequence[Inspected], config: FolderConfig) -> FolderConfig:
    """Map masks that hold nothing but 0 and 255 (or 65535) to classes 0 and 1, where no setting says what they mean.

    Args:
        items: All images and masks.
        config: Settings of the data set.

    Returns:
        The settings, with `mask_values` where the numbers alone decide it.
    """
    numbers = {number for item in items for number in item.numbers}
    explained = config.mask_values is not None or config.mask_colours is not None or config.ignore_index in numbers
    many = len(config.class_names or ()) > 2
    if explained or many or any(draws_zero_white(item) for item in items):
        return config
    for full in FULL_NUMBERS:
        if numbers == {0, full}:
            return replace(config, mask_values={0: 0, full: 1})
    return config


def draws_zero_white(item: Inspected) -> bool:
    """Return whether a mask is white-is-zero, by its tag or by a palette whose number 0 is white and 1 black."""
    palette = item.palette
    return item.white_is_zero or (len(palette) >= 2 and min(palette[0]) == 255 and max(palette[1]) == 0)


def make_classes(config: FolderConfig, count: int) -> Classes:
    """Return the mapping from numbers to classes, in small integers where classes and `ignore_index` fit."""
    ignored = config.ignore_index or 0
    dtype = np.dtype(np.uint8 if 0 <= ignored < 256 and count <= 256 else np.int32)
    if config.mask_values == FOREGROUND:
        return Classes(None, dtype, True, config.ignore_index)
    return Classes(None if config.mask_values is None else tuple(sorted(config.mask_values.items())), dtype)


def find_class(number: int, config: FolderConfig) -> int | None:
    """Return the class of a number in a mask file; None where `dataset.mask_values` does not map it."""
    if config.mask_values is None or (config.mask_values == FOREGROUND and number == config.ignore_index):
        return number
    if config.mask_values == FOREGROUND:
        return int(number > 0) if number >= 0 else None
    found: int | None = config.mask_values.get(number)
    return found


def count_class_pixels(item: Inspected, config: FolderConfig) -> dict[int, int]:
    """Count the pixels of each class in one mask, those of `ignore_index` left out."""
    found: dict[int, int] = {}
    for number, count in item.numbers.items():
        index = find_class(number, config)
        if index is not None and index != config.ignore_index:
            found[index] = found.get(index, 0) + count.pixels
    return found


def leave_out_planes(
    inspected: Sequence[tuple[Inspected, str]], config: FolderConfig
) -> tuple[list[tuple[Inspected, str]], tuple[str, ...]]:
    """Leave out planes of which every pixel is ignored, where others of their stack and split are annotated.

    Args:
        inspected: Images and masks, and a hash of the files of each.
        config: Settings of the data set.

    Returns:
        Those that are kept, and a sentence where some are not.
    """
    annotated = {
        (item.entry.images, item.entry.split)
        for item, _ in inspected
        if item.entry.plane is not None and not is_ignored(item, config)
    }
    kept = [
        (item, content)
        for item, content in inspected
        if (item.entry.images, item.entry.split) not in annotated or not is_ignored(item, config)
    ]
    left = len(inspected) - len(kept)
    what = "1 plane holds" if left == 1 else f"{left} planes hold"
    note = (
        f"{what} nothing but dataset.ignore_index = {config.ignore_index}: left out, others of the stack are annotated"
    )
    return kept, (note,) if left else ()


def is_ignored(item: Inspected, config: FolderConfig) -> bool:
    """Return whether all numbers of a mask stand for `dataset.ignore_index`."""
    return config.ignore_index is not None and all(
        find_class(number, config) == config.ignore_index for number in item.numbers
    )


def compute_class_shares(items: Sequence[Inspected], count: int, config: FolderConfig) -> list[float]:
    """Return the share of each class in all pixels that are not ignored.

    Args:
        items: Images and masks.
        count: Number of classes.
        config: Settings of the data set.
    """
    pixels = [0] * count
    for item in items:
        for index, number in count_class_pixels(item, config).items():
            pixels[index] += number
    return [number / max(sum(pixels), 1) for number in pixels]


def list_numbers(numbers: Sequence[int] | Mapping[int, Any]) -> str:
    """Return the first eight numbers in words."""
    shown = list(numbers)
    return ", ".join(str(number) for number in shown[:8]) + (", ..." if len(shown) > 8 else "")
