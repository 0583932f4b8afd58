"""Files and folders are whole or not there, whatever happens, and JSON that cannot be read is one sentence."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.source import ROOT

from bench.config import InputError
from bench.files import (
    clear_stale,
    create_atomically,
    fill_atomically,
    identify_process,
    is_running,
    name_temporary,
    read_json,
    remove,
    write_atomically,
)

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
    own = (ROOT / "bench" / "files.py").read_text(encoding="utf-8")
    assert "fsync(" in own
    assert "json.load" in own
    for path in (ROOT / "bench").rglob("*.py"):
        if path.is_relative_to(ROOT / "bench" / "measure") or path == ROOT / "bench" / "files.py":
            continue
        text = path.read_text(encoding="utf-8")
        for call in ("fsync(", "json.load(", "partial.replace(", "temporary.replace(", "os.replace(", "os.rename("):
            assert call not in text, f"{path}: {call}"


# ----------------------------------------------------------------------------------- what killed processes have left


def leave(path: Path, kind: str, owner: str) -> Path:
    """Make a folder beside `path` under the name that another process would give it."""
    mine = name_temporary(path, kind)
    left = mine.with_name(mine.name.replace(identify_process(os.getpid()), owner))
    left.mkdir()
    return left


def dead_owner() -> str:
    """The word of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        word = identify_process(process.pid)
        assert is_running(word)
        process.communicate(b"\n")
    assert is_running(word) is False
    return word


@pytest.mark.parametrize("name", ["m.zarr", "slide [1].tif", "a*?.zarr", "ü" * 120])
def test_leavings_of_the_dead_are_removed_and_of_the_living_are_not(name: str, tmp_path: Path) -> None:
    path, dead = tmp_path / name, dead_owner()
    mine = [name_temporary(path, "partial"), name_temporary(tmp_path / "other", "scratch")]
    for kept in mine:
        kept.mkdir()
    for kind in ("partial", "scratch"):
        leave(path, kind, dead)
        leave(tmp_path / "other", kind, dead)
    foreign = leave(path, "scratch", "0" * 8 + "-1-0-1")
    clear_stale(path)
    assert names(tmp_path) == sorted([*(kept.name for kept in mine), foreign.name])
    week_ago = time.time() - 8 * 86400
    os.utime(foreign, (week_ago, week_ago))
    clear_stale(path)
    assert not foreign.exists()


def test_what_was_being_replaced_is_put_back_unless_the_new_one_is_there(tmp_path: Path) -> None:
    dead = dead_owner()
    for name in ("a.zarr", "b.zarr", "x" * 200):
        (leave(tmp_path / name, "old", dead) / "in").write_text("old")
    (tmp_path / "b.zarr").mkdir()
    clear_stale(tmp_path / ("x" * 200))
    assert names(tmp_path) == ["a.zarr", "b.zarr", "x" * 200]
    assert names(tmp_path / "a.zarr") == names(tmp_path / ("x" * 200)) == ["in"]
    assert names(tmp_path / "b.zarr") == []


REPLACER = """
import sys, os
from pathlib import Path
from bench.files import fill_atomically
count = 0
rename = Path.rename
def rename_until(self, target):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return rename(self, target)
Path.rename = rename_until
with fill_atomically(Path(sys.argv[1])) as new:
    new.mkdir()
    (new / "in").write_text("new")
"""


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_killed_between_its_renames_a_folder_has_its_name_after_the_next_clearing(moment: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "in").write_text("old")
    subprocess.run([sys.executable, "-c", REPLACER, str(path), str(moment)], cwd=ROOT, check=False)
    assert path.exists() == (moment != 2)
    clear_stale(path)
    assert (path / "in").read_text() == ("new" if moment == 3 else "old")
    assert names(tmp_path) == ["a.zarr"]


def test_interrupted_between_its_renames_a_folder_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename, calls = tmp_path / "a", Path.rename, list[Path]()
    path.mkdir()

    def interrupt(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    def fill() -> None:
        with fill_atomically(path) as new:
            new.mkdir()
            (new / "in").write_text("new")

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fill()
    assert names(tmp_path) == ["a"]
    assert names(path) == []


def test_a_process_is_told_by_its_start_and_not_by_the_time_of_day() -> None:
    mine = identify_process(os.getpid())
    assert is_running(mine)
    machine, number, boot, ticks = mine.split("-")
    assert is_running(f"{machine}-{number}-{boot}-{int(ticks) + 1}") is False, "another process of that number"
    assert is_running(f"{machine}-{number}-abcdef12-{ticks}") is False, "before the machine started anew"
    assert is_running(f"ffffffff-{number}-{boot}-{ticks}") is None
    assert abs(int(ticks) / os.sysconf("SC_CLK_TCK") - (psutil.Process().create_time() - psutil.boot_time())) < 2


def test_a_process_of_which_only_the_exit_code_is_left_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    word = identify_process(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_running(word) is False
    process.wait()
