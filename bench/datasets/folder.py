"""The user's own images: read once to check everything before any training, then again only when they are asked for."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import FolderConfig, require
from bench.datasets.classes import check_masks, class_shares, classes_of, notes_of
from bench.datasets.files import Classes, ImageFile, MaskFile
from bench.datasets.fingerprint import open_fingerprint
from bench.datasets.inspection import Inspected
from bench.datasets.listing import in_words
from bench.datasets.manifest import SPLITS, Manifest, read_manifest, root_of
from bench.datasets.normalization import LEARNED, Moments, Scaling, Stored, choose, training_moments
from bench.datasets.proposal import propose
from bench.datasets.sample import Sample, Splits, Task

FEW_TEST_IMAGES = 5  # below which no interval over the test images says much
SINGLE_LARGEST = float(np.finfo(np.float32).max)


def load(config: FolderConfig, keep_in: Path | None = None) -> Splits:
    """Load a data set, checked in full.

    Args:
        config: The data set's settings.
        keep_in: Folder whose fingerprint of the data set is used and kept; files that it knows are not read again.

    Returns:
        The samples of each split, read when they are asked for.

    Raises:
        InputError: Anything that would make a result wrong, named by file or setting.
    """
    manifest, known = read_manifest(config), open_fingerprint(config, keep_in)
    looked = [known.look(entry, config) for entry in manifest.entries]
    items = [item for item, _ in looked]
    check_alike(items, config)
    check_leaks(items)
    class_names = check_masks(items, config)
    classes = classes_of(config, len(class_names))
    pooled = training_moments(config.normalization, [item.moments for item in items if item.entry.split == "train"])
    train, val, test = (
        [sample_of(item, config, pooled, classes) for item in items if item.entry.split == split] for split in SPLITS
    )
    task = Task(class_names, items[0].shape[-1], len(items[0].shape) - 1, config.ignore_index)
    facts = facts_of(manifest, items, [digest for _, digest in looked])
    known.save(summary_of(items, task, config, facts))
    return Splits(
        root_of(config).resolve().name,
        task,
        train,
        val,
        test,
        facts,
        Stored(pooled, tuple(sorted({str(item.dtype) for item in items if item.entry.split == "train"}))),
        (*manifest.notes, *notes(items), *notes_of(items, class_names, config)),
        tuple(str(suggestion) for suggestion in propose(items, class_names, config)),
    )


def sample_of(item: Inspected, config: FolderConfig, train: Moments, classes: Classes) -> Sample:
    """The image and mask of one entry, scaled and mapped when they are read."""
    scaling = choose(config.normalization, item.dtype, item.moments, train)
    check_scaled(item, scaling, config)
    first, *others = item.entry.images
    holes = item.intensities.holes > 0
    image = ImageFile(first, item.layout, scaling, item.shape, config.max_pixels, tuple(others), holes)
    return Sample(item.entry.name, image, MaskFile(item.entry.mask, classes, item.shape[:-1], config.max_pixels))


def facts_of(manifest: Manifest, items: Sequence[Inspected], digests: Sequence[str]) -> dict[str, str | int | float]:
    """Columns of `runs`: images and pixels of each split, and what the files hold, as a short hash."""
    content = hashlib.sha256()
    for item, digest in zip(items, digests, strict=True):
        content.update(repr((item.entry.name, item.entry.split, digest)).encode())
    facts: dict[str, str | int | float] = {
        "dataset.content": content.hexdigest()[:12],
        "dataset.split_rule": manifest.rule,
    }
    for split in SPLITS:
        shapes = [item.shape[:-1] for item in items if item.entry.split == split]
        facts[f"dataset.images_{split}"] = len(shapes)
        facts[f"dataset.pixels_{split}"] = sum(prod(shape) for shape in shapes)
    return facts


def summary_of(
    items: Sequence[Inspected], task: Task, config: FolderConfig, facts: dict[str, str | int | float]
) -> dict[str, Any]:
    """What the images are, for whoever reads the fingerprint."""
    shares = class_shares(items, task.num_classes, config)
    return {
        "root": str(root_of(config).resolve()),
        **facts,
        "spatial_axes": task.spatial_axes,
        "channels": task.in_channels,
        "number_types": sorted({str(item.dtype) for item in items}),
        "shapes": sorted({item.shape[:-1] for item in items}),
        "class_shares": dict(zip(task.class_names, shares, strict=True)),
        "lowest": np.min([item.intensities.low for item in items], axis=0).tolist(),
        "highest": np.max([item.intensities.high for item in items], axis=0).tolist(),
    }


# --------------------------------------------------------------------------------------------- the set as a whole


def check_alike(items: Sequence[Inspected], config: FolderConfig) -> None:
    """All images have the channels and axes of the first, and number types that one scaling fits."""
    first = items[0]
    for other in items[1:]:
        for what, one, two in (
            ("spatial axes", len(first.shape) - 1, len(other.shape) - 1),
            ("channels", first.shape[-1], other.shape[-1]),
        ):
            require(
                one == two,
                f"{other.entry.image} has {two} {what} and {first.entry.image} has {one}: all must have the same",
            )
        require(
            config.normalization not in LEARNED or same_scale(first.dtype, other.dtype),
            f"{other.entry.image} holds {other.dtype} values and {first.entry.image} {first.dtype}, and "
            f"dataset.normalization={config.normalization} scales all images alike: save them as one number type, or "
            "use dataset.normalization=per_image",
        )


def same_scale(one: np.dtype[np.generic], other: np.dtype[np.generic]) -> bool:
    """Whether equal numbers of both types mean equal intensities: the same integers, or any floating point."""
    return one == other or one.kind == other.kind == "f"


def check_leaks(items: Sequence[Inspected]) -> None:
    """Refuse images of equal pixels, or of a common file, in different splits: what is learned would be tested."""
    by_pixels: dict[str, Inspected] = {}
    by_file: dict[Path, Inspected] = {}
    for item in items:
        other = by_pixels.setdefault(item.intensities.digest, item)
        require(
            other.entry.split == item.entry.split or item.intensities.flat,
            f"{other.entry.image} ({other.entry.split}) and {item.entry.image} ({item.entry.split}) hold the same "
            "pixels: remove one, or put both into one split by splits.json",
        )
        for path in item.sources:
            if path == item.entry.mask:
                continue
            owner = by_file.setdefault(path.resolve(), item)
            require(
                owner is item,
                f"{owner.entry.image} and {item.entry.image} both take pixels from {path.name}: save each as a file of "
                "its own",
            )


def check_scaled(item: Inspected, scaling: Scaling, config: FolderConfig) -> None:
    """Refuse values that the scaling leaves beyond float32."""
    extremes = np.array([item.intensities.low, item.intensities.high])
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.abs((extremes - scaling.offset) / scaling.divisor)
    largest = float(np.abs(extremes).max())
    require(
        bool((scaled <= SINGLE_LARGEST).all()),
        f"{item.entry.image} holds {largest:.3g}, which dataset.normalization={config.normalization} leaves beyond the "
        f"range of float32 ({SINGLE_LARGEST:.2g}): divide the values, or use dataset.normalization=per_image",
    )


def notes(items: Sequence[Inspected]) -> Iterator[str]:
    """What a reader of the results must know of the images, in sentences."""
    for why, found in (
        ("were turned as their orientation tags say", [item for item in items if item.turned]),
        ("lack chunks, whose pixels count as the fill value", [item for item in items if item.absent]),
        ("hold one value only", [item for item in items if item.intensities.flat]),
        ("hold values that are not finite, all of them ignored", [item for item in items if item.intensities.holes]),
        ("hold the pixels of another image of their split", twins(items)),
    ):
        if found:
            yield f"{in_words([item.entry.image for item in found])} {why}"
    tests = sum(item.entry.split == "test" for item in items)
    if tests < FEW_TEST_IMAGES:
        yield f"the test split has {tests} {'image' if tests == 1 else 'images'}: differences of scores may be chance"


def twins(items: Iterable[Inspected]) -> list[Inspected]:
    """Images whose pixels an earlier image has."""
    seen: set[str] = set()
    again = []
    for item in items:
        if item.intensities.digest in seen:
            again.append(item)
        seen.add(item.intensities.digest)
    return again
