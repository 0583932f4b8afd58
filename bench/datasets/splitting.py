"""How the images of a folder are split: by `splits.json`, by a CSV file, or by a seeded draw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.config import FolderConfig, require
from bench.datasets.manifest import SPLITS, Manifest, ManifestEntry, find_dataset_root
from bench.datasets.pairs import Pairs, find_pairs, make_entry
from bench.datasets.split_lists import read_json_manifest
from bench.datasets.split_table import read_csv_manifest


def read_manifest(config: FolderConfig) -> Manifest:
    """Return the entries below `config.root`, sorted by name within each split; no pixel is read.

    The split val may be empty where `config.val_strip` says how much of the training images is to validate.
    """
    root = find_dataset_root(config)
    path = root / ("splits.json" if config.manifest is None else config.manifest)
    source = str(path)
    if config.manifest is not None:
        manifest = read_csv_manifest(config, path)
    elif path.is_file():
        manifest = read_json_manifest(path, find_pairs(config))
    else:
        manifest, source = draw_splits(config, find_pairs(config)), f"the seeded split of {root}"
    needed = [split for split in SPLITS if split != "val" or config.val_strip == 0]
    for split in needed:
        found = len(manifest.of(split))
        require(found > 0, f"{source} leaves the split {split} empty: {explain_needed(needed)}")
    check_entries(manifest.entries)
    return manifest


def explain_needed(splits: Sequence[str]) -> str:
    """Return, in words, that these splits need images, and what to do where there are too few."""
    return (
        f"{', '.join(splits[:-1])} and {splits[-1]} need at least one image each (of one large image or volume, save a "
        "part as an image of its own)"
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


def draw_splits(config: FolderConfig, pairs: Pairs) -> Manifest:
    """Shuffle the images with `dataset.split_seed` and cut by `dataset.split_fractions`; no split is left empty.

    Of two images one trains and one tests, where a strip of the first can validate.
    """
    names = sorted(pairs.images)
    needed = ["train", "test"] if config.val_strip > 0 else list(SPLITS)
    require(
        len(names) >= len(needed),
        f"{config.root} holds {len(names)} {'image' if len(names) == 1 else 'images'}: {explain_needed(needed)}",
    )
    order = np.random.default_rng(config.split_seed).permutation(len(names))
    val, test = (max(1, round(fraction * len(names))) for fraction in config.split_fractions[1:])
    val, test = (val, test) if val + test < len(names) else (min(1, len(names) - 2), 1)
    bounds = {"val": (0, val), "test": (val, val + test), "train": (val + test, len(names))}
    entries = []
    for split in SPLITS:
        chosen = sorted(names[n] for n in order[slice(*bounds[split])])
        entries += [make_entry(name, split, pairs) for name in chosen]
    return Manifest(tuple(entries), f"by image, seed {config.split_seed}", pairs.notes)
