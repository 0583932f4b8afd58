"""Files and folders that are whole or not there, and JSON that is read with a sentence. Standard library only.

Every write of the project that must not be seen half done goes through here, except those of `bench/measure`, which
imports nothing of the project.
"""

import codecs
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.config import InputError

NAME_BYTES = 180  # of a file's name that a temporary name repeats; file systems allow 255 in all


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file `path` by `content` so that at any moment it holds the old bytes or the new ones.

    Text becomes UTF-8. Bytes of a file's name that were none, which Python holds as lone surrogates, become escapes.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with fill_atomically(path) as temporary:
        temporary.write_bytes(data)


def create_atomically(path: Path, content: bytes) -> bool:
    """Make the file `path`, whole from the first moment; return False, and change nothing, where it is there already.

    A hard link cannot replace a file, and brings its content along. On a file system without hard links the file may
    be seen empty for a moment.
    """
    temporary = name_temporary(path, "partial")
    try:
        temporary.write_bytes(content)
        return _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        return _create_exclusively(path, temporary.read_bytes())
    return True


def _create_exclusively(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


@contextmanager
def fill_atomically(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield a free name; what the block writes under it, a file or a folder, then takes the name `path`.

    Until then `path` holds what it held. Where the block raises, `path` keeps it and what was written is removed.

    Args:
        path: Name of the file or folder to be.
        beside: Folder of the same file system in which the temporary lies; None means that of `path`.
    """
    temporary = name_temporary(path if beside is None else beside / path.name, "partial")
    try:
        yield temporary
        if temporary.is_file():
            _synchronise(temporary)
        _rename(temporary, path)
    finally:
        remove(temporary)


def name_temporary(path: Path, kind: str) -> Path:
    """Return a hidden name beside `path` that no other process of any machine uses; it ends in `.kind`."""
    name = path.name
    if len(os.fsencode(name)) > NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return path.with_name(f".{name}.{os.getpid()}-{uuid4().hex[:12]}.{kind}")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Wait until the content of a file is on the disk: a name must not outlive a power cut that its bytes do not."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _rename(temporary: Path, path: Path) -> None:
    """Give the finished file or folder its name; a folder cannot be replaced in one step, and moves away first."""
    if not path.is_dir() and not (path.exists() and temporary.is_dir()):
        temporary.replace(path)
        return
    old = name_temporary(path, "old")
    path.rename(old)
    temporary.rename(path)
    remove(old)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        InputError: The file cannot be read or is no JSON; the sentence names it.
    """
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its bytes are in neither encoding.
    """
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data[:4]:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le")
    return data.decode("utf-8-sig")
