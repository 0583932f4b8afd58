"""What reading a data set has found, kept in the results folder: files are read again only where they changed.

`fingerprint-<key>.json` holds for each image the shape, number type, moments, extremes and numbers of its mask, the
hash of the pixels, and of every file that they come from the size, the times and the hash of the content. A file of the
same size and times counts as unchanged; where they differ its hash decides. The key stands for the settings that change
what reading finds, and for the code that reads.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.config import FolderConfig, InputError
from bench.datasets.inspection import Inspected, from_plain, inspect, to_plain
from bench.datasets.manifest import ManifestEntry
from bench.files import read_json, write_atomically

# settings that change what reading finds
READING = ("channel_axis", "mask_colours", "mask_values", "ignore_index", "max_pixels")
RACY_NS = 2_000_000_000  # a file that changed so shortly before it was read may change again within its time stamp


@dataclass
class Fingerprint:
    """What is known of the images of one data set, and whether anything of it is new.

    Attributes:
        path: The file that holds it; None where nothing is kept.
        images: By image and mask: what `to_plain` gives, and the state of each source.
        changed: Whether `path` does not hold all of this.
    """

    path: Path | None
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: bool = False

    def inspect(self, entry: ManifestEntry, config: FolderConfig) -> tuple[Inspected, str]:
        """Return what one reading of an image and its mask finds, and the hash of their files; read only if need be."""
        name = json.dumps([*(str(path) for path in (*entry.images, entry.mask)), entry.plane, repr(entry.strip)])
        known = self.images.get(name)
        if known is not None:
            found = self._recall(entry, known)
            if found is not None:
                return found
        began = time.time_ns()
        item = inspect(entry, config)
        states = {str(path): read_state(path) | {"seen": began, "sha256": hash_source(path)} for path in item.sources}
        self.images[name] = {"found": to_plain(item), "sources": states}
        self.changed = True
        return item, combine_hashes(states[str(path)]["sha256"] for path in item.sources)

    def _recall(self, entry: ManifestEntry, known: dict[str, Any]) -> tuple[Inspected, str] | None:
        """Return what is remembered of an image; None where one of its files has changed or nothing is usable."""
        try:
            item = from_plain(entry, known["found"])
            unchanged = all(self._is_unchanged(path, known["sources"][str(path)]) for path in item.sources)
            digest = combine_hashes(known["sources"][str(path)]["sha256"] for path in item.sources)
        except (KeyError, TypeError, ValueError, OSError):
            return None
        return (item, digest) if unchanged else None

    def _is_unchanged(self, path: Path, known: dict[str, Any]) -> bool:
        """Return whether a file is as it was, by size and times, or else by its content, which renews them."""
        began, state = time.time_ns(), read_state(path)
        same = all(state[key] == known[key] for key in state)
        if same and state["newest"] + RACY_NS < known["seen"]:
            return True
        if hash_source(path) != known["sha256"]:
            return False
        known.update(state | {"seen": began})
        self.changed = True
        return True

    def save(self, summary: dict[str, Any]) -> None:
        """Write what is remembered, with a summary, if anything is new. Raises `InputError` if it cannot be written."""
        if self.path is None or not self.changed:
            return
        content = f'{{"summary": {json.dumps(summary, indent=1)},\n"images": {json.dumps(self.images)}}}\n'
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, content)
        except OSError as error:
            if self.path.parent.is_file():
                raise InputError(f"results_dir {self.path.parent} is a file: choose a folder") from error
            raise InputError(f"{self.path} cannot be written ({error.strerror}): choose another results_dir") from error
        self.changed = False


def open_fingerprint(config: FolderConfig, folder: Path | None) -> Fingerprint:
    """Open the fingerprint of a data set.

    Args:
        config: The data set's settings.
        folder: The results folder; None keeps nothing.

    Returns:
        What is recorded there; nothing where its file is missing, damaged or foreign.
    """
    if folder is None:
        return Fingerprint(None)
    root = str(Path(config.root).expanduser().resolve())
    settings = [repr(getattr(config, name)) for name in READING]
    key = hashlib.sha256(json.dumps([root, *settings, hash_readers()]).encode()).hexdigest()[:12]
    path = folder / f"fingerprint-{key}.json"
    try:
        images = read_json(path)["images"]
        return Fingerprint(path, dict(images))
    except (InputError, KeyError, TypeError, ValueError):
        return Fingerprint(path)


@lru_cache
def hash_readers() -> str:
    """Hash the code of this room, which reads and inspects the files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------------- states of files


def read_state(path: Path) -> dict[str, Any]:
    """Return the size, and the times of the last change, of a file, or of all files of a folder together."""
    stats = [file.stat() for file in list_files(path)]
    times = hashlib.sha256(repr([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats]).encode()).hexdigest()
    newest = max((max(s.st_mtime_ns, s.st_ctime_ns) for s in stats), default=0)
    return {"bytes": sum(s.st_size for s in stats), "files": len(stats), "newest": newest, "times": times}


def hash_source(path: Path) -> str:
    """Hash the content of a file; of a folder, the names and contents of all files in it."""
    if not path.is_dir():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in list_files(path):
        digest.update(os.fsencode(file.relative_to(path)) + b"\0" + bytes.fromhex(hash_source(file)))
    return digest.hexdigest()


def combine_hashes(digests: Iterable[str]) -> str:
    """Return one hash of the hashes of several files."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def list_files(path: Path) -> list[Path]:
    """A file itself, or all files below a folder in a fixed order. Raises `InputError` for a link out of the folder."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if file.is_symlink() and not file.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{file} is a link that leads out of the store: replace it by the file itself")
    return files
