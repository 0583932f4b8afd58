"""The user's own images: read once to check everything before any training, then again only on access."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import FEWEST_TEST_IMAGES, FolderConfig, require
from bench.datasets.channel_names import describe_channels, find_common
from bench.datasets.class_notes import describe_classes, describe_mapping
from bench.datasets.classes import complete_mapping, compute_class_shares, leave_out_planes, make_classes
from bench.datasets.files import Classes, ImageFile, MaskFile
from bench.datasets.fingerprint import open_fingerprint
from bench.datasets.held_out import cut_strips
from bench.datasets.inspection import Inspected, split_planes
from bench.datasets.listing import name_files
from bench.datasets.manifest import SPLITS, Manifest, find_dataset_root
from bench.datasets.mask_checks import check_masks
from bench.datasets.normalization import Moments, Scaling, Stored, choose_scaling, pool_training, share_scale
from bench.datasets.pixel_sizes import describe_lengths, describe_sizes, find_spacing
from bench.datasets.proposal import measure_objects, propose_settings
from bench.datasets.sample import Sample, Splits, Task
from bench.datasets.splitting import read_manifest

SINGLE_LARGEST = float(np.finfo(np.float32).max)


def load_folder(config: FolderConfig, keep_in: Path | None = None) -> Splits:
    """Load a data set, checked in full.

    Args:
        config: The data set's settings.
        keep_in: Folder with the fingerprint of the data set; files that are recorded there are not read again.

    Returns:
        The samples of each split, read on access.

    Raises:
        InputError: Anything that would make a result wrong, named by file or setting.
    """
    manifest, fingerprint = read_manifest(config), open_fingerprint(config, keep_in)
    if config.planes:
        manifest = split_planes(manifest, config)
    manifest = cut_strips(manifest, config, lambda entry: fingerprint.inspect(entry, config)[0])
    inspected, left_out = leave_out_planes([fingerprint.inspect(entry, config) for entry in manifest.entries], config)
    items = [item for item, _ in inspected]
    check_alike(items, config)
    check_leaks(items)
    given, config = config, complete_mapping(items, config)
    class_names = check_masks(items, config)
    classes = make_classes(config, len(class_names))
    pooled = pool_training(config.normalization, [item.moments for item in items if item.entry.split == "train"])
    train, val, test = (
        [make_sample(item, config, pooled, classes) for item in items if item.entry.split == split] for split in SPLITS
    )
    shapes = [item.shape[:-1] for item in items if item.entry.split == "train"]
    shortest = tuple(min(lengths) for lengths in zip(*shapes, strict=True))
    spacing = find_spacing(items, config)
    channels, axes = items[0].shape[-1], len(items[0].shape) - 1
    task = Task(class_names, channels, axes, config.ignore_index, shortest, spacing, find_common(items))
    widths = measure_objects(items, len(class_names), config, spacing)
    facts = collect_facts(manifest, items, [digest for _, digest in inspected], spacing)
    facts |= {"dataset.object_width": round(max(widths.values()), 1)} if widths else {}
    fingerprint.save(summarise_images(items, task, config, facts))
    return Splits(
        find_dataset_root(config).resolve().name,
        task,
        train,
        val,
        test,
        facts,
        Stored(pooled, tuple(sorted({str(item.dtype) for item in items if item.entry.split == "train"}))),
        (
            *manifest.notes,
            *left_out,
            *describe_images(items, spacing),
            *describe_channels(items),
            *describe_sizes(items),
            *describe_mapping(config, given),
            *describe_classes(items, class_names, config),
        ),
        propose_settings(items, class_names, widths, spacing),
    )


def make_sample(item: Inspected, config: FolderConfig, train: Moments, classes: Classes) -> Sample:
    """Return the image and mask of one entry, which are scaled and mapped on access.

    Args:
        item: What inspection found.
        config: Settings of the data set.
        train: Moments of the training images, as `pool_training` gives them.
        classes: The mapping from numbers to classes.

    Returns:
        The sample.

    Raises:
        InputError: The scaling leaves values beyond float32.
    """
    scaling = choose_scaling(config.normalization, item.dtype, item.moments, train)
    check_scaled(item, scaling, config)
    first, *others = item.entry.images
    holes = item.intensities.holes > 0
    image = ImageFile(
        first,
        item.layout,
        scaling,
        item.shape,
        config.max_pixels,
        tuple(others),
        holes,
        config.channel_axis,
        item.entry.plane,
        item.entry.strip,
    )
    colours = tuple(config.mask_colours or ())
    place = (item.entry.plane, colours, item.entry.strip)
    mask = MaskFile(item.entry.mask, classes, item.shape[:-1], config.max_pixels, *place)
    return Sample(item.entry.name, image, mask)


def collect_facts(
    manifest: Manifest, items: Sequence[Inspected], digests: Sequence[str], spacing: Sequence[float] | None
) -> dict[str, str | int | float]:
    """Return columns of `runs`: images and pixels of each split, and a short hash of what the files hold.

    Args:
        manifest: How the images were split.
        items: All images and masks.
        digests: A hash of the files of each.
        spacing: As `find_spacing` returns it.

    Returns:
        Values by name of the column.
    """
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
    if spacing is not None:
        facts["dataset.pixel_lengths"] = describe_lengths(items, spacing)
    return facts


def summarise_images(
    items: Sequence[Inspected], task: Task, config: FolderConfig, facts: dict[str, str | int | float]
) -> dict[str, Any]:
    """Return what the images are, for readers of the fingerprint.

    Args:
        items: All images and masks.
        task: Classes, channels and axes.
        config: Settings of the data set.
        facts: Columns of `runs`.
    """
    shares = compute_class_shares(items, task.num_classes, config)
    return {
        "root": str(find_dataset_root(config).resolve()),
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
    """Refuse images whose channels or axes differ from the first, or whose number types no common scaling fits."""
    first = items[0]
    for other in items[1:]:
        for what, one, two in (
            ("spatial axes", len(first.shape) - 1, len(other.shape) - 1),
            ("channels", first.shape[-1], other.shape[-1]),
        ):
            colours = what == "channels" and {one, two} == {1, 3}
            advice = "save all as grey or all as RGB" if colours else "all must have the same"
            require(one == two, f"{other.entry.image} has {two} {what} and {first.entry.image} has {one}: {advice}")
        require(
            config.normalization == "per_image" or share_scale(first.dtype, other.dtype),
            f"{other.entry.image} holds {other.dtype} values and {first.entry.image} {first.dtype}, and "
            f"dataset.normalization={config.normalization} scales all images alike: save them as one number type, or "
            "use dataset.normalization=per_image",
        )


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
                owner is item or owner.entry.images == item.entry.images,
                f"{owner.entry.image} and {item.entry.image} both take pixels from {path.name}: save each as a file of "
                "its own",
            )


def check_scaled(item: Inspected, scaling: Scaling, config: FolderConfig) -> None:
    """Refuse values that the scaling leaves beyond float32.

    Args:
        item: What inspection found.
        scaling: The scaling of the image.
        config: Settings of the data set.
    """
    extremes = np.array([item.intensities.low, item.intensities.high])
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.abs((extremes - scaling.offset) / scaling.divisor)
    largest = float(np.abs(extremes).max())
    require(
        bool((scaled <= SINGLE_LARGEST).all()),
        f"{item.entry.image} holds {largest:.3g}, which dataset.normalization={config.normalization} leaves beyond the "
        f"range of float32 ({SINGLE_LARGEST:.2g}): divide the values, or use dataset.normalization=per_image",
    )


def describe_volumes(items: Sequence[Inspected], spacing: Sequence[float] | None) -> Iterator[str]:
    """Yield how volumes were read, and which shape their voxels or pixels have, in sentences."""
    volumes = [item for item in items if len(item.shape) == 4]
    if not volumes:
        if spacing is not None:
            lengths = describe_lengths(items, spacing)
            yield f"pixels are {lengths} (rows, columns): distances, smoothing and superpixels take account of it"
        return
    sizes = " x ".join(str(length) for length in volumes[0].shape[:-1])
    yield f"stacks were read as volumes, the first of {sizes}; dataset.planes=true reads their planes as images"
    if spacing is not None:
        lengths = describe_lengths(volumes, spacing)
        yield f"voxels are {lengths}: distances, smoothing and the 3-D network take account of it"
        return
    silent = [item.entry.image for item in volumes if item.pixel_size is None]
    if len(silent) == len(volumes):
        yield (
            "the files do not say how long voxels are along every axis, so they count as cubes; "
            "dataset.spacing=[z,y,x] says otherwise"
        )
    elif silent:
        yield (
            f"the length of a voxel along every axis does not stand in {name_files(silent)}: in all volumes voxels "
            "count as cubes; dataset.spacing=[z,y,x] says otherwise"
        )


def describe_images(items: Sequence[Inspected], spacing: Sequence[float] | None = None) -> Iterator[str]:
    """Yield what limits the meaning of the results, as far as it lies in the images, in sentences."""
    yield from describe_volumes(items, spacing)
    for one, several, why, found in (
        ("was", "were", "turned as the orientation tag says", [item for item in items if item.turned]),
        ("lacks", "lack", "chunks, whose pixels count as the fill value", [item for item in items if item.absent]),
        ("holds", "hold", "one value only", [item for item in items if item.intensities.flat]),
        ("holds", "hold", "infinite or missing values, ignored", [item for item in items if item.intensities.holes]),
        ("holds", "hold", "the pixels of another image of the same split", find_twins(items)),
    ):
        if found:
            yield f"{name_files([item.entry.image for item in found])} {one if len(found) == 1 else several} {why}"
    tests = sum(item.entry.split == "test" for item in items)
    if tests < FEWEST_TEST_IMAGES:
        yield f"the test split has {tests} {'image' if tests == 1 else 'images'}: differences of scores may be chance"


def find_twins(items: Iterable[Inspected]) -> list[Inspected]:
    """Return the images whose pixels an earlier image has."""
    seen: set[str] = set()
    again = []
    for item in items:
        if item.intensities.digest in seen:
            again.append(item)
        seen.add(item.intensities.digest)
    return again
