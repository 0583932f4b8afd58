"""How the images of a folder are split: by `splits.json`, a CSV file, folders such as train, or a seeded draw."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.config import FolderConfig, InputError, require
from bench.datasets.manifest import SPELLINGS, SPLITS, Manifest, ManifestEntry, find_dataset_root
from bench.datasets.pairs import Pairs, find_pairs, make_entry
from bench.datasets.split_lists import read_json_manifest
from bench.datasets.split_table import read_csv_manifest

FEWEST_FOLDERS = 3  # of images that are drawn as wholes: one for each split


def read_manifest(config: FolderConfig) -> Manifest:
    """Return the entries below `config.root`, sorted by name within each split; no pixel is read.

    The splits val and test may be empty where `config.val_strip` and `config.test_strip` say how much of the training
    images is to validate and to test.
    """
    root = find_dataset_root(config)
    path = root / ("splits.json" if config.manifest is None else config.manifest)
    source = str(path)
    if config.manifest is not None:
        manifest = read_csv_manifest(config, path)
    elif path.is_file():
        manifest = read_json_manifest(path, find_pairs(config))
    else:
        pairs = find_pairs(config)
        manifest = read_split_folders(path, pairs) or draw_splits(config, pairs)
        source = f"the split of {root} {manifest.rule}"
    needed = list_needed(config)
    for split in needed:
        found = len(manifest.of(split))
        require(found > 0, f"{source} leaves the split {split} empty: {explain_needed(needed)}")
    check_entries(manifest.entries)
    return replace(manifest, notes=(*manifest.notes, *note_shared_masks(manifest.entries)))


def list_needed(config: FolderConfig) -> list[str]:
    """Return the splits that need images of their own, since no strips of training images are held out for them."""
    held_out = {"val": config.val_strip, "test": config.test_strip}
    return [split for split in SPLITS if held_out.get(split, 0) == 0]


def explain_needed(splits: Sequence[str]) -> str:
    """Return, in words, that these splits need images, and what to do where there are too few."""
    if len(splits) == 1:
        return f"{splits[0]} needs at least one image"
    return (
        f"{', '.join(splits[:-1])} and {splits[-1]} need at least one image each (of one large image or volume, set "
        "dataset.test_strip=0.2, a share of it that tests, or save a part as an image of its own)"
    )


def check_entries(entries: Sequence[ManifestEntry]) -> None:
    """Refuse names that tables could not tell apart, and one file that is used as two images."""
    for entry in entries:
        require(
            entry.name != "all",
            f"{entry.image} is called all, which stands for all images in the tables: rename it",
        )
        require(
            entry.mask.resolve() != entry.image.resolve(),
            f"{entry.image} is its own mask: give the folder or column of the masks",
        )
    seen: dict[Path, ManifestEntry] = {}
    for entry in entries:
        for path in entry.images:
            other = seen.setdefault(path.resolve(), entry)
            require(
                other is entry,
                f"{other.image} ({other.split}) and {entry.image} ({entry.split}) are one file: an image belongs to "
                "one split, once",
            )


def note_shared_masks(entries: Sequence[ManifestEntry]) -> tuple[str, ...]:
    """Return a sentence on masks that belong to several images, which may show the same place; none without such."""
    images: dict[Path, list[ManifestEntry]] = {}
    for entry in entries:
        images.setdefault(entry.mask.resolve(), []).append(entry)
    shared = [held for held in images.values() if len(held) > 1]
    if not shared:
        return ()
    apart = [held for held in shared if len({entry.split for entry in held}) > 1]
    first = (apart or shared)[0]
    second = next((entry for entry in first if entry.split != first[0].split), first[1])
    others = len(shared) - 1
    more = f" ({others} other mask{' is' if others == 1 else 's are'} shared too)" if others else ""
    across = f", {len(apart)} of {len(shared)} across splits" if apart and others else ""
    owners = f"{first[0].name} ({first[0].split}) and {second.name} ({second.split})"
    return (
        f"{first[0].mask} is the mask of {owners}{more}{across}: if they show the same place, keep them in one split",
    )


def read_split_folders(path: Path, pairs: Pairs) -> Manifest | None:
    """Return the split that folders such as `images/train` and `images/test` make; None where no names call for it.

    Folders of training images alone make none, for nothing would test.

    Args:
        path: Place of `splits.json`, for messages.
        pairs: Images and masks by name.

    Returns:
        The entries by the first folders of their names.

    Raises:
        InputError: Some images lie in such folders and others do not.
    """
    tops = {name: name.partition("/")[0] for name in sorted(pairs.images)}
    found = {n: SPELLINGS[t.lower()] for n, t in tops.items() if t.lower() in SPELLINGS and t != n}
    if set(found.values()) <= {"train"} and (not found or len(found) == len(tops)):
        return None
    folders = ", ".join(sorted({tops[name] for name in found}))
    for name in sorted(set(tops) - set(found)):
        raise InputError(
            f"{pairs.images[name][0]} lies in no folder that names a split, as others do ({folders}): move it into "
            f"one, or say by {path} which images train, validate and test"
        )
    entries = [make_entry(n, split, pairs) for split in SPLITS for n, of in found.items() if of == split]
    note = f"the folders of the images name the splits: {folders} (splits.json would say otherwise)"
    return Manifest(tuple(entries), f"by the folders {folders}", (*pairs.notes, note))


def draw_splits(config: FolderConfig, pairs: Pairs) -> Manifest:
    """Shuffle the images with `dataset.split_seed` and cut by `dataset.split_fractions`; no split is left empty.

    Of two images one trains and one tests, where a strip of the first can validate; where strips test, all images
    train. Where all images lie in folders, `FEWEST_FOLDERS` or more, the folders are shuffled, and all images of one
    are in one split.
    """
    names = sorted(pairs.images)
    needed = list_needed(config)
    require(
        len(names) >= len(needed),
        f"{config.root} holds {len(names)} {'image' if len(names) == 1 else 'images'}: {explain_needed(needed)}",
    )
    if needed == ["train"]:
        entries = [make_entry(name, "train", pairs) for name in names]
        return Manifest(tuple(entries), "all images train", pairs.notes)
    folders = sorted({name.rpartition("/")[0] for name in names})
    whole = "" not in folders and len(folders) >= FEWEST_FOLDERS
    groups = [[n for n in names if n.rpartition("/")[0] == folder] for folder in folders] if whole else None
    split_of = draw_groups(config, groups or [[name] for name in names])
    entries = [make_entry(name, split, pairs) for split in SPLITS for name in names if split_of[name] == split]
    rule = f"by {'folder' if whole else 'image'}, seed {config.split_seed}"
    return Manifest(tuple(entries), rule, (*pairs.notes, *note_folders(split_of, whole)))


def draw_groups(config: FolderConfig, groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Shuffle groups of images with `dataset.split_seed` and cut where the shares of images are nearest to those asked.

    A group with more images than either of validation and test should have trains.

    Args:
        config: Settings of the data set.
        groups: Names of images that stay together; at least two groups.

    Returns:
        The split of each name.
    """
    total = sum(map(len, groups))
    val, test = (max(1, round(fraction * total)) for fraction in config.split_fractions[1:])
    val, test = (val, test) if val + test < total else (min(1, total - 2), 1)
    order = np.random.default_rng(config.split_seed).permutation(len(groups))
    shuffled = sorted((groups[n] for n in order), key=lambda group: len(group) > max(val, test))
    ends = np.cumsum([0, *map(len, shuffled)])  # images before each group
    last, fewest = len(groups), min(1, len(groups) - 2)
    first = fewest + int(np.argmin(np.abs(ends[fewest : last - 1] - val)))
    second = first + 1 + int(np.argmin(np.abs(ends[first + 1 : last] - ends[first] - test)))
    splits = ["val"] * first + ["test"] * (second - first) + ["train"] * (last - second)
    return {name: split for group, split in zip(shuffled, splits, strict=True) for name in group}


def note_folders(split_of: Mapping[str, str], whole: bool) -> tuple[str, ...]:
    """Return what a drawn split does to folders of images, in sentences; none where no folder holds two images.

    Args:
        split_of: The split of each name.
        whole: Whether folders were drawn as wholes.
    """
    places: dict[str, list[str]] = {}
    for name, split in split_of.items():
        places.setdefault(name.rpartition("/")[0], []).append(split)
    places.pop("", None)
    if whole and any(len(splits) > 1 for splits in places.values()):
        counts = Counter(splits[0] for splits in places.values())
        numbers = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
        return (
            f"all images of a folder are in one split, drawn by folder ({numbers}): write splits.json if folders are "
            "kinds of images that every split needs",
        )
    if any(len(set(splits)) > 1 for splits in places.values()):
        return ("images of one folder are in different splits: write splits.json if they belong together",)
    return ()
