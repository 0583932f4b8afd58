"""What an export does where the disk has no room: it ends with a sentence, and leaves nothing behind."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.config import InputError

FULL = {
    getattr(errno, name, errno.ENOSPC) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS")
}  # not all systems have all


@contextmanager
def explain_full_disk(out: Path) -> Iterator[None]:
    """Turn a full disk, and one that takes no files, into an `InputError` that names `out`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
