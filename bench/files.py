"""Files and folders that are whole or not there, and JSON that is read with a sentence. Standard library only.

Every write of the project that must not be seen half done goes through here, except those of `bench/measure`, which
imports nothing of the project. What a killed process leaves has a name that says whose it was, so that the next one
can tell it from what a living one is writing.
"""

import codecs
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.config import InputError

NAME_BYTES = 180  # of a file's name that a temporary name repeats; file systems allow 255 in all
FOREIGN_SECONDS = 7 * 86400.0  # age at which what an unknown machine left is taken for dead
FULL = {
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)
}  # errno: no room for more; not all systems have all
TEMPORARY = re.compile(r"\.(.+)\.([0-9a-f]{8}-\d+-\w+-\d+)-[0-9a-f]{12}\.(partial|old|scratch)", re.DOTALL)


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
    """Return a hidden name beside `path` that no other process of any machine uses.

    Args:
        path: File or folder that is to be, or be replaced.
        kind: `partial` (what is being written), `old` (what is being replaced) or `scratch`.
    """
    return path.with_name(f".{_shorten(path.name)}.{identify_process(os.getpid())}-{uuid4().hex[:12]}.{kind}")


def _shorten(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= NAME_BYTES else hashlib.sha256(raw).hexdigest()[:16]


def clear_stale(path: Path) -> None:
    """Remove what killed processes have left in the folder of `path`; a file or folder being replaced is put back.

    What a process that may be alive is writing stays.
    """
    for left in list(path.parent.iterdir()):
        found = TEMPORARY.fullmatch(left.name)
        if found is None or _may_be_in_use(left, found[2]):
            continue
        replaced = path if found[1] == _shorten(path.name) else left.with_name(found[1])
        if found[3] == "old" and not replaced.exists():
            left.rename(replaced)
        else:
            remove(left)


def _may_be_in_use(left: Path, owner: str) -> bool:
    running = is_running(owner)
    try:
        return time.time() - left.stat().st_mtime < FOREIGN_SECONDS if running is None else running
    except FileNotFoundError:  # its owner removed it
        return True


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
    try:
        path.rename(old)
        temporary.rename(path)
    except BaseException:  # Ctrl-C too: one of the two must have the name
        if old.exists() and not path.exists():
            old.rename(path)
        raise
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


# ------------------------------------------------------------------------------------------------------- processes


def identify_process(number: int) -> str:
    """Return a word for a process of this machine, which no other one has, before or after.

    It is made of the machine and its container, the process number, and the boot and the clock ticks since then at
    which it started: the time of day takes no part, as it can be set.
    """
    boot, ticks = _read_boot(), _read_start(number)
    return f"{identify_machine()}-{number}-{boot}-{ticks or 0}"


def is_running(identity: str) -> bool | None:
    """Whether a process still runs, by the word of `identify_process`; None where it is one of another machine."""
    machine, number, boot, ticks = identity.split("-")
    if machine != identify_machine():
        return None
    if boot != _read_boot():
        return False
    start = _read_start(int(number))
    if Path("/proc/self/stat").exists():
        return start is not None and start == int(ticks)
    return _is_process_there(int(number))


@lru_cache
def identify_machine() -> str:
    """Return a word for the place where process numbers mean something: machine and container. It names neither."""
    space = Path("/proc/self/ns/pid")
    inside = str(space.readlink()) if space.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {inside}".encode(errors="replace")).hexdigest()[:8]


@lru_cache
def _read_boot() -> str:
    """A word for this boot of the machine; `0` where the system does not tell."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().split("-")[0] if path.exists() else "0"


def _read_start(number: int) -> int | None:
    """Clock ticks from boot to the start of a process; None where there is none, or only its exit code is left."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _is_process_there(number: int) -> bool | None:
    """Whether a process of that number is there; None on a system where asking would end it."""
    if os.name != "posix":
        return None
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
