"""Files and folders are whole or not there, whatever happens, and JSON that cannot be read is one sentence."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.source import ROOT

from bench.config import InputError
from bench.files import create_atomically, fill_atomically, name_temporary, read_json, remove, write_atomically

WRITER = """
import sys
from pathlib import Path
from bench.files import write_atomically
print(flush=True)
while True:
    for letter in "ab":
        write_atomically(Path(sys.argv[1]), letter * 300_000)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "ä")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("there", ["file", "folder", "nothing"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_what_is_filled_takes_the_name_of_whatever_was_there(there: str, new: str, tmp_path: Path) -> None:
    def make(path: Path, kind: str, text: str) -> None:
        if kind == "folder":
            path.mkdir()
            path = path / "in"
        path.write_text(text)

    def fail(path: Path) -> None:
        with fill_atomically(path) as temporary:
            make(temporary, new, "torn")
            raise ZeroDivisionError

    path = tmp_path / "x"
    if there != "nothing":
        make(path, there, "old")
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert path.exists() == (there != "nothing")
    if there != "nothing":
        assert (path / "in" if there == "folder" else path).read_text() == "old"
    with fill_atomically(path) as temporary:
        make(temporary, new, "new")
    assert (path / "in" if new == "folder" else path).read_text() == "new"
    assert names(tmp_path) == ["x"]


def test_a_writer_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02)
            process.kill()
        assert path.read_text() in ("a" * 300_000, "b" * 300_000)


def test_a_file_is_created_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert create_atomically(tmp_path / "a", b"1")
    assert not create_atomically(tmp_path / "a", b"2")

    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert create_atomically(tmp_path / "b", b"3")
    assert not create_atomically(tmp_path / "b", b"4")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1", b"3"]
    assert names(tmp_path) == ["a", "b"]


def test_temporary_names_differ_and_fit_a_file_system(tmp_path: Path) -> None:
    for name in ("a", "ä" * 120, "x" * 250):
        path = name_temporary(tmp_path / name, "partial")
        path.touch()
        assert path.suffix == ".partial"
        assert path != name_temporary(tmp_path / name, "partial")


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert names(tmp_path) == ["kept"]


def test_json_is_read_with_a_byte_order_mark_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"", None])
def test_what_is_no_json_is_one_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json cannot be read as JSON: ") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_only_one_module_writes_atomically_and_reads_json() -> None:
    for path in (ROOT / "bench").rglob("*.py"):
        if path.is_relative_to(ROOT / "bench" / "measure") or path == ROOT / "bench" / "files.py":
            continue
        text = path.read_text(encoding="utf-8")
        for call in ("fsync(", "json.load(", "partial.replace(", "temporary.replace(", "os.replace(", "os.rename("):
            assert call not in text, f"{path}: {call}"
