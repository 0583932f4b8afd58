"""Whether the numbers in masks count objects, as instance segmentation has them, instead of naming classes."""

from collections.abc import Iterator, Sequence

from bench.config import FolderConfig, require
from bench.datasets.classes import FOREGROUND, list_numbers
from bench.datasets.inspection import Inspected

SINGLE = 0.9  # share of numbers that cover one piece each, from which on they look like numbers of objects
FEWEST_OBJECTS = 3  # in one image, for the same
MANY_NUMBERS = 8  # above 0, from which on one piece each suffices: objects that are tracked keep theirs in all images
MANY_SINGLE = 0.8  # share for the same: a cell at the edge, or in division, may be two pieces of one number
FEW_IMAGES = 3  # below which numbers of one piece each are no reason for a note


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
