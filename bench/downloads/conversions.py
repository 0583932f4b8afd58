"""From the files of a public set, as they were fetched, to images and masks of classes in three splits."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import require
from bench.downloads.archives import unpack

WELL = re.compile(r"_([A-Z]\d{2})_w1_")  # of BBBC010's file names; w1 is the bright field
ANIMALS = {"sub-rat4": "val", "sub-rat5": "test", "sub-rat7": "test"}  # the two largest images are for testing
AXON_LEVELS = (64, 192)  # grey values 0, 127 or 128 and 255 stand for the classes, a few pixels lie between


@dataclass(frozen=True)
class Converted:
    """An image (*spatial) or (*spatial, C) as it was published, its mask (*spatial) of classes, and its split."""

    name: str
    image: NDArray[Any]
    mask: NDArray[np.uint8]
    split: str


def read_plain_picture(path: Path) -> NDArray[Any]:
    """Return the values of a TIFF or PNG file."""
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        return np.asarray(tifffile.imread(path))
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def take_first_channel(values: NDArray[Any]) -> NDArray[Any]:
    """Return grey values that were saved with channels, such as transparency, as (rows, columns)."""
    return values if values.ndim == 2 else values[..., 0]


def split_blocks(count: int) -> list[str]:
    """Return the splits of `count` neighbouring images: the first 60 % train, the next 20 % val, the rest test."""
    first, second = round(0.6 * count), round(0.8 * count)
    return ["train"] * first + ["val"] * (second - first) + ["test"] * (count - second)


def find_folders(folder: Path, *parts: str) -> Path:
    """Return the one folder below `folder` whose path ends in `parts`. Raises InputError where it is not one."""
    found = [path for path in folder.rglob(parts[-1]) if path.is_dir() and path.parts[-len(parts) :] == parts]
    found = [path for path in found if "__MACOSX" not in path.parts]
    require(len(found) == 1, f"{folder} holds {len(found)} folders {'/'.join(parts)}: the archive is another one")
    return found[0]


def pair_files(images: Path, masks: Path) -> Iterator[tuple[Path, Path]]:
    """Yield image and mask of equal names in two folders, sorted. Raises InputError where one is missing."""
    for path in sorted(path for path in images.iterdir() if path.is_file() and path.name[0] != "."):
        mask = masks / path.name
        require(mask.is_file(), f"{mask} is missing: the archive is another one")
        yield path, mask


def convert_nist(original: Path, scratch: Path) -> Iterator[Converted]:
    """Yield the images of usnistgov/semantic-segmentation-unet; their numbers are classes already.

    Args:
        original: Folder of the fetched files.
        scratch: Folder for what is unpacked, not needed here.
    """
    del scratch
    pairs = list(pair_files(original / "data" / "images", original / "data" / "masks"))
    for (image, mask), split in zip(pairs, split_blocks(len(pairs)), strict=True):
        yield Converted(image.stem, read_plain_picture(image), read_plain_picture(mask).astype(np.uint8), split)


def convert_axondeepseg(original: Path, scratch: Path) -> Iterator[Converted]:
    """Yield the images of axondeepseg/data_axondeepseg_sem, split by animal; see `convert_nist`."""
    del scratch
    for path in sorted(original.glob("sub-*/micr/*_SEM.png")):
        animal, name = path.parts[-3], path.stem.removesuffix("_SEM")
        labels = original / "derivatives" / "labels" / animal / "micr" / f"{path.stem}_seg-axonmyelin-manual.png"
        grey = take_first_channel(read_plain_picture(labels))
        mask = np.digitize(grey, AXON_LEVELS).astype(np.uint8)
        yield Converted(name, take_first_channel(read_plain_picture(path)), mask, ANIMALS.get(animal, "train"))


def convert_dsb2018(original: Path, scratch: Path) -> Iterator[Converted]:
    """Yield the fluorescence images of the 2018 Data Science Bowl as StarDist publishes them.

    The published test images stay test images; every seventh of the others, by name, is for validation.

    Args:
        original: Folder of the fetched files.
        scratch: Folder for what is unpacked.
    """
    unpack(original / "dsb2018.zip", scratch)
    for part in ("train", "test"):
        pairs = pair_files(find_folders(scratch, part, "images"), find_folders(scratch, part, "masks"))
        yield from convert_instances(list(pairs), part)


def convert_deepbacs(original: Path, scratch: Path) -> Iterator[Converted]:
    """Yield the images of DeepBacs for StarDist; splits as in `convert_dsb2018`."""
    [archive] = original.glob("*.zip")
    unpack(archive, scratch)
    for folder, part in (("training", "train"), ("test", "test")):
        pairs = pair_files(find_folders(scratch, folder, "source"), find_folders(scratch, folder, "target"))
        yield from convert_instances(list(pairs), part)


def convert_instances(pairs: Sequence[tuple[Path, Path]], part: str) -> Iterator[Converted]:
    """Yield images whose masks number the objects; of training images every seventh is for validation.

    Args:
        pairs: Image and mask of each, sorted.
        part: train or test, with which the names begin.
    """
    for number, (image, mask) in enumerate(pairs):
        split = "val" if part == "train" and number % 7 == 6 else part
        objects = (read_plain_picture(mask) > 0).astype(np.uint8)
        yield Converted(f"{part}_{image.stem}", read_plain_picture(image), objects, split)


def convert_bbbc010(original: Path, scratch: Path) -> Iterator[Converted]:
    """Yield the bright-field images of BBBC010 and the union of the masks of their worms, split by well.

    Args:
        original: Folder of the fetched files.
        scratch: Folder for what is unpacked.
    """
    unpack(original / "BBBC010_v2_images.zip", scratch / "images")
    unpack(original / "BBBC010_v1_foreground_eachworm.zip", scratch / "worms")
    worms = defaultdict(list)
    for path in sorted((scratch / "worms").rglob("*_ground_truth.png")):
        if path.name[0] != ".":
            worms[path.name[:3]].append(path)
    found = ((WELL.search(path.name), path) for path in sorted((scratch / "images").rglob("*.tif")))
    images = {well[1]: path for well, path in found if well is not None and path.name[0] != "."}
    for number, well in enumerate(sorted(set(images) & set(worms))):
        objects = np.any([take_first_channel(read_plain_picture(path)) > 0 for path in worms[well]], axis=0)
        split = {3: "val", 4: "test"}.get(number % 5, "train")
        yield Converted(well, read_plain_picture(images[well]), objects.astype(np.uint8), split)
