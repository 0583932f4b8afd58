"""Checks of the masks of a data set: their numbers must mean the same classes in every file."""

from collections.abc import Sequence

from bench.config import FolderConfig, require
from bench.datasets.class_names import name_classes, propose_mapping
from bench.datasets.classes import (
    FOREGROUND,
    FULL_NUMBERS,
    count_class_pixels,
    draws_zero_white,
    find_class,
    is_ignored,
    list_numbers,
)
from bench.datasets.inspection import Inspected
from bench.datasets.object_numbers import check_counted

NEAR = 20  # steps from 0 and 255 that JPEG makes of either
LEFTOVERS = 3  # numbers so near on either side, from which on a mask seems to have been a JPEG
FULL_SHARE = 0.005  # of the pixels that lie about 255, for the same
FULL_SCALES = (*FULL_NUMBERS, 128, 127, 254)  # numbers that stand for "everything" beside masks of 0 and 1


def check_masks(items: Sequence[Inspected], config: FolderConfig) -> tuple[str, ...]:
    """Check that the numbers of all masks mean the same classes, and return the names of these.

    Raises:
        InputError: Numbers that are not mapped, that mean different things in different files, that look like numbers
            of objects, or that lie outside the classes; an image of which every pixel is ignored.
    """
    check_palettes(items)
    check_white(items, config)
    check_leftovers(items)
    check_scales(items, config)
    check_mapped(items, config)
    check_ignored(items, config)
    check_counted(items, config)
    names = name_classes(items, config)
    check_trained(items, names, config)
    return names


def check_palettes(items: Sequence[Inspected]) -> None:
    """Refuse palettes that give one number two colours, or one colour two numbers, among the numbers that occur."""
    seen: dict[int, tuple[tuple[int, ...], Inspected]] = {}
    owner: dict[tuple[int, ...], tuple[int, Inspected]] = {}
    for item in items:
        for number in item.numbers:
            if not 0 <= number < len(item.palette):
                continue
            colour = item.palette[number]
            before, first = seen.setdefault(number, (colour, item))
            other, second = owner.setdefault(colour, (number, item))
            clash = first if before != colour else second if other != number else None
            require(
                clash is None or clash.palette == item.palette,
                f"the palettes of {clash and clash.entry.mask} and {item.entry.mask} differ (number {number} is "
                f"{colour} in the second): save all masks with one palette, or list the colours of the classes, "
                "background first, as in 'dataset.mask_colours=[000000,ff0000]'",
            )


def check_white(items: Sequence[Inspected], config: FolderConfig) -> None:
    """Refuse masks of which some count from white, or all without `dataset.mask_values` mapping their numbers."""
    numbers = sorted({number for item in items for number in item.numbers})
    white = [item for item in items if draws_zero_white(item)]
    black = [item for item in items if not draws_zero_white(item)]
    require(
        not white or not black,
        f"{white and white[0].entry.mask} is white-is-zero and {black and black[0].entry.mask} is not: save all masks "
        "alike",
    )
    require(
        not white or not white[0].white_is_zero or isinstance(config.mask_values, dict),
        f"{white and white[0].entry.mask} is white-is-zero, so its number 0 is drawn white and the background may "
        f"be either: say which number is which class by {propose_mapping(numbers)}",
    )


def check_leftovers(items: Sequence[Inspected]) -> None:
    """Refuse numbers about 0 and about 255 as lossy compression leaves them of a mask of 0 and 255."""
    for item in items:
        numbers = item.numbers
        low, high = (sum(0 < abs(number - end) <= NEAR for number in numbers) for end in (0, 255))
        pixels = sum(count.pixels for count in numbers.values())
        full = sum(count.pixels for number, count in numbers.items() if 255 - NEAR <= number <= 255)
        require(
            low < LEFTOVERS or high < LEFTOVERS or full < FULL_SHARE * pixels or max(numbers) > 255,
            f"{item.entry.mask} holds {low} numbers just above 0 and {high} just below 255, as JPEG or smoothing "
            "leaves them of 0 and 255: make the mask again, or set it to 0 and 1 by a threshold",
        )


def check_scales(items: Sequence[Inspected], config: FolderConfig) -> None:
    """Refuse masks of 0 and 1 beside masks of 0 and 255, unless `dataset.mask_values` maps 1 and 255."""
    for full in FULL_SCALES:
        small = [item for item in items if set(item.numbers) == {0, 1}]
        large = [item for item in items if full in item.numbers and set(item.numbers) <= {0, full}]
        mapping = config.mask_values
        known = mapping == FOREGROUND or (isinstance(mapping, dict) and {1, full} <= set(mapping))
        ignored = find_class(full, config) == config.ignore_index and config.ignore_index is not None
        held = " and ".join(map(str, large[0].numbers)) if large else ""
        require(
            not small or not large or known or ignored,
            f"{small and small[0].entry.mask} holds 0 and 1, and {large and large[0].entry.mask} {held}: save "
            f"them alike, or give 'dataset.mask_values={{0:0,1:1,{full}:1}}' if both mean the same, or "
            f"dataset.ignore_index={full} if {full} means not annotated",
        )


def check_mapped(items: Sequence[Inspected], config: FolderConfig) -> None:
    """Refuse numbers that `dataset.mask_values` does not map."""
    for item in items:
        unknown = [number for number in item.numbers if find_class(number, config) is None]
        advice = "foreground knows none below 0" if config.mask_values == FOREGROUND else "add it there"
        require(
            not unknown,
            f"{item.entry.mask} holds {list_numbers(unknown)}, which dataset.mask_values does not map: {advice}",
        )


def check_ignored(items: Sequence[Inspected], config: FolderConfig) -> None:
    """Refuse an image of which every pixel is ignored: nothing can be learned or scored on it."""
    for item in items:
        require(
            not is_ignored(item, config),
            f"{item.entry.mask} holds nothing but dataset.ignore_index = {config.ignore_index}: leave out the image "
            f"{item.entry.name} ({item.entry.split})",
        )


def check_trained(items: Sequence[Inspected], names: Sequence[str], config: FolderConfig) -> None:
    """Refuse a class that validation or test images hold and no training image: it cannot be learned.

    Args:
        items: All images and masks.
        names: Names of the classes.
        config: Settings of the data set.
    """
    trained = {index for item in items if item.entry.split == "train" for index in count_class_pixels(item, config)}
    for item in items:
        for index in count_class_pixels(item, config):
            require(
                index in trained,
                f"no training image holds {names[index]}, which {item.entry.mask} ({item.entry.split}) holds: move an "
                "image that has it to train (by splits.json or dataset.split_seed), or map it by dataset.mask_values "
                "(foreground, where the numbers count objects: above 0 is class 1)",
            )
