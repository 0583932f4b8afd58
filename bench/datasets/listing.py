"""Which files a folder of images or masks holds, by name: what is read, and what is left out."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.config import require
from bench.datasets.opening import SUFFIXES, advise_conversion, is_image, strip_suffix
from bench.datasets.zarr_files import is_store

JUNK = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"}  # what systems leave in folders, hidden files aside
SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Listing:
    """The images below a folder by key, their path below it without the suffix, and what is not read, with reasons."""

    folder: Path
    files: dict[str, Path]
    others: tuple[Path, ...]


def explain_missing_folder(folder: Path) -> str:
    """Return the sentence on a folder that is not there, with those that are beside the place where it should be."""
    beside = sorted(path.name for path in folder.parent.glob("*/") if path.name[0] != ".")[:8]
    advice = f"; {folder.parent} holds {', '.join(beside)}" if beside else ""
    return (
        f"{folder} is not a folder: a data set has one folder of images and one of masks, images/ and masks/, or those "
        f"that dataset.images and dataset.masks name{advice}"
    )


def list_images(folder: Path, without: Path | None = None) -> Listing:
    """List the images below `folder`, those in subfolders too.

    Args:
        folder: A folder of images or masks.
        without: A folder that may lie within and is left out: that of the masks, or of the images.

    Returns:
        Images by key (in Unicode's composed form, with `/` between folders), and everything else that is not hidden.

    Raises:
        InputError: There is no such folder or no image in it, two images have the same key, or a name is not UTF-8.
    """
    require(folder.is_dir(), explain_missing_folder(folder))
    found: dict[str, Path] = {}
    others: list[Path] = []
    for path in walk_images(folder, without):
        check_utf8(path)
        if not is_image(path):
            others.append(path)
            continue
        key = normalise_name(path.with_name(strip_suffix(path)).relative_to(folder).as_posix())
        require(
            key not in found,
            f"{folder} holds both {found.get(key, path).name} and {path.name}: give each image a name of its own",
        )
        found[key] = path
    advice = f" ({name_files(others)} cannot be read)" if others else ""
    suffixes = f"{', '.join(SUFFIXES)}{advise_conversion(others)}"
    require(len(found) > 0, f"{folder} holds no images{advice}: files must end in {suffixes}")
    return Listing(folder, found, tuple(others))


def walk_images(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order; a Zarr store, and a folder that is a link, count as one."""
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or path.name in JUNK or path == without:
            continue
        if path.is_dir() and not is_image(path) and not is_store(path) and not path.is_symlink():
            yield from walk_images(path, without)
        else:
            yield path


def normalise_name(name: str) -> str:
    """Return a name in Unicode's composed form: macOS stores umlauts in two parts, others in one."""
    return unicodedata.normalize("NFC", name)


def flatten_name(name: str) -> str:
    """Return the name of an image as one file name without spaces: what an exported image is called."""
    return re.sub(r"[^\w.-]", "_", name)


def check_utf8(path: Path) -> None:
    """Refuse a name whose bytes are not UTF-8: tables and reports could not hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        require(False, f"the name of {shown} is not UTF-8: rename it")


def name_files(paths: Sequence[Path]) -> str:
    """Return how many files there are, and which, as in `7 files: a.bmp, b.bmp, ...`."""
    names = ", ".join(path.name for path in paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'}: {names}"


# --------------------------------------------------------------------------------------------- names by a pattern


def extract_name(pattern: str, key: str) -> str | None:
    """Return what the `*` of a pattern for the last part of a path stands for in `key`; None if it does not fit."""
    folder, _, last = key.rpartition("/")
    start, _, end = pattern.partition("*")
    if not (last.startswith(start) and last.endswith(end) and len(last) > len(start) + len(end)):
        return None
    middle = last[len(start) : len(last) - len(end)]
    return f"{folder}/{middle}" if folder else middle


def index_by_name(listing: Listing, pattern: str) -> dict[str, Path]:
    """Return the files whose keys fit a pattern, by the part that `*` stands for."""
    named = ((extract_name(pattern, key), path) for key, path in listing.files.items())
    return {name: path for name, path in named if name is not None}


def match_masks(names: Sequence[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the file of each name: of the same folder and name.

    Where all names, or all files, lie in one folder without subfolders, a file of another folder counts too, if the
    name is unique.
    """
    nested = any("/" in name for name in names) and any("/" in key for key in files)
    unique = {} if nested else index_unique(names)
    alone = {last: key for last, key in index_unique(list(files)).items() if last in unique}
    found = {}
    for name in names:
        key = name if name in files else alone.get(name.rpartition("/")[2])
        if key is not None:
            found[name] = files[key]
    return found


def index_unique(names: Sequence[str]) -> dict[str, str]:
    """Return names by their last parts, without the last parts that several names share."""
    lasts = [name.rpartition("/")[2] for name in names]
    times = Counter(lasts)
    return {last: name for last, name in zip(lasts, names, strict=True) if times[last] == 1}


def propose_patterns(images: Sequence[str], masks: Sequence[str]) -> str:
    """Settings under which each image has a mask, in words; empty where no common prefix or suffix gives any.

    Args:
        images: Keys of the images.
        masks: Keys of the masks; of images without folders, a mask may lie in any.
    """
    lasts = [key.rpartition("/")[2] for key in masks]
    if not any("/" in key for key in images) and len(set(lasts)) == len(lasts):
        masks = lasts
    first = images[0].rpartition("/")[2]
    direct = [key.rpartition("/")[2].replace(first, "*", 1) for key in masks if first in key.rpartition("/")[2]]
    for one, other in (
        *(("*", pattern) for pattern in direct),
        *product(["*", *derive_patterns(images)], ["*", *derive_patterns(masks)]),
    ):
        names, wanted = {extract_name(one, key) for key in images}, {extract_name(other, key) for key in masks}
        if names <= wanted and None not in names:
            return write_settings([one], other)
    return propose_channels(images, masks)


def derive_patterns(keys: Sequence[str]) -> list[str]:
    """Return patterns of the prefix and suffix that all names share, those first that leave digits to the name."""
    lasts = [key.rpartition("/")[2] for key in keys]
    start = find_common_start(lasts)
    end = find_common_start([last[len(start) :][::-1] for last in lasts])[::-1]
    before, after = start.rstrip("0123456789"), end.lstrip("0123456789")
    return [f"*{after}", f"{before}*", f"{before}*{after}", f"{start}*{end}"]


def find_common_start(texts: Sequence[str]) -> str:
    """Return the longest text with which all begin."""
    first, last = min(texts), max(texts)
    return first[: next((n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))]


def propose_channels(images: Sequence[str], masks: Sequence[str]) -> str:
    """Return the setting for images whose channels are files called name_0000, name_0001 ...; empty if none fits."""
    parts = [key.rpartition("_") for key in images]
    if not all(digits.isdigit() and len(digits) == 4 for _, _, digits in parts):
        return ""
    if not {name for name, _, _ in parts} <= set(masks):
        return ""
    return write_settings([f"*_{digits}" for digits in sorted({digits for _, _, digits in parts})], "*")


def write_settings(image_patterns: Sequence[str], mask_pattern: str) -> str:
    """Return the part of a command line that sets these patterns."""
    settings = []
    if list(image_patterns) != ["*"]:
        settings.append(f"'dataset.image_names=[{','.join(image_patterns)}]'")
    if mask_pattern != "*":
        settings.append(f"'dataset.mask_name={mask_pattern}'")
    return " ".join(settings)
