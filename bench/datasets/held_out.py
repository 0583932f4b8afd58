"""Validation without validation images: one end of each training image validates, and the rest of it trains."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from bench.config import FolderConfig, require
from bench.datasets.inspection import Inspected
from bench.datasets.manifest import Manifest, ManifestEntry
from bench.datasets.masks import open_mask
from bench.datasets.strips import Strip

GAP = 32  # pixels at most that are left out between the part that trains and the strip that validates
SHORTEST = 8  # pixels of either part, at least

Look = Callable[[ManifestEntry], Inspected]


def cut_validation(manifest: Manifest, config: FolderConfig, look: Look) -> Manifest:
    """Cut a strip to validate on from each training image, if a data set has no validation images.

    Args:
        manifest: The entries of the data set.
        config: Settings of the data set; `val_strip` is the share of an image that validates.
        look: Reads what an entry holds.

    Returns:
        The manifest with the strips for validation and what is left of their images for training.

    Raises:
        InputError: An image is too small, or another image has the name of a strip.
    """
    if manifest.of("val"):
        return manifest
    stacks = [list(stack) for _, stack in groupby(manifest.of("train"), key=lambda entry: (entry.images, entry.mask))]
    pairs = [pair for stack in stacks for pair in cut_stack(stack, config, look)]
    named = {entry.name: entry for entry in manifest.entries}
    for _, val in pairs:
        require(
            val.name not in named,
            f"{named.get(val.name, val).image} has the name of the strip of {val.image} that validates: rename it",
        )
    note = (
        f"no image is named for validation: a strip of {config.val_strip:g} of each training image, at one end of its "
        "longest axis, validates and does not train (dataset.val_strip); another image would be a stricter judge"
    )
    return replace(
        manifest,
        entries=(*(train for train, _ in pairs), *(val for _, val in pairs), *manifest.of("test")),
        rule=f"{manifest.rule}; validation on strips of {config.val_strip:g} of the training images",
        notes=(*manifest.notes, note),
    )


def cut_stack(
    stack: list[ManifestEntry], config: FolderConfig, look: Look
) -> Iterator[tuple[ManifestEntry, ManifestEntry]]:
    """Yield the part that trains and the strip that validates of an image, or of all planes of a stack in one way.

    Of both ends of the longest axis that one validates which holds less of the most frequent number of the mask: the
    other may be empty.

    Args:
        stack: The image, or the planes of a stack.
        config: Settings of the data set.
        look: Reads what an entry holds.

    Raises:
        InputError: The image is too small.
    """
    first = stack[0]
    shape = open_mask(first.mask, config.max_pixels, first.plane, config.mask_colours or ()).shape
    ways = cut_ends(shape, config.val_strip, str(first.image))
    counts = [add_up_numbers(look(take_strip(entry, val)) for entry in stack) for _, val in ways]
    [(common, _)] = sum(counts, Counter[int]()).most_common(1)
    train, val = ways[counts[1][common] <= counts[0][common]]
    for entry in stack:
        yield replace(entry, strip=train), take_strip(entry, val)


def take_strip(entry: ManifestEntry, strip: Strip) -> ManifestEntry:
    """Return the entry of a strip that validates, under a name of its own."""
    return replace(entry, name=f"{entry.name}_val", split="val", strip=strip)


def add_up_numbers(items: Iterator[Inspected]) -> Counter[int]:
    """Return the pixels of each number that occurs in the masks."""
    return sum((Counter({n: count.pixels for n, count in item.numbers.items()}) for item in items), Counter[int]())


def cut_ends(shape: tuple[int, ...], share: float, name: str) -> list[tuple[Strip, Strip]]:
    """Return the two ways to cut an image along its longest axis into a strip that validates and one that trains.

    Args:
        shape: Lengths of the spatial axes, in pixels.
        share: Share of the longest axis that validates; an eighth of it, `GAP` at most, is left out beside it.
        name: Of the image, for messages.

    Returns:
        The part that trains and the strip that validates: with the strip at the start of the axis, and at its end.

    Raises:
        InputError: The image is too small for that.
    """
    axis = int(np.argmax(shape))
    length = shape[axis]
    width = round(share * length)
    gap = min(GAP, width // 8)
    require(
        min(width, length - width - gap) >= SHORTEST,
        f"{name} is {length} pixels long, too short for a strip of {share:g} of it that validates: name an image for "
        "validation, or set dataset.val_strip",
    )
    return [
        (Strip(axis, width + gap, length), Strip(axis, 0, width)),
        (Strip(axis, 0, length - width - gap), Strip(axis, length - width, length)),
    ]
