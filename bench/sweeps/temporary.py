"""One folder for all temporary files of a sweep and of its processes, so that none is left when the sweep is killed."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bench.files import FOREIGN_SECONDS, fill_atomically, identify_process, is_running, remove

OWNER = "owner"  # file in the folder with the word of the process that made it


def find_common_folder() -> Path:
    """Return the folder for temporary files that all processes of this user share."""
    folder = Path(tempfile.gettempdir())
    return folder.parent if folder.name.startswith(_prefix()) else folder


@contextmanager
def use_temporary_folder() -> Iterator[Path]:
    """Make all temporary files of this process, and of those it starts, in one folder that is removed after the block.

    Folders that killed sweeps of this user left are removed before. The name is short: sockets lie in it too, and
    their paths may have some hundred letters at most.

    Yields:
        The folder.
    """
    common = find_common_folder()
    clear_dead_folders(common)
    folder, before = common / f"{_prefix()}{uuid4().hex[:8]}", os.environ.get("TMPDIR")
    with fill_atomically(folder) as temporary:
        temporary.mkdir(mode=0o700)
        (temporary / OWNER).write_text(identify_process(os.getpid()))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        remove(folder)


def clear_dead_folders(common: Path) -> None:
    """Remove the folders in `common` whose sweeps are dead; of another machine, those older than `FOREIGN_SECONDS`."""
    for folder in common.glob(f"{_prefix()}*"):
        try:
            running = is_running((folder / OWNER).read_text())
            dead = time.time() - folder.stat().st_mtime > FOREIGN_SECONDS if running is None else not running
        except (OSError, ValueError):  # removed meanwhile, or none of ours
            continue
        if dead:
            remove(folder)


def _prefix() -> str:
    return f"gvc{os.getuid() if os.name == 'posix' else 0}-"
