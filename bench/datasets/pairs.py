"""Images and masks of two folders, matched by the patterns of their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.config import FolderConfig, InputError, require
from bench.datasets import listing
from bench.datasets.layouts import TABLE, explain_own_mask, list_folders, propose_in_one_folder
from bench.datasets.listing import Listing, index_by_name, name_files
from bench.datasets.manifest import ManifestEntry, find_dataset_root
from bench.datasets.opening import SUFFIXES, TIFFS, strip_suffix


@dataclass(frozen=True)
class Pairs:
    """Images and masks by name; an image has one file per channel, or one file."""

    images: dict[str, tuple[Path, ...]]
    masks: dict[str, Path]
    config: FolderConfig
    notes: tuple[str, ...]


def find_pairs(config: FolderConfig) -> Pairs:
    """Return the images and masks of both folders, matched by the patterns of their names."""
    images, masks = list_folders(config)
    check_patterns(config, images, masks)
    one_folder = is_one_folder(images, masks)
    if one_folder and config.mask_name != "*":
        kept = {k: p for k, p in images.files.items() if listing.extract_name(config.mask_name, k) is None}
        images = Listing(images.folder, kept, images.others)
    names, used = group_files(config, images)
    mask_files = index_by_name(masks, config.mask_name)
    matched = listing.match_masks(list(names), mask_files)
    names = drop_members(names, matched)
    used |= set(matched.values())
    left = [path for path in images.files.values() if path not in used]
    alone = [path for path in masks.files.values() if path not in used and path not in set(left)]
    lists = find_dataset_root(config) / (config.manifest or "splits.json")
    others, mask_others = ([path for path in side.others if path != lists] for side in (images, masks))
    notes = [
        f"{folder} holds {name_files(paths)}: {why}"
        for folder, paths, why in (
            (images.folder, others, "left out, for they are of a kind that is not read"),
            (images.folder, left, "left out, for dataset.image_names does not name them"),
            (masks.folder, [] if one_folder else mask_others, "left out, for they are of a kind that is not read"),
            (masks.folder, alone, "left out, for no image has that name"),
        )
        if paths
    ]
    return Pairs(names, matched, config, tuple(notes))


def is_one_folder(images: Listing, masks: Listing) -> bool:
    """Return whether images and masks lie in one folder."""
    return images.folder.resolve() == masks.folder.resolve()


def check_patterns(config: FolderConfig, images: Listing, masks: Listing) -> None:
    """Refuse patterns that end in the suffix of files, where they fit without it.

    Args:
        config: Settings of the data set.
        images: What the folder of images holds.
        masks: What the folder of masks holds.
    """
    image_patterns = [("dataset.image_names", pattern, images) for pattern in config.image_names]
    for setting, pattern, side in (*image_patterns, ("dataset.mask_name", config.mask_name, masks)):
        bare = strip_suffix(Path(pattern))
        if bare != pattern and not index_by_name(side, pattern) and index_by_name(side, bare):
            raise InputError(
                f"{setting} names {pattern}, and names are compared without their suffix: write {bare} instead"
            )


def drop_members(images: dict[str, tuple[Path, ...]], masks: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Drop the files without a mask that other images take pixels from: members of their OME sets."""
    alone = [name for name in images if name not in masks and images[name][0].suffix.lower() in TIFFS]
    if not alone:
        return images
    from bench.datasets.tiffs import list_members

    owners = [paths[0] for name, paths in images.items() if name in masks and paths[0].suffix.lower() in TIFFS]
    members = {member.resolve() for path in owners for member in list_members(path)}
    return {name: paths for name, paths in images.items() if name in masks or paths[0].resolve() not in members}


def group_files(config: FolderConfig, images: Listing) -> tuple[dict[str, tuple[Path, ...]], set[Path]]:
    """Return the files of each image, one per pattern of `dataset.image_names`, and all of them together."""
    patterns = [index_by_name(images, pattern) for pattern in config.image_names]
    names = sorted(set().union(*patterns))
    given = ", ".join(config.image_names)
    require(len(names) > 0, f"no file in {images.folder} is called as dataset.image_names = [{given}] says")
    for name in names:
        for pattern, files in zip(config.image_names, patterns, strict=True):
            require(
                name in files,
                f"{images.folder} holds no {pattern.replace('*', name.rpartition('/')[2])} for the image {name}: "
                f"dataset.image_names = [{given}] needs one of each",
            )
    found = {name: tuple(files[name] for files in patterns) for name in names}
    return found, {path for paths in found.values() for path in paths}


def make_entry(name: str, split: str, pairs: Pairs) -> ManifestEntry:
    """Return the entry of an image.

    Args:
        name: The image's name.
        split: One of `SPLITS`.
        pairs: Images and masks by name.

    Returns:
        Image, mask and split.

    Raises:
        InputError: The image has no mask.
    """
    if name not in pairs.masks:
        raise InputError(explain_missing_mask(name, pairs))
    if pairs.masks[name] in pairs.images[name]:
        raise InputError(explain_own_mask(pairs.images[name][0], list_folders(pairs.config)[1], pairs.config))
    return ManifestEntry(name, pairs.images[name], pairs.masks[name], split)


def explain_missing_mask(name: str, pairs: Pairs) -> str:
    """Return the sentence that names the images without a mask and the setting that would give them one."""
    config, (images, masks) = pairs.config, list_folders(pairs.config)
    if is_one_folder(images, masks):
        settings = propose_in_one_folder(list(masks.files), config)
    else:
        settings = listing.propose_patterns(list(images.files), list(masks.files))
    without = [other for other in pairs.images if other not in pairs.masks]
    more = f" (nor have {len(without) - 1} others)" if len(without) > 1 else ""
    advice = f"set {settings}" if settings else advise_missing_mask(name, masks, pairs)
    return f"{pairs.images[name][0]} has no mask{more}: {advice}"


def advise_missing_mask(name: str, masks: Listing, pairs: Pairs) -> str:
    """Return what to do where no setting gives an image a mask, in words.

    Args:
        name: The image's name.
        masks: What the folder of masks holds.
        pairs: Images and masks by name.
    """
    place, _, last = name.rpartition("/")
    called = pairs.config.mask_name.replace("*", last)
    wanted = f"{place}/{called}" if place else called
    twin = next((path for key, path in masks.files.items() if key.casefold() == wanted.casefold()), None)
    if twin is not None:
        return f"{twin} differs in upper and lower case: give both the same name"
    away = next((path for key, path in masks.files.items() if key.rpartition("/")[2] == called), None)
    if away is not None:
        return f"{away} lies in another folder: put it where {wanted} is looked for in {masks.folder}, or {TABLE}"
    missing = f"a file called {wanted} with any of {', '.join(SUFFIXES)} is missing"
    if not pairs.masks:
        return f"{missing}; set dataset.mask_name to what the masks are called, or {TABLE}"
    return f'{missing}; or move the image away, or name it under "excluded" in splits.json, beside train, val and test'
