"""A public set as a folder of images and masks: fetched, unpacked, converted, and kept whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import InputError, require
from bench.downloads import conversions
from bench.downloads.cache import ORIGINALS, find_converted
from bench.downloads.catalogue import PublicSet
from bench.downloads.conversions import Converted
from bench.downloads.download import fetch_files
from bench.files import fill_atomically, remove, write_atomically

ORDER = ("test", "val", "train")  # of two equal images in different splits the one of the later split is left out


def provide(entry: PublicSet, cache: Path, mirror: str | None = None, retries: int = 2) -> Path:
    """Fetch and convert a set, unless that was done before.

    Args:
        entry: The set.
        cache: Folder of all sets.
        mirror: As in `bench.downloads.download.fetch_files`.
        retries: Further attempts at a file.

    Returns:
        The folder with images/, masks/, splits.json and source.json.

    Raises:
        InputError: It cannot be had or written, in one sentence.
    """
    folder, original = find_converted(cache, entry.name), cache / entry.name / ORIGINALS
    if folder.is_dir():
        return folder
    hashes = fetch_files(entry, original, mirror, retries)
    convert: Callable[[Path, Path], Iterable[Converted]] = getattr(conversions, entry.convert)
    scratch = cache / entry.name / f"unpacked-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    try:
        with fill_atomically(folder) as temporary:
            remove(scratch)
            write_folder(convert(original, scratch), temporary, entry.rule)
            for notice in original.glob("LICENSE*"):
                shutil.copyfile(notice, temporary / "LICENCE.txt")
            write_atomically(temporary / "source.json", json.dumps(describe_source(entry, hashes), indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): give dataset.cache_dir") from error
    finally:
        remove(scratch)
    return folder


def write_folder(items: Iterable[Converted], folder: Path, rule: str) -> None:
    """Write images, masks and splits.json as `dataset=folder` reads them.

    Of images of equal pixels in different splits only that of the first of `ORDER` is kept: what is learned must not be
    tested. The others are listed under `excluded`.

    Args:
        items: The images, one at a time in memory.
        folder: Folder to be filled.
        rule: How the images were split, for `splits.json`.

    Raises:
        InputError: Image and mask of an item have different sizes, or a split stays empty.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    splits: dict[str, str] = {}
    digests: dict[str, str] = {}
    for item in items:
        require(
            item.image.shape[: item.mask.ndim] == item.mask.shape,
            f"{item.name} has the shape {item.image.shape} and its mask {item.mask.shape}: the files are other ones",
        )
        write_item(item, folder)
        splits[item.name], digests[item.name] = item.split, hash_values(item.image)
    listed: dict[str, Any] = share_out(splits, digests)
    for split in ORDER:
        require(len(listed[split]) > 0, f"{folder} would have no image for {split}: the files are other ones")
    write_atomically(folder / "splits.json", json.dumps(listed | {"rule": rule}, indent=1) + "\n")


def write_item(item: Converted, folder: Path) -> None:
    """Write one image as TIFF and its mask as PNG."""
    import tifffile
    from PIL import Image

    colour = item.image.ndim == 3 and item.image.shape[-1] == 3
    kind = "rgb" if colour else "minisblack"
    tifffile.imwrite(folder / "images" / f"{item.name}.tif", np.ascontiguousarray(item.image), photometric=kind)
    Image.fromarray(item.mask).save(folder / "masks" / f"{item.name}.png")


def hash_values(image: np.ndarray[Any, Any]) -> str:
    """Return a hash of the shape and the values of an image, whatever its number type."""
    values = np.ascontiguousarray(image.astype(np.float64))
    return hashlib.sha256(repr(image.shape).encode() + values.tobytes()).hexdigest()


def share_out(splits: dict[str, str], digests: dict[str, str]) -> dict[str, list[str]]:
    """Return the names of each split, and those left out, as `splits.json` has them.

    Args:
        splits: Split of each image by name.
        digests: Hash of its pixels by name.
    """
    listed: dict[str, list[str]] = {"train": [], "val": [], "test": [], "excluded": []}
    owner: dict[str, str] = {}
    for name in sorted(splits, key=lambda name: (ORDER.index(splits[name]), name)):
        first = owner.setdefault(digests[name], splits[name])
        listed[splits[name] if first == splits[name] else "excluded"].append(name)
    return listed


def describe_source(entry: PublicSet, hashes: dict[str, str]) -> dict[str, Any]:
    """Return what is kept of where a set is from.

    Args:
        entry: The set.
        hashes: SHA-256 of each fetched file by name.
    """
    files = {file.name: {"url": file.url, "sha256": hashes[file.name]} for file in entry.files}
    return {
        "name": entry.name,
        "licence": entry.licence,
        "citation": entry.citation,
        "source": entry.source,
        "trust": entry.trust,
        "files": files,
    }
