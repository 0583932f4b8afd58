"""The entries of a data set: which image goes with which mask, and into which split."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.config import FolderConfig, require
from bench.datasets.listing import check_utf8
from bench.datasets.strips import Strip

SPLITS = ("train", "val", "test")
SPELLINGS = {  # of the splits, in lower case
    "training": "train", "valid": "val", "validation": "val", "testing": "test",
    "train": "train", "val": "val", "test": "test", "excluded": "excluded",
}  # fmt: skip


@dataclass(frozen=True)
class ManifestEntry:
    """One image of the data set. `split` is one of `SPLITS`; several files are its channels, in their order."""

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: str
    plane: int | None = None  # of the stack in these files; None: all that they hold
    strip: Strip | None = None  # the part of the image that is meant; None: all of it

    @property
    def image(self) -> Path:
        """The first file, by which messages name the image."""
        return self.images[0]


@dataclass(frozen=True)
class Manifest:
    """The entries of a data set in a fixed order, how they were split, and what was left out, in sentences."""

    entries: tuple[ManifestEntry, ...]
    rule: str
    notes: tuple[str, ...] = ()

    def of(self, split: str) -> list[ManifestEntry]:
        """Return the entries of one split, in the order of the manifest."""
        return [entry for entry in self.entries if entry.split == split]


def find_dataset_root(config: FolderConfig) -> Path:
    """Return the data set's folder. Raises `InputError` where it is not set or not there."""
    require(config.root != "", "dataset.root is not set: give the folder that holds images/ and masks/")
    root = Path(config.root).expanduser()
    check_utf8(root)
    require(root.is_dir(), f"dataset.root = {config.root} is not a folder")
    return root


def check_once(path: Path, names: Iterable[str]) -> None:
    """Refuse a list of images, read from the file `path`, that names one of them twice. Raises `InputError`."""
    for name, times in Counter(names).items():
        require(times == 1, f"{path} names {name} {times} times: an image belongs to one split, once")
