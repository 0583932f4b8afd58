"""Which image goes with which mask, and into which split: from `splits.json`, a CSV file, or a seeded draw."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import FolderConfig, InputError, require
from bench.datasets.opening import SUFFIXES, is_image, stem_of
from bench.files import read_json

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Entry:
    """One image of the data set. `split` is one of `SPLITS`."""

    name: str
    image: Path
    mask: Path
    split: str


@dataclass(frozen=True)
class Manifest:
    """The entries of a data set in a fixed order, and how they were split."""

    entries: tuple[Entry, ...]
    rule: str

    def of(self, split: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.split == split]


def root_of(config: FolderConfig) -> Path:
    """The data set's folder. Raises `InputError` where it is not set or not there."""
    require(config.root != "", "dataset.root is not set: give the folder that holds images/ and masks/")
    root = Path(config.root).expanduser()
    require(root.is_dir(), f"dataset.root = {config.root} is not a folder")
    return root


def read_manifest(config: FolderConfig) -> Manifest:
    """The entries below `config.root`, sorted by name within each split; no pixel is read."""
    root = root_of(config)
    if config.manifest is not None:
        manifest, source = from_csv(root, root / config.manifest), str(root / config.manifest)
    else:
        images, masks = by_stem(root / config.images), by_stem(root / config.masks)
        listing = root / "splits.json"
        if listing.is_file():
            manifest, source = from_json(listing, images, masks), str(listing)
        else:
            manifest, source = from_seed(config, images, masks), f"the seeded split of {root}"
    for split in SPLITS:
        require(
            len(manifest.of(split)) > 0,
            f"{source} leaves the split {split} empty: train, val and test need at least one image each",
        )
    return manifest


def by_stem(folder: Path) -> dict[str, Path]:
    """Readable images of a folder by their names without suffix."""
    require(folder.is_dir(), f"{folder} is not a folder: a data set has one folder of images and one of masks")
    files = [path for path in sorted(folder.iterdir()) if is_image(path) and path.name[0] != "."]
    require(len(files) > 0, f"{folder} holds no images: files must end in {', '.join(SUFFIXES)}")
    found: dict[str, Path] = {}
    for path in files:
        stem = stem_of(path)
        require(
            stem not in found,
            f"{folder} holds both {found.get(stem, path).name} and {path.name}: give each image a name of its own",
        )
        found[stem] = path
    return found


def entry_of(stem: str, split: str, images: Mapping[str, Path], masks: Mapping[str, Path]) -> Entry:
    require(
        stem in masks, f"{images[stem]} has no mask: a file called {stem} with any of {', '.join(SUFFIXES)} is missing"
    )
    return Entry(stem, images[stem], masks[stem], split)


# ---------------------------------------------------------------------------------------------------- splits.json


def from_json(path: Path, images: Mapping[str, Path], masks: Mapping[str, Path]) -> Manifest:
    """Lists of stems under `train`, `val`, `test` and perhaps `excluded`; `rule` says in words how they were made."""
    content = read_splits(path)
    lists = {split: stems_of(path, content, split) for split in (*SPLITS, "excluded")}
    check_once(path, [stem for stems in lists.values() for stem in stems])
    named = {stem for stems in lists.values() for stem in stems}
    for stem in sorted(named - set(images)):
        raise InputError(f"{path} names {stem}, and no image has that name")
    for stem in sorted(set(images) - named):
        raise InputError(f"{images[stem]} is in no split: add {stem} to train, val, test or excluded in {path}")
    entries = [entry_of(stem, split, images, masks) for split in SPLITS for stem in sorted(lists[split])]
    return Manifest(tuple(entries), str(content.get("rule", "splits.json")))


def read_splits(path: Path) -> dict[str, Any]:
    """Return the object in `splits.json`. Raises InputError naming the file where it holds no object."""
    content = read_json(path)
    require(isinstance(content, dict), f"{path} must be an object with the lists train, val and test")
    return dict(content)


def stems_of(path: Path, content: Mapping[str, Any], split: str) -> list[str]:
    stems = content.get(split, [])
    proper = isinstance(stems, list) and all(isinstance(stem, str) for stem in stems)
    require(proper, f"{path} must have a list of names under {split}, got {stems!r}")
    return list(stems)


def check_once(path: Path, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        require(times == 1, f"{path} names {name} {times} times: an image belongs to one split, once")


# ------------------------------------------------------------------------------------------------------------ CSV


def from_csv(root: Path, path: Path) -> Manifest:
    """Rows of `image`, `mask` and `split`; paths are relative to `root`. Rows of the split `excluded` are left out."""
    rows = read_rows(path)
    check_once(path, [row["image"] for row in rows])
    stems = Counter(stem_of(Path(row["image"])) for row in rows)
    entries = []
    for row in rows:
        image = Path(row["image"])
        stem = stem_of(image)
        name = stem if stems[stem] == 1 else image.with_name(stem).as_posix()
        entries.append(Entry(name, root / image, root / row["mask"], row["split"]))
    kept = sorted((entry for entry in entries if entry.split in SPLITS), key=lambda e: (SPLITS.index(e.split), e.name))
    return Manifest(tuple(kept), path.name)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Stripped cells of the three columns. Raises `InputError` naming the line at fault."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    require(len(rows) > 0, f"{path} holds no rows: it needs the columns image, mask, split and one row per image")
    cleaned = []
    for line, row in enumerate(rows, start=2):
        for column in ("image", "mask", "split"):
            require(column in row, f"{path} has no column {column}: it needs image, mask, split")
            require(bool((row[column] or "").strip()), f"{path}, line {line}: the column {column} is empty")
        for column in ("image", "mask"):
            named = Path(row[column].strip())
            require(
                not named.is_absolute() and ".." not in named.parts,
                f"{path}, line {line}: {column} {named} leaves the data set's folder: give a path below it",
            )
        split = row["split"].strip()
        allowed = (*SPLITS, "excluded")
        require(split in allowed, f"{path}, line {line}: split must be one of {', '.join(allowed)}, got {split}")
        cleaned.append({"image": row["image"].strip(), "mask": row["mask"].strip(), "split": split})
    return cleaned


# --------------------------------------------------------------------------------------------------------- seeded


def from_seed(config: FolderConfig, images: Mapping[str, Path], masks: Mapping[str, Path]) -> Manifest:
    """Shuffle the images with `dataset.split_seed` and cut by `dataset.split_fractions`; no split is left empty."""
    stems = sorted(images)
    require(
        len(stems) >= 3,
        f"{config.root} holds {len(stems)} images: train, val and test need at least one image each",
    )
    order = np.random.default_rng(config.split_seed).permutation(len(stems))
    val, test = (max(1, round(fraction * len(stems))) for fraction in config.split_fractions[1:])
    val, test = (val, test) if val + test < len(stems) else (1, 1)
    bounds = {"val": (0, val), "test": (val, val + test), "train": (val + test, len(stems))}
    entries = []
    for split in SPLITS:
        chosen = sorted(stems[n] for n in order[slice(*bounds[split])])
        entries += [entry_of(stem, split, images, masks) for stem in chosen]
    return Manifest(tuple(entries), f"by image, seed {config.split_seed}")
