"""Claims: a file that only one process can make says who does a run, or holds a GPU; the dead lose theirs.

An owner is recognised by its start in clock ticks since boot, which does not move when the time of day is set.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from bench.config import InputError
from bench.files import clear_stale, create_atomically, identify_process, is_running, read_json

BEAT = 5.0  # seconds between two signs of life
RETRY = 0.001  # seconds between two attempts to remove a claim
SILENCE = 300.0  # seconds without one after which a claim of another machine is void


@dataclass(frozen=True)
class Owner:
    """A process, as `identify_process` writes it, and a word that tells its claims from each other."""

    process: str
    token: str


class Claim:
    """A claim of this process. Others see that its owner lives by the file's time, which a thread renews.

    `beside` is the greatest number of other live claims in the same folder so far.
    """

    def __init__(self, path: Path, owner: Owner, beat: float = BEAT) -> None:
        self.path, self.owner, self.beat, self.beside = path, owner, beat, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show_life, daemon=True)
        self.count_others()
        self._thread.start()

    def count_others(self) -> None:
        """Count the others."""
        others = sum(is_held(path) for path in self.path.parent.glob("*.claim") if path != self.path)
        self.beside = max(self.beside, others)

    def release(self) -> None:
        """Give it up, unless it was taken from us."""
        self._over.set()
        self._thread.join()
        self.count_others()
        while not self._remove():
            time.sleep(RETRY)

    def _remove(self) -> bool:
        if read_owner(self.path) != self.owner:
            return True
        with _guard(self.path, self.beat) as guarded:
            if guarded and read_owner(self.path) == self.owner:
                self.path.unlink()
        return guarded

    def _show_life(self) -> None:
        while not self._over.wait(self.beat):
            if read_owner(self.path) == self.owner:
                os.utime(self.path)
            self.count_others()


def take(path: Path, beat: float = BEAT) -> Claim | None:
    """Claim something for this process.

    Args:
        path: File of the claim, whose name ends in `.claim`. It comes into being whole, or not at all.
        beat: Seconds between two signs of life.

    Returns:
        The claim; None where a living process holds it.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = Owner(identify_process(os.getpid()), uuid4().hex)
    if create_atomically(path, _encode(owner)) or _take_over(path, owner, beat):
        return Claim(path, owner, beat)
    return None


def is_held(path: Path) -> bool:
    """Whether the claim is there and its owner lives: of this machine by its process, of another by its last sign."""
    try:
        silence = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    owner = read_owner(path)
    running = None if owner is None else is_running(owner.process)
    return silence < SILENCE if running is None else running


def clear_dead(folder: Path) -> None:
    """Remove the claims of dead processes, and what they left half made, from a folder of claims."""
    clear_stale(folder / "any")
    for path in folder.glob("*.claim"):
        claim = None if is_held(path) else take(path)
        if claim is not None:
            claim.release()


def read_owner(path: Path) -> Owner | None:
    """Return whom the claim names; None where it is gone or names nobody."""
    try:
        found = read_json(path)
        owner = Owner(str(found["process"]), str(found["token"]))
        is_running(owner.process)
    except (InputError, ValueError, KeyError, TypeError):
        return None
    return owner


def _take_over(path: Path, owner: Owner, beat: float) -> bool:
    """Take the place of a dead process, or of one that has just released its claim."""
    if is_held(path):
        return False
    with _guard(path, beat) as guarded:
        if not guarded:
            return False
        if path.exists():  # it stays while this process has the guard; one that is not there may come at any moment
            if is_held(path):
                return False
            path.unlink()
        return create_atomically(path, _encode(owner))


@contextmanager
def _guard(path: Path, beat: float) -> Iterator[bool]:
    """Yield whether this process alone may remove the claim `path`: by a folder beside it, which one process can make.

    Nobody removes a claim without it, the owner itself neither. So what was read of a claim is still true when it is
    removed. A guard whose maker was killed in the blink between making and removing it lasts for `beat` seconds.
    """
    guard = path.with_suffix(".taking")
    try:
        guard.mkdir()
    except FileExistsError:
        with suppress(FileNotFoundError):  # its maker was quicker
            if time.time() - guard.stat().st_mtime > beat:
                guard.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        with suppress(FileNotFoundError):  # this process was stopped for so long that its guard counted as a dead one's
            guard.rmdir()


def _encode(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()
