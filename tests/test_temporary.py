"""Temporary files of a sweep lie in one folder, which neither its end nor its death leaves behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.source import ROOT

from bench.sweeps.temporary import OWNER, find_common_folder, use_temporary_folder

KILLED = """
import os, tempfile
from bench.sweeps.temporary import use_temporary_folder
with use_temporary_folder():
    tempfile.mkdtemp(prefix="run-")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_temporary_files_lie_in_one_folder_that_is_removed(common: Path) -> None:
    assert find_common_folder() == common
    with use_temporary_folder() as folder:
        assert folder.parent == common
        assert len(folder.name) < 20
        assert Path(tempfile.mkdtemp()).parent == folder
        code = "import tempfile; print(tempfile.gettempdir())"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert child.stdout.strip() == str(folder)
        assert find_common_folder() == common, "claims on GPUs are for all to see"
        with use_temporary_folder() as inner:
            assert inner.parent == common
    assert list(common.iterdir()) == []
    assert os.environ["TMPDIR"] == str(common) == tempfile.gettempdir()


def test_the_folder_of_a_killed_sweep_is_removed_by_the_next_and_that_of_a_living_one_is_not(common: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, check=False)
    [left] = common.iterdir()
    assert len(list(left.iterdir())) == 2, "the word of its owner, and what it made"
    with use_temporary_folder() as mine:
        assert [path.name for path in common.iterdir()] == [mine.name]
        with use_temporary_folder():
            assert mine.exists()


def test_what_is_none_of_ours_stays(common: Path) -> None:
    with use_temporary_folder() as folder:
        name = folder.name
    for content in (None, "no word of a process", "ffffffff-1-0-1"):
        (common / f"{name}{len(str(content))}").mkdir()
        if content is not None:
            (common / f"{name}{len(str(content))}" / OWNER).write_text(content)
    with use_temporary_folder():
        assert len(list(common.iterdir())) == 4
