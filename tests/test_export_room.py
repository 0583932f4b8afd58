"""What exports and scratch files say and leave behind where the disk has no room."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import FolderConfig, InputError, SuperpixelsConfig
from bench.datasets.sample import Sample, Splits, Task
from bench.export.room import explain_full_disk
from bench.pipelines.scratch import map_scratch

if TYPE_CHECKING:
    from bench.export import graphs


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_graphs_on_a_full_disk_are_one_sentence_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch calls a full disk a RuntimeError, which was printed as a traceback."""
    rng = np.random.default_rng(0)
    train, val, test = [[Sample(name, rng.normal(size=(16, 16, 1)), rng.integers(0, 2, (16, 16)))] for name in "abc"]
    data = Splits("mine", Task(("sky", "cell"), 1, 2), train, val, test, {})
    monkeypatch.setattr(graphs, "load", lambda _: data)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    settings = graphs.GraphsConfig(str(tmp_path / "graphs"), SuperpixelsConfig(superpixel_size=20))
    with pytest.raises(InputError, match=r"graphs cannot be written: No space left on device"):
        graphs.main(settings, FolderConfig(root=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_read_is_not_called_a_full_disk() -> None:
    with pytest.raises(OSError, match="bad sector"), explain_full_disk(Path("out")):
        raise OSError(errno.EIO, "bad sector")


@pytest.mark.skipif(sys.platform != "linux", reason="only there room is set aside")
def test_a_mapped_scratch_file_has_its_room_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose scratch disk was full ended by a bus error; it now ends with the reason, and the file goes."""
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="no room for"):
        map_scratch((8, 8), np.float32, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_mapped_scratch_file_begins_as_zeros_and_keeps_what_is_written(tmp_path: Path) -> None:
    array = map_scratch((3, 5), np.int32, str(tmp_path))
    assert not array.any()
    array[1] = 7
    assert array.shape == (3, 5)
    assert array.tolist() == [[0] * 5, [7] * 5, [0] * 5]
