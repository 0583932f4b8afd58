"""What an export does where the disk has no room: it ends with a sentence, and leaves nothing behind."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.config import InputError
from bench.files import FULL


@contextmanager
def explain_full_disk(out: Path) -> Iterator[None]:
    """Turn a full disk, and one that takes no files, into an `InputError` that names `out`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL | {errno.EROFS}:
            raise
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
