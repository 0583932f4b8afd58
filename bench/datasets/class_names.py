"""Names of the classes that the numbers in masks make, and which settings make classes of numbers that are none."""

from collections.abc import Sequence

from bench.config import FolderConfig, require
from bench.datasets.classes import FOREGROUND, count_class_pixels, list_numbers
from bench.datasets.inspection import Inspected
from bench.datasets.object_numbers import list_above, look_like_objects

MOST_CLASSES = 32  # that masks may hold without `dataset.class_names`: more look like cell numbers or grey values
FEW_NUMBERS = 8  # up to which a sentence maps the very numbers


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
    require(
        sum(index >= 0 for index in {*found, *targets}) >= 2
        or min(found, default=0) < 0,  # those below 0 are refused below
        f"the masks in {show_folder(items)} hold only one class, {list_numbers(found)}: there is nothing to tell apart",
    )
    check_count(items, config, count)
    check_range(items, config, count)
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


def show_folder(items: Sequence[Inspected]) -> str:
    """Return the folder of the first mask, by which messages name the masks of a data set."""
    return str(items[0].entry.mask.parent)
