"""Masks that wait on disk to be scored, so that neither they nor the scoring add to memory that is being measured."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Masks in one unnamed file of `folder`, which the system deletes when the process ends, however it ends.

    Use it as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `__exit__` closes it
        self._masks: list[tuple[int, np.dtype[Any], tuple[int, ...]]] = []

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, mask: NDArray[np.integer]) -> int:
        """Write a mask in its own type; return the number under which `read` finds it."""
        self._masks.append((self._file.seek(0, 2), mask.dtype, mask.shape))
        self._file.write(np.ascontiguousarray(mask).data)
        return len(self._masks) - 1

    def read(self, number: int) -> NDArray[np.integer]:
        """Read the mask that `append` gave `number`."""
        offset, dtype, shape = self._masks[number]
        self._file.seek(offset)
        return np.fromfile(self._file, dtype, int(np.prod(shape))).reshape(shape)
