"""Which image goes with which mask, and into which split: from `splits.json`, a CSV file, or a seeded draw."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from bench.config import FolderConfig, InputError, require
from bench.datasets import listing
from bench.datasets.listing import Listing, check_utf8, index_by_name, list_images, name_files, normalise_name
from bench.datasets.opening import SUFFIXES, TIFFS, strip_suffix
from bench.datasets.strips import Strip
from bench.files import read_json, read_text

SPLITS = ("train", "val", "test")
SPELLINGS = {  # of the splits, in lower case
    "training": "train", "valid": "val", "validation": "val", "testing": "test",
    "train": "train", "val": "val", "test": "test", "excluded": "excluded",
}  # fmt: skip
COLUMNS = ("image", "mask", "split")
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class ManifestEntry:
    """One image of the data set. `split` is one of `SPLITS`; several files are its channels, in their order."""

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: str
    plane: int | None = None  # of the stack in these files; None: all that they hold
    strip: Strip | None = None  # the part of the image that is meant; None: all of it

    @property
    def image(self) -> Path:
        """The first file, by which messages name the image."""
        return self.images[0]


@dataclass(frozen=True)
class Manifest:
    """The entries of a data set in a fixed order, how they were split, and what was left out, in sentences."""

    entries: tuple[ManifestEntry, ...]
    rule: str
    notes: tuple[str, ...] = ()

    def of(self, split: str) -> list[ManifestEntry]:
        return [entry for entry in self.entries if entry.split == split]


@dataclass(frozen=True)
class Pairs:
    """Images and masks by name; an image has one file per channel, or one file."""

    images: dict[str, tuple[Path, ...]]
    masks: dict[str, Path]
    config: FolderConfig
    notes: tuple[str, ...]


def find_dataset_root(config: FolderConfig) -> Path:
    """Return the data set's folder. Raises `InputError` where it is not set or not there."""
    require(config.root != "", "dataset.root is not set: give the folder that holds images/ and masks/")
    root = Path(config.root).expanduser()
    check_utf8(root)
    require(root.is_dir(), f"dataset.root = {config.root} is not a folder")
    return root


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


# --------------------------------------------------------------------------------------------- images and masks


def find_pairs(config: FolderConfig) -> Pairs:
    """Return the images and masks of both folders, matched by the patterns of their names."""
    images, masks = list_folders(config)
    one_folder = images.folder.resolve() == masks.folder.resolve()
    if one_folder and config.mask_name != "*":
        kept = {k: p for k, p in images.files.items() if listing.extract_name(config.mask_name, k) is None}
        images = Listing(images.folder, kept, images.others)
    names, used = group_files(config, images)
    mask_files = index_by_name(masks, config.mask_name)
    matched = listing.match_masks(list(names), mask_files)
    names = drop_members(names, matched)
    left = [path for path in images.files.values() if path not in used]
    alone = [path for path in masks.files.values() if path not in set(matched.values()) and path not in used]
    notes = [
        f"{folder} holds {name_files(paths)}: {why}"
        for folder, paths, why in (
            (images.folder, images.others, "left out, for they are of a kind that is not read"),
            (images.folder, left, "left out, for dataset.image_names does not name them"),
            (masks.folder, () if one_folder else masks.others, "left out, for they are of a kind that is not read"),
            (masks.folder, alone, "left out, for no image has that name"),
        )
        if paths
    ]
    return Pairs(names, matched, config, tuple(notes))


def drop_members(images: dict[str, tuple[Path, ...]], masks: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Drop the files without a mask that other images take pixels from: members of their OME sets."""
    alone = [name for name in images if name not in masks and images[name][0].suffix.lower() in TIFFS]
    if not alone:
        return images
    from bench.datasets.tiffs import list_members

    owners = [paths[0] for name, paths in images.items() if name in masks and paths[0].suffix.lower() in TIFFS]
    members = {member.resolve() for path in owners for member in list_members(path)}
    return {name: paths for name, paths in images.items() if name in masks or paths[0].resolve() not in members}


def list_folders(config: FolderConfig) -> tuple[Listing, Listing]:
    """Return what the folders of images and of masks hold; one of them may lie in the other."""
    images, masks = (find_dataset_root(config) / name for name in (config.images, config.masks))
    return list_images(images, masks), list_images(masks, images)


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
    return ManifestEntry(name, pairs.images[name], pairs.masks[name], split)


def explain_missing_mask(name: str, pairs: Pairs) -> str:
    """Return the sentence that names the images without a mask and the setting that would give them one."""
    config, (images, masks) = pairs.config, list_folders(pairs.config)
    settings = listing.propose_patterns(list(images.files), list(masks.files))
    without = [other for other in pairs.images if other not in pairs.masks]
    more = f" (nor have {len(without) - 1} others)" if len(without) > 1 else ""
    wanted = config.mask_name.replace("*", name)
    missing = f"a file called {wanted} with any of {', '.join(SUFFIXES)} is missing (or leave the image out)"
    advice = f": set {settings}" if settings else f": {missing}"
    return f"{pairs.images[name][0]} has no mask{more}{advice}"


# ---------------------------------------------------------------------------------------------------- splits.json


def read_json_manifest(path: Path, pairs: Pairs) -> Manifest:
    """Read the lists of names under `train`, `val`, `test` and perhaps `excluded`; `rule` says how they were made."""
    content = read_splits(path)
    lists = {split: [find_image(path, text, pairs) for text in texts] for split, texts in collect_lists(path, content)}
    check_once(path, [name for names in lists.values() for name in names])
    named = {name for names in lists.values() for name in names}
    for name in sorted(set(pairs.images) - named):
        raise InputError(
            f"{pairs.images[name][0]} is in no split: add {name} to train, val, test or excluded in {path}"
        )
    entries = [make_entry(name, split, pairs) for split in SPLITS for name in sorted(lists.get(split, []))]
    return Manifest(tuple(entries), str(content.get("rule", "splits.json")), pairs.notes)


def read_splits(path: Path) -> dict[str, Any]:
    """Return the object in `splits.json`. Raises InputError naming the file where it holds no object."""
    content = read_json(path)
    require(isinstance(content, dict), f"{path} must be an object with the lists train, val and test")
    return dict(content)


def collect_lists(path: Path, content: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the splits and their lists; keys may be written out and in capitals, as in `Validation`."""
    found: dict[str, list[str]] = {}
    for key, value in content.items():
        split = SPELLINGS.get(key.strip().lower())
        proper = isinstance(value, list) and all(isinstance(name, str) for name in value)
        if split is None:
            require(
                not proper or not value or key == "rule",
                f"{path} has a list called {key}: the splits are train, val, test and excluded",
            )
            continue
        require(proper, f"{path} must have a list of names under {key}, got {value!r}")
        require(split not in found, f"{path} has two lists for the split {split}: put them into one")
        found[split] = list(value)
    return list(found.items())


def find_image(path: Path, text: str, pairs: Pairs) -> str:
    """Find the image that a list names by its name, its file's name, or its path below the root or the images.

    Args:
        path: The file with the list, for the message.
        text: What stands in the list.
        pairs: Images and masks by name.

    Returns:
        The image's name.

    Raises:
        InputError: No image has that name.
    """
    plain = normalise_name(text.strip().replace("\\", "/")).removeprefix("./")
    folder = f"{pairs.config.images.strip('/')}/"
    for candidate in (plain, plain.removeprefix(folder)):
        stem = Path(candidate).with_name(strip_suffix(Path(candidate))).as_posix() if candidate else candidate
        names = [candidate, stem, *(listing.extract_name(pattern, stem) for pattern in pairs.config.image_names)]
        for name in names:
            if name in pairs.images:
                return str(name)
    lasts = listing.index_unique(list(pairs.images))
    for name in (plain, strip_suffix(Path(plain)) if plain else plain):
        if name in lasts:
            return lasts[name]
    raise InputError(f"{path} names {text}, and no image has that name")


def check_once(path: Path, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        require(times == 1, f"{path} names {name} {times} times: an image belongs to one split, once")


# ------------------------------------------------------------------------------------------------------------ CSV


def read_csv_manifest(config: FolderConfig, path: Path) -> Manifest:
    """Read rows of `image`, `mask` and `split`, paths relative to the root; those of `excluded` are left out."""
    root = find_dataset_root(config)
    text, notes = read_csv_text(path)
    rows = read_rows(root, path, text, {"image": config.images, "mask": config.masks})
    check_once(path, [row["image"] for row in rows])
    stems = Counter(strip_suffix(Path(row["image"])) for row in rows)
    entries = []
    for row in rows:
        image = Path(row["image"])
        check_utf8(image)
        stem = strip_suffix(image)
        name = normalise_name(stem if stems[stem] == 1 else image.with_name(stem).as_posix())
        entries.append(ManifestEntry(name, (root / image,), root / row["mask"], row["split"]))
    kept = sorted((entry for entry in entries if entry.split in SPLITS), key=lambda e: (SPLITS.index(e.split), e.name))
    return Manifest(tuple(kept), path.name, (*notes, *note_unnamed(config, path, entries)))


def note_unnamed(config: FolderConfig, path: Path, entries: Sequence[ManifestEntry]) -> tuple[str, ...]:
    """Return what the folder of images holds beside the images of a manifest, in sentences.

    Args:
        config: Settings of the data set.
        path: The manifest.
        entries: What it names.

    Returns:
        One sentence, or none.
    """
    folder = find_dataset_root(config) / config.images
    if not folder.is_dir():
        return ()
    named = {entry.image.resolve() for entry in entries} | {entry.mask.resolve() for entry in entries}
    left = [
        image
        for image in listing.walk_images(folder)
        if image.resolve() not in named and image.suffix.lower() in SUFFIXES
    ]
    return (f"{folder} holds {name_files(left)}: left out, for {path.name} does not name them",) if left else ()


def read_csv_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a CSV file, and a note where it is not in Unicode but as spreadsheets on Windows save it.

    Raises:
        InputError: The file cannot be read, or its bytes are in no encoding that is tried.
    """
    try:
        try:
            return read_text(path), ()
        except UnicodeDecodeError:
            text = path.read_bytes().decode("cp1252")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    return text, (f"{path.name} is not in UTF-8 and was read as Windows-1252 (Latin-1)",)


def read_rows(root: Path, path: Path, text: str, folders: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the cells of the three columns of a CSV text.

    Args:
        root: Folder of the data set.
        path: The manifest, for messages.
        text: What it holds.
        folders: As in `clean_row`.

    Returns:
        The rows, with paths relative to the root.

    Raises:
        InputError: The sentence names the line at fault.
    """
    lines = text.splitlines()
    skipped = next((n for n, line in enumerate(lines) if line.strip() and not line.lower().startswith("sep=")), 0)
    rows = parse_csv(path, lines[skipped:])
    empty = f"{path} holds no rows: it needs the columns image, mask, split and one row per image"
    require(len(rows) > 1, empty)
    columns = [cell.strip().lower() for cell in rows[0]]
    for column in COLUMNS:
        require(column in columns, f"{path} has no column {column}: it needs image, mask, split")
    cleaned = []
    for line, row in enumerate(rows[1:], start=skipped + 2):
        cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
        if any(cells.values()):
            cleaned.append(clean_row(root, path, line, cells, folders))
    require(len(cleaned) > 0, empty)
    return cleaned


def parse_csv(path: Path, lines: Sequence[str]) -> list[list[str]]:
    """Return rows of cells, by that delimiter under which the first row names most of the columns."""
    text = "\n".join(lines)
    try:
        tables = [list(csv.reader(io.StringIO(text), delimiter=delimiter)) for delimiter in DELIMITERS]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    heads = [{cell.strip().lower() for cell in (table[0] if table else [])} for table in tables]
    return tables[max(range(len(tables)), key=lambda n: len(heads[n] & set(COLUMNS)))]


def clean_row(
    root: Path, path: Path, line: int, cells: Mapping[str, str], folders: Mapping[str, str]
) -> dict[str, str]:
    """Check one row of a manifest.

    Args:
        root: Folder of the data set.
        path: The manifest, for messages.
        line: Number of the row in it.
        cells: Stripped cells by column.
        folders: Folder below the root by column, of files that are given by their names alone.

    Returns:
        Paths below the root under `image` and `mask`, and one of the splits or `excluded` under `split`.

    Raises:
        InputError: A cell is empty, a path leaves the root, or the split is none.
    """
    for column in COLUMNS:
        require(bool(cells.get(column)), f"{path}, line {line}: the column {column} is empty")
    split = SPELLINGS.get(cells["split"].lower(), "")
    allowed = (*SPLITS, "excluded")
    require(split in allowed, f"{path}, line {line}: split must be one of {', '.join(allowed)}, got {cells['split']}")
    places = {
        column: spell_path(root, folder, resolve_place(root, f"{path}, line {line}: {column}", cells[column]))
        for column, folder in folders.items()
    }
    return {**places, "split": split}


def spell_path(root: Path, folder: str, place: str) -> str:
    """Return the spelling of a path under which a file is there; the path itself where none is.

    Args:
        root: Folder of the data set.
        folder: Folder below it where names without one may be meant.
        place: The path, relative to the root.
    """
    for start in ("", folder):
        for form in (None, "NFC", "NFD"):
            spelled = Path(start, place if form is None else unicodedata.normalize(form, place))
            if (root / spelled).exists():
                return spelled.as_posix()
    return place


def resolve_place(root: Path, where: str, text: str) -> str:
    """Return a path below the root, which may be given as absolute, or with backslashes.

    Args:
        root: Folder of the data set.
        where: The cell, in words.
        text: What stands in it.

    Returns:
        The path relative to the root, with slashes.

    Raises:
        InputError: The path leaves the root.
    """
    named = Path(text)
    if "\\" in text and not (root / named).exists():
        windows = PureWindowsPath(text)
        named = Path(windows.as_posix())
        require(not windows.drive, f"{where} {text} leaves the data set's folder: give a path below it")
    if named.is_absolute():
        inside = named.is_relative_to(root) or named.resolve().is_relative_to(root.resolve())
        require(inside, f"{where} {named} leaves the data set's folder: give a path below it")
        named = named.relative_to(root) if named.is_relative_to(root) else named.resolve().relative_to(root.resolve())
    require(".." not in named.parts, f"{where} {named} leaves the data set's folder: give a path below it")
    return named.as_posix()


# --------------------------------------------------------------------------------------------------------- seeded


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
