"""`python -m bench overhead`: the cost of the harness and of its meter, in two figures.

A whole run of each learning arm, as users start it: the time outside its stages, part by part. And the same fit, of a
fixed number of steps, bare and under the meter in turn (A B B A), within one process.
"""

import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.config import Config, SuperpixelGnnConfig, SyntheticConfig, TrainingConfig, require
from bench.files import read_json
from bench.measure.isolation import run_isolated

PARTS = {
    "interpreter_seconds": "start of the interpreter",
    "import_seconds": "the project's own modules and numpy",
    "load_seconds": "loading and checking the data set",
    "startup_seconds": "the arm's libraries (torch and what builds on it), compiled code",
}


@dataclass
class OverheadConfig:
    """Settings of `python -m bench overhead`."""

    seconds: int = 60  # of training, of the whole run of each arm
    steps: int = 100  # of each of the fits that are compared
    repeats: int = 10  # pairs of fits

    def __post_init__(self) -> None:
        for name in ("seconds", "steps", "repeats"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")


def main(settings: OverheadConfig) -> int:
    """Measure and print. Returns the exit code: 1 where a run failed."""
    for pipeline in ("superpixel_gnn", "tiled_cnn"):
        row = run_arm(pipeline, settings.seconds)
        if row["status"] != "ok":
            print(f"{row['status']}: {row['reason']}")
            return 1
        print("\n".join(describe_costs(row)))
    outcome = run_isolated(compare_fits, (settings.steps, settings.repeats))
    if outcome.status != "ok":
        print(f"{outcome.status}: {outcome.reason}")
        return 1
    found: list[float] = outcome.result
    print(f"a fit under the meter takes {median(found):.4f} times as long as bare ", end="")
    print(f"({min(found):.4f} to {max(found):.4f} over {len(found)} pairs of {settings.steps} steps)")
    return 0


def run_arm(pipeline: str, seconds: int) -> dict[str, Any]:
    """Run an arm on generated images with a fit of `seconds`, and return its row."""
    from bench.sweeps.compose import compose
    from bench.sweeps.preparation import prepare_jobs
    from bench.sweeps.sweep import plan_runs, sweep

    with tempfile.TemporaryDirectory() as folder:
        budget = [f"training.seconds={seconds}", "training.steps=null", "training.patience=null"]
        sweep(plan_runs(prepare_jobs(compose([f"pipeline={pipeline}", *budget, f"results_dir={folder}"]))), {})
        (path,) = Path(folder).glob("runs/*/run.json")
        return dict(read_json(path))


def describe_costs(row: dict[str, Any]) -> list[str]:
    """Return lines about the time of a run outside its stages, part by part."""
    whole, inside = row["process_seconds"], row["stages_seconds"]
    parts = {label: row[name] for name, label in PARTS.items()}
    parts["scoring, saving, the meter, the end of the process"] = whole - inside - sum(parts.values())
    lines = [
        f"{row['pipeline']}: a run of {whole:.1f} s, {inside:.1f} s in its stages; outside {whole - inside:.1f} s,"
    ]
    lines[0] += f" {(whole - inside) / whole:.1%} of the run"
    return lines + [f"  {seconds:5.2f} s  {label}" for label, seconds in parts.items()]


def compare_fits(argument: tuple[int, int]) -> list[float]:
    """Return seconds under the meter over seconds without it, pair by pair; for `run_isolated`."""
    steps, repeats = argument
    config = Config(
        SyntheticConfig(train_images=4, val_images=1, test_images=1),
        SuperpixelGnnConfig(),
        training=TrainingConfig(steps=steps, patience=None),
        device="cpu",
    )
    from bench.datasets.registry import load
    from bench.pipelines.registry import build_pipeline

    data = load(config.dataset)
    pipeline = build_pipeline(config, data.task)
    train, val = ([pipeline.prepare(sample) for sample in split] for split in (data.train, data.val))
    pipeline.fit(train, val)  # once before, unmeasured
    found = []
    for repeat in range(repeats):
        order = (True, False) if repeat % 2 else (False, True)
        seconds = {metered: _fit(pipeline, train, val, metered) for metered in order}
        found.append(seconds[True] / seconds[False])
    return found


def _fit(pipeline: Any, train: list[Any], val: list[Any], metered: bool) -> float:
    """Time one fit; opening and closing the meter lies outside, as in a run."""
    from bench.measure.meter import Meter

    with tempfile.TemporaryDirectory() as folder, Meter(Path(folder), "cpu") if metered else nullcontext() as meter:
        start = time.perf_counter()
        with nullcontext() if meter is None else meter.stage("train", split="train"):
            pipeline.fit(train, val)
        return time.perf_counter() - start
