"""Room on a disk for what is as large as an image, while it is predicted."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

from bench.arms import ARMS
from bench.config import CoarseGnnConfig, Config, require
from bench.files import clear_stale, name_temporary, remove


@contextmanager
def make_scratch(out: Path, place: str | None, needed: int) -> Iterator[Path]:
    """Yield a new folder, which is removed after the block; what killed predictions left is removed before it.

    Args:
        out: The mask that is being made.
        place: Folder to make it in; None means beside `out`.
        needed: Bytes that it will hold.

    Yields:
        The folder.

    Raises:
        InputError: `place` is no folder, or its disk is too small.
    """
    folder = name_temporary(out if place is None else Path(place) / out.name, "scratch")
    require(folder.parent.is_dir(), f"scratch={folder.parent} is not a folder")
    for stale in {out, folder.with_name(out.name)}:
        clear_stale(stale)
    free = shutil.disk_usage(folder.parent).free
    require(
        needed <= free,
        f"{folder.parent} has {_format_bytes(free)} free, and {out} needs about {_format_bytes(needed)} while it is "
        "predicted: make room, or give scratch= on another disk",
    )
    folder.mkdir()
    try:
        yield folder
    finally:
        remove(folder)


def _format_bytes(number: int) -> str:
    """An amount in GiB, or in MiB where that would be no GiB at all."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def estimate_scratch(config: Config, shape: Sequence[int], classes: int, probabilities: bool) -> int:
    """Return the bytes that an image takes on the disk for a while.

    Args:
        config: Settings of the run.
        shape: Of the image, (*spatial, C).
        classes: Number of classes.
        probabilities: Whether their probabilities are written too.
    """
    pixels = prod(shape[:-1])
    superpixels = ARMS[config.pipeline.name].uses_superpixels  # a smoothed image and all ids
    scores = 4 * classes * (probabilities + isinstance(config.pipeline, CoarseGnnConfig))  # of its U-Net
    return pixels * (1 + scores + superpixels * (8 + 4 * shape[-1] + 4 * (config.superpixels.views - 1)))
