"""`python -m bench overhead`: what the meter costs the loop that it watches, as a ratio within one process.

The same fit, of a fixed number of steps, runs bare and under the meter in turn (A B B A), on synthetic images.
"""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from bench.config import Config, InputError, SuperpixelGnnConfig, SyntheticConfig, TrainingConfig
from bench.measure.isolation import run_isolated

DEFAULTS = {"steps": 100, "repeats": 6}


def main(overrides: list[str]) -> int:
    """Measure in a fresh process and print the median ratio with its range; settings `steps=` and `repeats=`."""
    settings = dict(DEFAULTS)
    for override in overrides:
        name, _, text = override.partition("=")
        if name not in settings or not text.isdigit() or int(text) < 1:
            raise InputError(f"{override!r} is not a setting of overhead: use steps=N or repeats=N with N at least 1")
        settings[name] = int(text)
    outcome = run_isolated(ratios, (settings["steps"], settings["repeats"]))
    if outcome.status != "ok":
        print(f"{outcome.status}: {outcome.reason}")
        return 1
    found: list[float] = outcome.result
    print(f"a fit under the meter takes {median(found):.4f} times as long as bare ", end="")
    print(f"({min(found):.4f} to {max(found):.4f} over {len(found)} pairs of {settings['steps']} steps)")
    return 0


def ratios(argument: tuple[int, int]) -> list[float]:
    """Seconds under the meter over seconds bare, pair by pair; for `run_isolated`."""
    steps, repeats = argument
    config = Config(
        SyntheticConfig(train_images=4, val_images=1, test_images=1),
        SuperpixelGnnConfig(),
        training=TrainingConfig(seconds=None, steps=steps, patience=None),
        device="cpu",
    )
    from bench.datasets import load
    from bench.pipelines import PIPELINES

    data = load(config.dataset)
    pipeline = PIPELINES["superpixel_gnn"](config, data.task)
    train, val = ([pipeline.prepare(sample) for sample in split] for split in (data.train, data.val))
    pipeline.fit(train, val)  # once before, unmeasured
    found = []
    for repeat in range(repeats):
        order = (True, False) if repeat % 2 else (False, True)
        seconds = {metered: _fit(pipeline, train, val, metered) for metered in order}
        found.append(seconds[True] / seconds[False])
    return found


def _fit(pipeline: Any, train: list[Any], val: list[Any], metered: bool) -> float:
    """Seconds of one fit; opening and closing the meter lies outside, as in a run."""
    from bench.measure.meter import Meter

    with tempfile.TemporaryDirectory() as folder, Meter(Path(folder), "cpu") if metered else nullcontext() as meter:
        start = time.perf_counter()
        with nullcontext() if meter is None else meter.stage("train", split="train"):
            pipeline.fit(train, val)
        return time.perf_counter() - start
