"""What files call their channels: the same names in another order are another image, which no shape shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.config import require
from bench.datasets.inspection import Inspected, join_names
from bench.datasets.listing import name_files
from bench.datasets.sample import Task
from bench.datasets.stored import Names


def check_order(path: Path, names: Names, others: Names, source: str) -> None:
    """Refuse an image whose channels have the names of other images' channels in another order.

    Args:
        path: The image.
        names: Of its channels; none where the file names them not.
        others: Of the other images' channels.
        source: Whose these are, as the end of `... in `.

    Raises:
        InputError: The sentence shows both orders.
    """
    require(
        _fold(names) == _fold(others) or sorted(_fold(names)) != sorted(_fold(others)),
        f"{path} has its channels in the order {', '.join(names)}, and they are {', '.join(others)} in {source}: save "
        "all in one order",
    )


def find_common(items: Sequence[Inspected]) -> Names:
    """Return what all images that name their channels call them; nothing where they differ or none does.

    Raises InputError where the names of two images are the same in another order.
    """
    named = [item for item in items if item.channel_names]
    for item in named[1:]:
        check_order(item.entry.image, item.channel_names, named[0].channel_names, str(named[0].entry.image))
    alike = len({_fold(item.channel_names) for item in named}) == 1
    return named[0].channel_names if alike else ()


def describe_channels(items: Sequence[Inspected]) -> Iterator[str]:
    """Yield a sentence where images call their channels by different names, since they are taken for the same."""
    named = [item for item in items if item.channel_names]
    others = [item for item in named if _fold(item.channel_names) != _fold(named[0].channel_names)]
    if others:
        first, other = (", ".join(item.channel_names) for item in (named[0], others[0]))
        yield (
            f"channels are called {first} in {named[0].entry.image.name} and {other} in "
            f"{name_files([item.entry.image for item in others])}: they are taken for the same, one after the other"
        )


def compare_channels(path: Path, stated: Names, task: Task) -> str:
    """Compare what a new image calls its channels with the names in training.

    Args:
        path: The image.
        stated: Names in its file; empty where it has none.
        task: What the training images were.

    Returns:
        A clause about the image where the names are others; empty where they are the same, or one side has none.

    Raises:
        InputError: The names are the same in another order.
    """
    names, trained = join_names([stated], task.in_channels), task.channel_names
    if not names or not trained:
        return ""
    check_order(path, names, trained, "the images that the run was trained on")
    if _fold(names) == _fold(trained):
        return ""
    return (
        f"calls its channels {', '.join(names)}, which in training were {', '.join(trained)}: they are taken for them"
    )


def _fold(names: Names) -> Names:
    """Return names without the difference of upper and lower case."""
    return tuple(name.casefold() for name in names)
