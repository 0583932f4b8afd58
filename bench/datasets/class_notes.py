"""What the classes of a data set let its results not say, in sentences for the user."""

from collections.abc import Iterator, Sequence

from bench.config import FolderConfig
from bench.datasets.classes import compute_class_shares, count_class_pixels
from bench.datasets.inspection import Inspected
from bench.datasets.object_numbers import describe_counted, describe_pieces


def describe_mapping(config: FolderConfig, given: FolderConfig) -> Iterator[str]:
    """Yield a sentence where `complete_mapping` made the settings `config` of those that were given."""
    if config.mask_values != given.mask_values:
        full = max(config.mask_values)
        yield f"masks hold nothing but 0 and {full}, so {full} is class 1 ('dataset.mask_values={{0:0,{full}:1}}')"


def describe_black(items: Sequence[Inspected], config: FolderConfig) -> Iterator[str]:
    """Yield a sentence where the palettes of masks draw another number than 0 black, which may be the background."""
    if config.mask_values is not None or config.mask_colours is not None or config.class_names is not None:
        return
    for item in items:
        colours = {number: item.palette[number] for number in item.numbers if 0 <= number < len(item.palette)}
        black = [number for number, colour in colours.items() if number > 0 and not any(colour)]
        if 0 in colours and any(colours[0]) and black:
            yield (
                f"the palette of {item.entry.mask.name} draws number {black[0]} black and not 0, the background: if "
                "black is the background, list the colours of the classes, that one first, by dataset.mask_colours"
            )
            return


def describe_classes(items: Sequence[Inspected], names: Sequence[str], config: FolderConfig) -> Iterator[str]:
    """Yield what limits the meaning of the results, as far as it lies in the classes, in sentences.

    Args:
        items: All images and masks.
        names: Names of the classes.
        config: Settings of the data set.
    """
    yield from describe_counted(items, config)
    yield from describe_pieces(items, config)
    yield from describe_black(items, config)
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
