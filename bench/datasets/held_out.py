"""Images that train and test at once: one end of each training image is held out, and the rest of it trains.

So a data set without validation images runs, and one of a single large image or volume.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from bench.config import FolderConfig, require
from bench.datasets.inspection import Inspected
from bench.datasets.manifest import SPLITS, Manifest, ManifestEntry
from bench.datasets.masks import open_mask
from bench.datasets.strips import Strip

GAP = 32  # pixels at most that are left out between the part that trains and the strip that is held out
SHORTEST = 8  # pixels of either part, at least

Inspect = Callable[[ManifestEntry], Inspected]


@dataclass(frozen=True)
class StripRule:
    """What is cut from training images.

    Attributes:
        split: Split of the strips.
        share: Share of an image that a strip has.
        purpose: What the strips are for, in a word.
        verb: What they do, in a word.
    """

    split: str
    share: float
    purpose: str
    verb: str

    @property
    def setting(self) -> str:
        """Name of the setting that the share is."""
        return f"dataset.{self.split}_strip"


def cut_strips(manifest: Manifest, config: FolderConfig, inspect: Inspect) -> Manifest:
    """Cut strips to test and to validate on from each training image, where no image is named for that.

    Args:
        manifest: The entries of the data set.
        config: Settings of the data set; `test_strip` and `val_strip` are the shares of an image that are held out.
        inspect: Reads an entry.

    Returns:
        The manifest with the strips, and what is left of their images for training.

    Raises:
        InputError: An image is too small, or another image has the name of a strip.
    """
    for part in (
        StripRule("test", config.test_strip, "testing", "tests"),
        StripRule("val", config.val_strip, "validation", "validates"),
    ):
        if part.share > 0 and not manifest.of(part.split):
            manifest = cut_split(manifest, part, config, inspect)
    return manifest


def cut_split(manifest: Manifest, part: StripRule, config: FolderConfig, inspect: Inspect) -> Manifest:
    """Cut the strips of one split from each training image.

    Args:
        manifest: The entries of the data set, none of that split.
        part: Which strips.
        config: Settings of the data set.
        inspect: Reads an entry.

    Returns:
        The manifest with the strips, and what is left of their images for training.

    Raises:
        InputError: An image is too small, or another image has the name of a strip.
    """
    stacks = [list(stack) for _, stack in groupby(manifest.of("train"), key=lambda entry: (entry.images, entry.mask))]
    pairs = [pair for stack in stacks for pair in cut_stack(stack, part, config, inspect)]
    named = {entry.name: entry for entry in manifest.entries}
    for _, held in pairs:
        require(
            held.name not in named,
            f"{named.get(held.name, held).image} has the name of the strip of {held.image} that {part.verb}: rename it",
        )
    note = (
        f"no image is named for {part.purpose}: a strip of {part.share:g} of each training image, at one end of its "
        f"longest axis, {part.verb} and does not train ({part.setting}); another image would be a stricter judge"
    )
    of_split = {split: manifest.of(split) for split in SPLITS}
    of_split |= {"train": [train for train, _ in pairs], part.split: [held for _, held in pairs]}
    return replace(
        manifest,
        entries=tuple(entry for split in SPLITS for entry in of_split[split]),
        rule=f"{manifest.rule}; {part.purpose} on strips of {part.share:g} of the training images",
        notes=(*manifest.notes, note),
    )


def cut_stack(
    stack: list[ManifestEntry], part: StripRule, config: FolderConfig, inspect: Inspect
) -> Iterator[tuple[ManifestEntry, ManifestEntry]]:
    """Yield the part that trains and the strip that is held out of an image, or of all planes of a stack in one way.

    Of both ends of the longest axis that one is held out which holds less of the most frequent number of the mask: the
    other may be empty.

    Args:
        stack: The image, or the planes of a stack.
        part: Which strips.
        config: Settings of the data set.
        inspect: Reads an entry.

    Raises:
        InputError: The image is too small.
    """
    first = stack[0]
    shape = open_mask(first.mask, config.max_pixels, first.plane, config.mask_colours or ()).shape
    ways = cut_ends(shape, part, str(first.image), first.strip)
    counts = [add_up_numbers(inspect(take_strip(entry, part, held)) for entry in stack) for _, held in ways]
    [(common, _)] = sum(counts, Counter[int]()).most_common(1)
    train, held = ways[counts[1][common] <= counts[0][common]]
    for entry in stack:
        yield replace(entry, strip=train), take_strip(entry, part, held)


def take_strip(entry: ManifestEntry, part: StripRule, strip: Strip) -> ManifestEntry:
    """Return the entry of a strip that is held out, under a name of its own.

    Args:
        entry: The image.
        part: Which strips.
        strip: The part of the image.
    """
    return replace(entry, name=f"{entry.name}_{part.split}", split=part.split, strip=strip)


def add_up_numbers(items: Iterator[Inspected]) -> Counter[int]:
    """Return the pixels of each number that occurs in the masks."""
    return sum((Counter({n: count.pixels for n, count in item.numbers.items()}) for item in items), Counter[int]())


def cut_ends(
    shape: tuple[int, ...], part: StripRule, name: str, within: Strip | None = None
) -> list[tuple[Strip, Strip]]:
    """Return the two ways to cut an image along its longest axis into a strip that is held out and one that trains.

    Args:
        shape: Lengths of the spatial axes, in pixels.
        part: Which strips; an eighth of a strip's width, `GAP` at most, is left out beside it.
        name: Of the image, for messages.
        within: What of the image is still to train, of which the strip is cut along the same axis; None: all of it.

    Returns:
        The part that trains and the strip: with the strip at the start of the axis, and at its end.

    Raises:
        InputError: The image is too small for that.
    """
    whole = within or Strip(int(np.argmax(shape)), 0, max(shape))
    length = whole.stop - whole.start
    width = round(part.share * length)
    gap = min(GAP, width // 8)
    require(
        min(width, length - width - gap) >= SHORTEST,
        f"{name} is {length} pixels long, too short for a strip of {part.share:g} of it that {part.verb}: name an "
        f"image for {part.purpose}, or set {part.setting}",
    )

    def cut(start: int, stop: int) -> Strip:
        return Strip(whole.axis, whole.start + start, whole.start + stop)

    return [
        (cut(width + gap, length), cut(0, width)),
        (cut(0, length - width - gap), cut(length - width, length)),
    ]
