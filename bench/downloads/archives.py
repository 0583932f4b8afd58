"""ZIP and TAR archives unpacked into a folder, which no member of them may leave."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from bench.config import InputError, require

MOST_BYTES = 1 << 33  # that an archive may unpack to


def unpack(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Unpack the files of an archive below `folder`, with their folders.

    Args:
        path: A ZIP file, or a TAR file of any compression that Python reads.
        folder: Folder to be filled, made where it is not there.
        most_bytes: Bytes that all files together may have.

    Raises:
        InputError: It is no such archive, is damaged, or a member leads out of the folder, is a link or a device.
    """
    with explain_damage(path):
        left = most_bytes
        for name, size, source in _list_members(path):
            place = folder.joinpath(*check_member(path, name).parts)
            left -= size
            require(left >= 0, f"{path} unpacks to more than {most_bytes} bytes: it is not the published archive")
            place.parent.mkdir(parents=True, exist_ok=True)
            with source, place.open("wb") as target:
                shutil.copyfileobj(source, target)


def check_member(path: Path, name: str) -> PurePosixPath:
    """Return a member's name as a path below a folder. Raises InputError for one that would leave it.

    Args:
        path: The archive, for the sentence.
        name: The name in the archive.
    """
    place = PurePosixPath(name)
    safe = bool(place.parts) and not place.is_absolute() and ".." not in place.parts
    require(
        safe and "\\" not in name and ":" not in name,
        f"{path} holds a file called {name!r}, which would be written elsewhere: nothing of the archive is used",
    )
    return place


def _list_members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and opened content of each file of an archive; of one that is neither, nothing is read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    _require_plain(path, info.filename, stat.S_ISLNK(info.external_attr >> 16))
                    yield info.filename, info.file_size, archive.open(info)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isdir():
                continue
            _require_plain(path, member.name, not member.isfile())
            source = tar.extractfile(member)
            assert source is not None
            yield member.name, member.size, source


def _require_plain(path: Path, name: str, special: bool) -> None:
    require(not special, f"{path} holds {name!r}, which is a link or a device: nothing of the archive is used")


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises within the block into a sentence."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{path} is not an archive that can be unpacked ({error}): remove it and start again"
        ) from error
