"""Splits as lists of names: `splits.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import InputError, require
from bench.datasets import listing
from bench.datasets.listing import normalise_name
from bench.datasets.manifest import SPELLINGS, SPLITS, Manifest, check_once
from bench.datasets.opening import strip_suffix
from bench.datasets.pairs import Pairs, make_entry
from bench.files import read_json


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
