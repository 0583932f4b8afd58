"""Files of a public set, fetched once by pooch and checked against their hashes.

A file appears in the cache whole and checked, or not at all. Those without a known hash are pinned at the first
download: `NAME.sha256` beside them holds what every later one must equal.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.config import InputError, require
from bench.console.progress import Progress
from bench.downloads.catalogue import PublicSet, RemoteFile
from bench.files import FULL, write_atomically

CHUNK = 1 << 16  # bytes read at a time
TIMEOUT = 30.0  # seconds without an answer until a server counts as gone
LISTED = 3  # files that a sentence names


class FileProgress:
    """Shows one file of several, in the way in which pooch reports the bytes of a download.

    `show` receives the share of all files that is done, in [0, 1].
    """

    def __init__(self, index: int, files: int, show: Callable[[float], None]) -> None:
        self.index, self.files, self.show = index, files, show
        self.total, self.done = 0, 0

    def update(self, count: int) -> None:
        """Count further bytes."""
        self.done += count
        share = min(self.done / self.total, 1.0) if self.total else 0.0
        self.show((self.index + share) / self.files)

    def reset(self) -> None:
        """Start counting again."""
        self.done = 0

    def close(self) -> None:
        """End the file."""
        self.show((self.index + 1) / self.files)


def fetch_files(entry: PublicSet, folder: Path, mirror: str | None = None, retries: int = 2) -> dict[str, str]:
    """Fetch the files of a set that are not in `folder` yet.

    Args:
        entry: The set.
        folder: Folder of the files, made where it is not there.
        mirror: Address below which a copy of the files lies, as `mirror/SET/NAME`; None means the original addresses.
        retries: Further attempts at a file, each after a pause.

    Returns:
        SHA-256 of each file by name.

    Raises:
        InputError: A file cannot be had, is not the published one, or the disk is full; the sentence says what to do.
    """
    with explain_download(entry, folder, mirror):
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, entry)
    print(f"downloading {entry.name} from {mirror or entry.source} to {folder}", file=sys.stderr, flush=True)
    with Progress(entry.name) as bar:
        return {
            file.name: fetch_file(entry, index, folder, mirror, retries, bar.show)
            for index, file in enumerate(entry.files)
        }


def fetch_file(
    entry: PublicSet, index: int, folder: Path, mirror: str | None, retries: int, show: Callable[[float], None]
) -> str:
    """Fetch one file, unless it is there and has the right hash.

    Args:
        entry: The set.
        index: Place of the file in `entry.files`.
        folder: Folder of the files.
        mirror: As in `fetch_files`.
        retries: Further attempts.
        show: Receives the share of all files that is done, in [0, 1].

    Returns:
        The SHA-256 of the file.

    Raises:
        InputError: As in `fetch_files`.
    """
    import pooch

    file, pin = entry.files[index], folder / f"{entry.files[index].name}.sha256"
    url = file.url if mirror is None else f"{mirror.rstrip('/')}/{entry.name}/{file.name}"
    known = file.sha256 or (pin.read_text(encoding="ascii").strip() if pin.is_file() else None)
    pooch.get_logger().setLevel("ERROR")
    store = pooch.create(folder, "", registry={file.name: known}, urls={file.name: url}, retry_if_failed=retries)
    bar = FileProgress(index, len(entry.files), show)
    with explain_download(entry, folder, mirror, file, known):
        path = store.fetch(file.name, downloader=pooch.HTTPDownloader(bar, CHUNK, timeout=TIMEOUT))
        digest = str(pooch.file_hash(path))
        if known is None:
            write_atomically(pin, digest + "\n")
            print(f"{file.name}: no hash is published; pinned at SHA-256 {digest} in {pin}", file=sys.stderr)
    bar.close()
    return digest


def check_space(folder: Path, entry: PublicSet) -> None:
    """Refuse a download for which the disk has no room. Raises InputError."""
    free = shutil.disk_usage(folder).free
    require(
        free >= entry.space,
        f"{folder} has {free / 1e6:.0f} MB free, and {entry.name} needs up to {entry.space / 1e6:.0f} MB: make room, "
        "or give dataset.cache_dir on another disk",
    )


@contextmanager
def explain_download(
    entry: PublicSet, folder: Path, mirror: str | None, file: RemoteFile | None = None, known: str | None = None
) -> Iterator[None]:
    """Turn what stops a download within the block into one sentence that says what to do.

    Args:
        entry: The set.
        folder: Folder of its files.
        mirror: As in `fetch_files`.
        file: The file that is being fetched.
        known: The SHA-256 that it must have, if it is known.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and number in FULL | {errno.EACCES, errno.EROFS}:
            why = os.strerror(number)
            raise InputError(f"{folder} cannot be written ({why}): give dataset.cache_dir on another disk") from error
        if file is None or not isinstance(error, OSError | ValueError):
            raise
        if isinstance(error, ValueError) and "hash" in str(error).lower():
            raise InputError(explain_hash(file, folder, mirror, known)) from error
        raise InputError(explain_offline(entry, folder, file, mirror, error)) from error


def explain_hash(file: RemoteFile, folder: Path, mirror: str | None, known: str | None) -> str:
    """Return the sentence on a file that is another one than was published.

    Args:
        file: The file.
        folder: Folder of the files.
        mirror: As in `fetch_files`.
        known: The SHA-256 that it must have.
    """
    pinned = file.sha256 is None
    what = "the one that was downloaded first" if pinned else "the published one"
    advice = f"; if the new one is right, remove {folder / file.name}.sha256" if pinned else ""
    where = "the mirror's" if mirror else file.url
    return f"{file.name}: {where} file is not {what} (its SHA-256 is not {known}), and nothing of it was kept{advice}"


def explain_offline(entry: PublicSet, folder: Path, file: RemoteFile, mirror: str | None, error: Exception) -> str:
    """Return the sentence on files that cannot be had: what to put where.

    Args:
        entry: The set.
        folder: Folder of the files.
        file: The file that could not be fetched.
        mirror: As in `fetch_files`.
        error: What happened.
    """
    reason = type(error).__name__ if not str(error) else str(error).split("\n")[0][:200]
    missing = [one for one in entry.files if not (folder / one.name).is_file()]
    named = ", ".join(one.url for one in missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
    other = "another dataset.mirror" if mirror else "dataset.mirror=ADDRESS of a copy"
    return (
        f"{entry.name} cannot be downloaded, as {file.name} was cut off or cannot be had ({reason}): try again, give "
        f"{other}, or put {_count(missing)} into {folder}, each under its name there ({named}); a copy of "
        f"{folder.parent} from another machine will do as well"
    )


def _count(files: Sequence[Any]) -> str:
    return f"{len(files)} file{'s' * (len(files) != 1)}"
