"""Where downloaded data sets lie: one folder for all, and in it a folder for each set."""

import os
from pathlib import Path

LAYOUT = 1  # version of the conversions: a set that an older one converted is converted again
ORIGINALS = "original"  # folder of the files as they were fetched


def find_cache(cache_dir: str | None) -> Path:
    """Return the folder of all sets: `cache_dir`, else gnn-vs-cnn below `XDG_CACHE_HOME` or `~/.cache`."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gnn-vs-cnn"


def find_converted(cache: Path, name: str) -> Path:
    """Return the folder of images/, masks/ and splits.json of a set, which is there whole or not at all."""
    return cache / name / f"converted-{LAYOUT}"
