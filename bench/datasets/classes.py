"""From the numbers in mask files to classes: what they must be, what they seem to be, and how they are mapped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.config import FolderConfig, require
from bench.datasets.files import Classes
from bench.datasets.inspection import Inspected

MOST_CLASSES = 32  # that masks may hold without `dataset.class_names`: more look like cell numbers or grey values
FOREGROUND = "foreground"
SINGLE = 0.9  # share of numbers that cover one piece each, from which on they look like numbers of objects
FEW_NUMBERS = 8  # up to which a sentence maps the very numbers
FEWEST_OBJECTS = 3  # in one image, for the same
MANY_NUMBERS = 8  # above 0, from which on one piece each suffices: objects that are tracked keep theirs in all images
MANY_SINGLE = 0.8  # share for the same: a cell at the edge, or in division, may be two pieces of one number
FEW_IMAGES = 3  # below which numbers of one piece each are no reason for a note
NEAR = 20  # steps from 0 and 255 that JPEG makes of either
LEFTOVERS = 3  # numbers so near on either side, from which on a mask seems to have been a JPEG
FULL_SHARE = 0.005  # of the pixels that lie about 255, for the same
FULL_NUMBERS = (255, 65535)  # that alone beside 0 are the foreground, as most programs write it
FULL_SCALES = (255, 65535, 128, 127, 254)  # numbers that stand for "everything" beside masks of 0 and 1


def complete_mapping(items: Sequence[Inspected], config: FolderConfig) -> FolderConfig:
    """Map masks that hold nothing but 0 and 255 (or 65535) to classes 0 and 1, where no setting says what they mean.

    Args:
        items: All images and masks.
        config: Settings of the data set.

    Returns:
        The settings, with `mask_values` where the numbers alone decide it.
    """
    numbers = {number for item in items for number in item.numbers}
    settled = config.mask_values is not None or config.mask_colours is not None or config.ignore_index in numbers
    many = len(config.class_names or ()) > 2
    if settled or many or any(draws_zero_white(item) for item in items):
        return config
    for full in FULL_NUMBERS:
        if numbers == {0, full}:
            return replace(config, mask_values={0: 0, full: 1})
    return config


def describe_mapping(config: FolderConfig, given: FolderConfig) -> Iterator[str]:
    """Yield a sentence where `complete_mapping` made the settings `config` of those that were given."""
    if config.mask_values != given.mask_values:
        full = max(config.mask_values)
        yield f"masks hold nothing but 0 and {full}, so {full} is class 1 ('dataset.mask_values={{0:0,{full}:1}}')"


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


# -------------------------------------------------------------------------------------- what the numbers seem to be


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


def draws_zero_white(item: Inspected) -> bool:
    """Return whether a mask is white-is-zero, by its tag or by a palette whose number 0 is white and 1 black."""
    palette = item.palette
    return item.white_is_zero or (len(palette) >= 2 and min(palette[0]) == 255 and max(palette[1]) == 0)


def check_leftovers(items: Sequence[Inspected]) -> None:
    """Refuse numbers about 0 and about 255 as lossy compression leaves them of a mask of 0 and 255."""
    for item in items:
        numbers = item.numbers
        low, high = (sum(0 < abs(number - end) <= NEAR for number in numbers) for end in (0, 255))
        pixels = sum(count.pixels for count in numbers.values())
        full = sum(count.pixels for number, count in numbers.items() if 255 - NEAR <= number <= 255)
        require(
            low < LEFTOVERS or high < LEFTOVERS or full < FULL_SHARE * pixels or max(numbers) > 255,
            f"{item.entry.mask} holds {low} numbers just above 0 and {high} just below 255, as JPEG leaves them of 0 "
            "and 255: make the mask again, or set it to 0 and 1 by a threshold",
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
            len(count_class_pixels(item, config)) > 0,
            f"{item.entry.mask} holds nothing but dataset.ignore_index = {config.ignore_index}: leave out the image "
            f"{item.entry.name} ({item.entry.split})",
        )


def check_counted(items: Sequence[Inspected], config: FolderConfig) -> None:
    """Refuse an ignored number that is an object's, where all above 0 are one class: one piece, and larger ones occur.

    With 255 for what is not annotated, the 255th object of an image would be left out.
    """
    ignored = config.ignore_index
    if config.mask_values != FOREGROUND or ignored is None or ignored <= 0:
        return
    larger = any(number > ignored for item in items for number in item.numbers)
    held = [item for item in items if ignored in item.numbers]
    single = [item for item in held if item.numbers[ignored].euler == 1]
    require(
        not larger or not held or len(single) < SINGLE * len(held),
        f"{single and single[0].entry.mask} holds the number {ignored} in one piece, as objects are numbered, and the "
        f"masks go beyond it: leave out dataset.ignore_index={ignored}, or give what is not annotated a number that no "
        "object has",
    )


def look_like_objects(items: Sequence[Inspected], ignored: int | None = None) -> bool:
    """Whether numbers count objects.

    They do where nearly each covers one piece, and where they are many; or where images differ in them and they are
    1 to n in every image or hardly any is in two images.
    """
    above = list_above(items, ignored)
    most = max(map(len, above), default=0)
    kinds = len({number for numbers in above for number in numbers})
    if kinds >= MANY_NUMBERS and share_single_pieces(items, above) >= MANY_SINGLE:
        return True
    if len({tuple(numbers) for numbers in above}) < 2 or most < FEWEST_OBJECTS:
        return False
    counted = all(numbers == list(range(1, len(numbers) + 1)) for numbers in above)
    return (counted or kinds >= 2 * most) and share_single_pieces(items, above) >= SINGLE


def list_above(items: Sequence[Inspected], ignored: int | None) -> list[list[int]]:
    """Return the numbers above 0 of each mask, ascending, without that of ignored pixels."""
    return [[number for number in item.numbers if number > 0 and number != ignored] for item in items]


def share_single_pieces(items: Sequence[Inspected], above: Sequence[Sequence[int]]) -> float:
    """Return the share of the numbers of all masks that cover one piece without holes; 1 where there are none."""
    single = [item.numbers[number].euler == 1 for item, numbers in zip(items, above, strict=True) for number in numbers]
    return sum(single) / len(single) if single else 1.0


# ------------------------------------------------------------------------------------------------- names of classes


def name_classes(items: Sequence[Inspected], config: FolderConfig) -> tuple[str, ...]:
    """Return the given names, or class_0 up to the largest class of all masks, none of which may be left out."""
    found = sorted({index for item in items for index in count_class_pixels(item, config)})
    if config.class_names is not None:
        require(len(config.class_names) >= 2, f"dataset.class_names must name at least 2, got {config.class_names}")
        check_range(items, config, len(config.class_names))
        return tuple(config.class_names)
    if config.mask_values == FOREGROUND:
        require(
            len(found) == 2,
            f"the masks in {show_folder(items)} hold only one class: there is nothing to tell apart",
        )
        return ("background", FOREGROUND)
    given = range(len(config.mask_colours or ())) if config.mask_values is None else config.mask_values.values()
    targets = set(given) - {config.ignore_index}
    count = max([*found, *targets], default=0) + 1
    check_count(items, config, count)
    check_range(items, config, count)
    require(
        count >= 2,
        f"the masks in {show_folder(items)} hold only one class, {list_numbers(found)}: there is nothing to tell apart",
    )
    missing = sorted(set(range(count)) - set(found) - targets - {config.ignore_index})
    require(
        not missing,
        f"the masks in {show_folder(items)} hold {list_numbers(found)} and never {list_numbers(missing)}: "
        f"{advise_mapping(items)}",
    )
    return tuple(f"class_{number}" for number in range(count))


def check_count(items: Sequence[Inspected], config: FolderConfig, count: int) -> None:
    """Refuse numbers that look like those of objects, or are too many to be classes.

    Args:
        items: All images and masks.
        config: Settings of the data set.
        count: Number of classes that the numbers would make.
    """
    if config.mask_values is None and config.mask_colours is None:
        counts = sorted({len(numbers) for numbers in list_above(items, config.ignore_index)})
        found = f"{counts[0]} to {counts[-1]} in an image" if len(counts) > 1 else f"{counts[0]} in every image"
        require(
            not look_like_objects(items, config.ignore_index),
            f"the masks in {show_folder(items)} seem to number objects, {found}, each in one piece: give "
            "dataset.mask_values=foreground (above 0 is class 1), or dataset.class_names if the numbers are classes",
        )
    last = max(items, key=lambda item: max(count_class_pixels(item, config), default=0))
    require(
        count <= MOST_CLASSES,
        f"the masks in {show_folder(items)} hold classes up to {count - 1} (as {last.entry.mask.name} does): if "
        f"these are not classes, {advise_mapping(items)}",
    )


def advise_mapping(items: Sequence[Inspected]) -> str:
    """Return, in words, the settings that make classes of numbers that are none."""
    numbers = sorted({number for item in items for number in item.numbers})
    foreground = "dataset.mask_values=foreground if every number above 0 is one class, " if len(numbers) > 2 else ""
    return f"give {propose_ignored(numbers)}{foreground}{propose_mapping(numbers)}, or dataset.class_names"


def propose_ignored(numbers: Sequence[int]) -> str:
    """Return, in words and with a comma, the setting for a number that means "not annotated" by custom, or nothing.

    It is -1 or 255, beside two or more classes counted from 0.
    """
    for void in (255, -1):
        rest = [number for number in numbers if number != void]
        if void in numbers and 2 <= len(rest) <= MOST_CLASSES and rest == list(range(len(rest))):
            return f"dataset.ignore_index={void} if {void} means not annotated, "
    return ""


def propose_mapping(numbers: Sequence[int]) -> str:
    """Return, in words, the setting that maps the numbers of masks, sorted; where they are few it holds them."""
    if len(numbers) > FEW_NUMBERS:
        return "dataset.mask_values, as in {0: 0, 255: 1}"
    mapping = ",".join(f"{number}:{index}" for index, number in enumerate(numbers))
    return f"dataset.mask_values, as in 'dataset.mask_values={{{mapping}}}'"


def check_range(items: Sequence[Inspected], config: FolderConfig, count: int) -> None:
    """Refuse a class that lies outside 0 to `count` - 1.

    Args:
        items: All images and masks.
        config: Settings of the data set.
        count: Number of classes.
    """
    ignored = propose_ignored(sorted({number for item in items for number in item.numbers}))
    advice = f"give {ignored}" if ignored else ""
    for item in items:
        outside = [index for index in sorted(count_class_pixels(item, config)) if not 0 <= index < count]
        require(
            not outside,
            f"{item.entry.mask} holds class {list_numbers(outside)}, outside 0 to {count - 1}: {advice}correct the "
            "mask, or give dataset.mask_values (foreground: above 0 is class 1), dataset.class_names or "
            "dataset.ignore_index",
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


def describe_classes(items: Sequence[Inspected], names: Sequence[str], config: FolderConfig) -> Iterator[str]:
    """Yield what limits the meaning of the results, as far as it lies in the classes, in sentences.

    Args:
        items: All images and masks.
        names: Names of the classes.
        config: Settings of the data set.
    """
    yield from describe_counted(items, config)
    yield from describe_pieces(items, config)
    shares = compute_class_shares(items, len(names), config)
    for index, name in enumerate(names):
        here = {item.entry.split for item in items if index in count_class_pixels(item, config)}
        if not here:
            yield f"no image holds {name}, so nothing is learned or scored of it"
        elif "test" not in here:
            yield f"no test image holds {name}, so it has no score"
        elif "val" not in here:
            yield f"no validation image holds {name}, so it has no part in the choice of weights"
        elif shares[index] < 1e-4:
            yield f"{name} covers {shares[index]:.2g} of the pixels"


def describe_counted(items: Sequence[Inspected], config: FolderConfig) -> Iterator[str]:
    """Yield a sentence where the ignored number may be an object's, though it lies in several pieces."""
    ignored = config.ignore_index
    numbers = {number for item in items for number in item.numbers}
    if config.mask_values == FOREGROUND and ignored in numbers and 0 < ignored < max(numbers):
        yield f"{ignored} counts as not annotated (dataset.ignore_index), though objects have larger numbers"


def describe_pieces(items: Sequence[Inspected], config: FolderConfig) -> Iterator[str]:
    """Yield a sentence where few numbers, which nobody has named, are one piece each and may yet count objects."""
    if config.mask_values is not None or config.mask_colours is not None or config.class_names is not None:
        return
    above = list_above(items, config.ignore_index)
    kinds = sorted({number for numbers in above for number in numbers})
    if len(items) >= FEW_IMAGES and len(kinds) >= 2 and share_single_pieces(items, above) >= SINGLE:
        yield (
            f"each of the numbers {list_numbers(kinds)} is one piece in nearly every mask: if they count objects, set "
            "dataset.mask_values=foreground"
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


def show_folder(items: Sequence[Inspected]) -> str:
    """Return the folder of the first mask, by which messages name the masks of a data set."""
    return str(items[0].entry.mask.parent)
