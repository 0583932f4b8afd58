"""Freed memory leaves the process where the C library can be asked to let go of it."""

import platform

import psutil
import pytest

from bench import heap


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_holes_between_living_blocks_are_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "EVERY_SECONDS", 0.0)
    block = 1 << 16  # below what the C library maps by itself
    kept = [bytes(block) for _ in range(4000)]  # 250 MiB, whose every other block ...
    holes = kept[::2]
    kept = kept[1::2]
    del holes  # ... is a hole now
    before = psutil.Process().memory_info().rss
    heap.HandBack()()
    assert before - psutil.Process().memory_info().rss > 60 << 20
    assert len(kept) == 2000


def test_it_asks_no_more_often_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(heap, "_malloc_trim", lambda: asked.append)
    hand_back = heap.HandBack()
    for _ in range(100):
        hand_back()
    assert asked == []
    monkeypatch.setattr(heap, "EVERY_SECONDS", 0.0)
    hand_back()
    assert asked == [0]


def test_elsewhere_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(heap, "EVERY_SECONDS", 0.0)
    heap.HandBack()()
