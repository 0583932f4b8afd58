"""Claims: who does a run, or holds a GPU, says so in a file that only one process can make; the dead lose theirs."""

import hashlib
import json
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from bench.config import InputError
from bench.files import create_atomically, read_json, write_atomically

BEAT = 5.0  # seconds between two signs of life
SILENCE = 300.0  # seconds without one after which a claim of another machine is void
SAME_START = 2.0  # seconds by which two readings of a process's start may differ


@dataclass(frozen=True)
class Owner:
    """A process, told from every other one: of which machine, its number, its start in seconds, and a word of ours."""

    host: str
    pid: int
    started: float
    token: str


class Claim:
    """A claim that is held. Others see that its owner lives by the file's time, which a thread of ours renews.

    `beside` is the greatest number of other live claims in the same folder so far.
    """

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path, self.owner, self.beside = path, owner, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.look()
        self._thread.start()

    def look(self) -> None:
        """Count the others."""
        others = sum(alive(path) for path in self.path.parent.glob("*.claim") if path != self.path)
        self.beside = max(self.beside, others)

    def release(self) -> None:
        """Give it up, unless it was taken from us."""
        self._over.set()
        self._thread.join()
        self.look()
        if read(self.path) == self.owner:
            self.path.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            if read(self.path) == self.owner:
                os.utime(self.path)
            self.look()


def take(path: Path) -> Claim | None:
    """Claim `path` (its name ends in `.claim`); None where a living process holds it.

    The file comes into being whole, with its owner in it, or not at all. Raises OSError where its folder cannot be
    written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = Owner(this_host(), os.getpid(), psutil.Process().create_time(), uuid4().hex)
    if create_atomically(path, _words(owner)) or _take_over(path, owner):
        return Claim(path, owner)
    return None


def alive(path: Path) -> bool:
    """Whether the claim is there and its owner lives: of this machine by its process, of another by its last sign."""
    try:
        silence = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    owner = read(path)
    if owner is None or owner.host != this_host():
        return silence < SILENCE
    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.started) < SAME_START
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read(path: Path) -> Owner | None:
    """Whom the claim names; None where it is gone or names nobody."""
    try:
        found = read_json(path)
        return Owner(str(found["host"]), int(found["pid"]), float(found["started"]), str(found["token"]))
    except (InputError, ValueError, KeyError, TypeError):
        return None


def this_host() -> str:
    """A word for the place where process numbers mean something: machine and container. It names neither."""
    space = Path("/proc/self/ns/pid")
    inside = str(space.readlink()) if space.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {inside}".encode()).hexdigest()[:12]


def _take_over(path: Path, owner: Owner) -> bool:
    """Replace the claim of a dead process. One at a time: a folder beside it is made by whoever takes over."""
    if alive(path):
        return False
    guard = path.with_suffix(".taking")
    try:
        guard.mkdir()
    except FileExistsError:
        _remove_old(guard)
        return False
    try:
        if alive(path):
            return False
        write_atomically(path, _words(owner))
        return read(path) == owner
    finally:
        guard.rmdir()


def _remove_old(guard: Path) -> None:
    """Remove a guard whose maker was killed in the blink between making and removing it."""
    try:
        if time.time() - guard.stat().st_mtime > BEAT:
            guard.rmdir()
    except FileNotFoundError:
        return


def _words(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()
