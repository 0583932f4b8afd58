"""Splits as a CSV file with a row for each image."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from bench.config import FolderConfig, InputError, require
from bench.datasets import listing
from bench.datasets.listing import check_utf8, name_files, normalise_name
from bench.datasets.manifest import SPELLINGS, SPLITS, Manifest, ManifestEntry, check_once, find_dataset_root
from bench.datasets.opening import SUFFIXES, strip_suffix
from bench.files import read_text

COLUMNS = ("image", "mask", "split")
DELIMITERS = ",;\t|"


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
    except FileNotFoundError as error:
        raise InputError(f"dataset.manifest: there is no file {path}") from error
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
        InputError: A cell is empty, a path leaves the root or is not there, or the split is none.
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
    for column, place in places.items():
        require(
            split == "excluded" or (root / place).exists(),
            f"{path}, line {line}: {column} is {cells[column]}, which is neither in {root} nor in its folder "
            f"{folders[column]}{'' if Path(place).suffix else ': give the name with its ending'}",
        )
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
