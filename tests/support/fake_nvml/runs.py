"""Runs with the whole meter on a pretended card, each in a process of its own that loads the driver's stand-in."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from bench.measure.calibration import Check, calibrate_device
from bench.measure.meter import Meter
from bench.tables.columns import TRAINING_STAGES
from support.fake_nvml.card import MIB, Card


@dataclass(frozen=True)
class Scene:
    """A card as the driver shows it, and what the run does on it: a list of (verb, bytes).

    `unseen` is how much of our memory the driver does not show.
    """

    pid: int | None = None
    hidden: bool = False
    answers: dict[str, int] = field(default_factory=dict)
    script: tuple[tuple[str, int], ...] = (("reserve", 300 * MIB),)
    unseen: int = 0


@dataclass(frozen=True)
class Measured:
    row: dict[str, Any]
    phase: dict[str, Any]
    flags: list[str]
    headline: tuple[int | None, str | None]
    trace: str


def measure(scene: Scene) -> Measured:
    card = Card(scene.pid, scene.hidden, **scene.answers)
    with TemporaryDirectory() as folder, patch("bench.measure.meter.open_device", lambda *_: card.open()):
        with Meter(Path(folder), "cuda") as meter:
            with meter.stage("train", "train"):
                start = time.perf_counter_ns()
                for verb, size in scene.script:
                    _verbs(card)[verb](size)
                    time.sleep(0.1)
                end = time.perf_counter_ns()
            meter.add_interval("init", start, end)
        train, init = meter.rows()
        trace = (Path(folder) / "memory_trace.csv").read_text()
        return Measured(train, init, meter.flags(), meter.headline(TRAINING_STAGES), trace)


def _verbs(card: Card) -> dict[str, Callable[[int], None]]:
    def retry(_: int) -> None:
        card.retries += 1

    def stray(size: int) -> None:
        card.stray = size
        card.tell()

    def lose(_: int) -> None:
        card.driver.say(memory_return=15, processes_return=15)

    def wait(milliseconds: int) -> None:
        time.sleep(milliseconds / 1000)

    def kill_sampler(_: int) -> None:
        import psutil

        psutil.Process().children()[0].kill()

    verbs: dict[str, Callable[[int], None]] = {"reserve": card.reserve, "release": card.release}
    return verbs | {"retry": retry, "stray": stray, "lose": lose, "wait": wait, "kill_sampler": kill_sampler}


def calibrate(scene: Scene) -> list[Check]:
    card = Card(scene.pid, scene.hidden, **scene.answers)
    device = card.open()
    card.unseen = scene.unseen
    return calibrate_device(device, card.hold, (64 * MIB, 256 * MIB))
