"""The user's own images: read once to check everything before any training, then again only when they are asked for."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays.rows import cut_bands
from bench.config import FolderConfig, require
from bench.datasets.examine import examine
from bench.datasets.files import Arranged, Classes, ImageFile, Layout, MaskFile
from bench.datasets.manifest import SPLITS, Entry, Manifest, read_manifest, root_of
from bench.datasets.normalization import BAND_VALUES, Moments, Stored, choose, training_moments
from bench.datasets.opening import StoredMask, open_image, open_mask
from bench.datasets.sample import Sample, Splits, Task
from bench.datasets.stored import Header

MOST_CLASSES = 32  # that masks may hold without `dataset.class_names`: more look like cell numbers or grey values


@dataclass(frozen=True)
class Checked:
    """What one reading of an image and its mask has found."""

    entry: Entry
    layout: Layout
    shape: tuple[int, ...]  # (*spatial, C)
    dtype: np.dtype[Any]  # of the stored image
    moments: Moments
    numbers: tuple[int, ...]  # that occur in the mask, sorted
    digest: str


# ---------------------------------------------------------------------------------------------- one image and mask


def layout_of(path: Path, header: Header, mask_shape: tuple[int, ...], channel_axis: int | None) -> Layout:
    """Find the channels of an image whose mask has `mask_shape`; `channel_axis` outweighs the file's own word."""
    shape, axes = header.shape, len(mask_shape)
    if len(shape) == axes:
        require(shape == mask_shape, f"{path} has the shape {shape} and its mask {mask_shape}: they must be the same")
        return Layout(None, False)
    require(
        len(shape) == axes + 1,
        f"{path} has {len(shape)} axes and its mask {axes}: an image has those of its mask and perhaps one of channels",
    )
    stated = header.channel_axis if channel_axis is None else channel_axis
    axis = len(shape) - 1 if stated is None else stated
    require(
        -len(shape) <= axis < len(shape),
        f"dataset.channel_axis = {axis} does not exist in {path}, whose shape is {shape}",
    )
    axis %= len(shape)
    require(without(shape, axis) == mask_shape, mismatch(path, shape, mask_shape, axis))
    return Layout(axis, header.alpha)


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def mismatch(path: Path, shape: tuple[int, ...], mask_shape: tuple[int, ...], axis: int) -> str:
    """Say how image and mask differ, and which channel axis would mend it."""
    fitting = [other for other in range(len(shape)) if without(shape, other) == mask_shape]
    advice = (
        f"set dataset.channel_axis={fitting[0]}" if fitting else "they must agree on all axes but that of the channels"
    )
    return f"{path} has the shape {shape} with channels on axis {axis}, and its mask {mask_shape}: {advice}"


def distinct(mask: StoredMask) -> tuple[int, ...]:
    """The numbers that occur in a mask, sorted; it is read band by band."""
    found: set[int] = set()
    for start, stop in cut_bands(mask.shape, BAND_VALUES):
        found.update(int(number) for number in np.unique(mask[start:stop]))
    return tuple(sorted(found))


def digest_of(paths: Iterable[Path]) -> str:
    """Hash of the content of files; of a folder, of the names and contents of all files in it."""
    digest = hashlib.sha256()
    for path in paths:
        for file in files_of(path):
            if file != path:
                digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def files_of(path: Path) -> list[Path]:
    """A file itself, or all files below a folder in a fixed order. Raises `InputError` for a link out of the folder."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        require(
            not file.is_symlink() or file.resolve().is_relative_to(path.resolve()),
            f"{file} is a link that leads out of the store: replace it by the file itself",
        )
    return files


def check(entry: Entry, config: FolderConfig) -> Checked:
    """Read one image and its mask, in bands; what is kept is small."""
    opened = open_image(entry.image, config.channel_axis, config.max_pixels)
    mask = open_mask(entry.mask, config.max_pixels)
    layout = layout_of(entry.image, opened.header, mask.shape, config.channel_axis)
    image = Arranged(opened.array, layout)
    found = examine(entry.image, image)
    digest = digest_of((entry.image, entry.mask))
    return Checked(entry, layout, image.shape, image.dtype, found, distinct(mask), digest)


# ------------------------------------------------------------------------------------------------- the whole set


def check_alike(checked: Sequence[Checked]) -> None:
    """All images have the channels and axes of the first."""
    first = checked[0]
    for other in checked[1:]:
        for what, one, two in (
            ("spatial axes", len(first.shape) - 1, len(other.shape) - 1),
            ("channels", first.shape[-1], other.shape[-1]),
        ):
            require(
                one == two,
                f"{other.entry.image} has {two} {what} and {first.entry.image} has {one}: all must have the same",
            )


def mapped(item: Checked, config: FolderConfig) -> tuple[int, ...]:
    """The classes that occur in a mask, `ignore_index` left out."""
    found = item.numbers
    if config.mask_values is not None:
        unknown = [number for number in found if number not in config.mask_values]
        require(
            not unknown,
            f"{item.entry.mask} holds {listed(unknown)}, which dataset.mask_values does not map: add it there",
        )
        found = tuple(config.mask_values[number] for number in found)
    return tuple(sorted({number for number in found if number != config.ignore_index}))


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers[:8]) + (", ..." if len(numbers) > 8 else "")


def class_names_of(checked: Sequence[Checked], config: FolderConfig) -> tuple[str, ...]:
    """The given names, or class_0 ... up to the largest class of all masks, none of which may be left out."""
    found = sorted({number for item in checked for number in mapped(item, config)})
    if config.class_names is not None:
        require(len(config.class_names) >= 2, f"dataset.class_names must name at least 2, got {config.class_names}")
        check_range(checked, config, len(config.class_names))
        return tuple(config.class_names)
    targets = set((config.mask_values or {}).values()) - {config.ignore_index}
    count = max([*found, *targets], default=0) + 1
    check_range(checked, config, count)
    advice = "give dataset.mask_values, as in {0: 0, 255: 1}, or dataset.class_names"
    folder = checked[0].entry.mask.parent
    require(
        count <= MOST_CLASSES,
        f"the masks in {folder} hold classes up to {count - 1}: if these are not classes, {advice}",
    )
    require(count >= 2, f"the masks in {folder} hold only one class, {listed(found)}: there is nothing to tell apart")
    missing = sorted(set(range(count)) - set(found) - targets - {config.ignore_index})
    require(not missing, f"the masks in {folder} hold {listed(found)} and never {listed(missing)}: {advice}")
    return tuple(f"class_{number}" for number in range(count))


def check_range(checked: Sequence[Checked], config: FolderConfig, count: int) -> None:
    for item in checked:
        outside = [number for number in mapped(item, config) if not 0 <= number < count]
        require(
            not outside,
            f"{item.entry.mask} holds class {listed(outside)}, outside 0 to {count - 1}: correct the mask, or give "
            "dataset.mask_values, dataset.class_names or dataset.ignore_index",
        )


def classes_of(config: FolderConfig, count: int) -> Classes:
    """Small integers where the classes and `ignore_index` fit into them."""
    ignored = config.ignore_index or 0
    dtype = np.dtype(np.uint8 if 0 <= ignored < 256 and count <= 256 else np.int32)
    return Classes(None if config.mask_values is None else tuple(sorted(config.mask_values.items())), dtype)


def facts_of(manifest: Manifest, checked: Sequence[Checked]) -> dict[str, str | int | float]:
    """Columns of `runs`: images and pixels of each split, and what the files hold, as a short hash."""
    content = hashlib.sha256()
    for item in checked:
        content.update(repr((item.entry.name, item.entry.split, item.digest)).encode())
    facts: dict[str, str | int | float] = {
        "dataset.content": content.hexdigest()[:12],
        "dataset.split_rule": manifest.rule,
    }
    for split in SPLITS:
        shapes = [item.shape[:-1] for item in checked if item.entry.split == split]
        facts[f"dataset.images_{split}"] = len(shapes)
        facts[f"dataset.pixels_{split}"] = sum(prod(shape) for shape in shapes)
    return facts


def sample_of(item: Checked, config: FolderConfig, train: Moments, classes: Classes) -> Sample:
    scaling = choose(config.normalization, item.dtype, item.moments, train)
    image = ImageFile(item.entry.image, item.layout, scaling, item.shape, config.max_pixels)
    return Sample(item.entry.name, image, MaskFile(item.entry.mask, classes, item.shape[:-1], config.max_pixels))


def load(config: FolderConfig) -> Splits:
    """The images below `config.root`, checked in full. Raises `InputError` naming the file or setting at fault."""
    manifest = read_manifest(config)
    checked = [check(entry, config) for entry in manifest.entries]
    check_alike(checked)
    class_names = class_names_of(checked, config)
    classes = classes_of(config, len(class_names))
    pooled = training_moments(config.normalization, [item.moments for item in checked if item.entry.split == "train"])
    samples = {
        split: [sample_of(item, config, pooled, classes) for item in checked if item.entry.split == split]
        for split in SPLITS
    }
    task = Task(class_names, checked[0].shape[-1], len(checked[0].shape) - 1, config.ignore_index)
    name = root_of(config).resolve().name
    dtypes = tuple(sorted({str(item.dtype) for item in checked if item.entry.split == "train"}))
    facts, stored = facts_of(manifest, checked), Stored(pooled, dtypes)
    return Splits(name, task, samples["train"], samples["val"], samples["test"], facts, stored)
