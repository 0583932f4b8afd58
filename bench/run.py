"""One run, the whole arrow: data set -> prepared -> trained -> predicted -> scored -> rows. In a fresh process."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench import tables
from bench.config import Config
from bench.datasets import load
from bench.datasets.sample import Sample
from bench.fitlog import FitLog
from bench.measure.environment import pin_torch
from bench.measure.machine import default_threads, machine_facts
from bench.measure.meter import Meter
from bench.panels import Panels
from bench.pipelines import PIPELINES
from bench.pipelines.protocol import Pipeline, Prepared
from bench.scoring import SplitScores

Row = dict[str, Any]


def run(config: Config, directory: Path, row: Row) -> str:
    """Measure one arm on one data set and write its tables to `directory`; returns the line to tell the user.

    `row` holds what was known before. Imports, loading, saving and scoring lie outside the stages. Test images are
    prepared and predicted one at a time, so that no more than one image's pixels are in memory on an arm's account.
    """
    started = time.perf_counter()
    data = load(config.dataset)
    loaded = time.perf_counter()
    pipeline: Pipeline[Prepared] = PIPELINES[config.pipeline.name](
        config, data.task
    )  # imports and compiles what it needs
    device, pinned = _pin(config)
    ready = time.perf_counter()
    val_scores, test_scores = (SplitScores(data.task, config.metrics.boundary_tolerance) for _ in range(2))
    panels, facts = Panels(data.task.class_names), Counter[str]()
    with Meter(directory, device, config.measure.sample_period) as meter:
        with meter.stage("prepare", split="train", **_size(data.train)):
            train = [pipeline.prepare(sample) for sample in data.train]
        with meter.stage("prepare", split="val", **_size(data.val)):
            val = [pipeline.prepare(sample) for sample in data.val]
        with meter.stage("train", split="train", **_size(data.train)):
            log = pipeline.fit(train, val)
        for interval in log.intervals:
            meter.add_interval(interval.phase, interval.start_ns, interval.end_ns)
        meter.add_data_wait("train", "train", log.data_wait_seconds)
        pipeline.save(directory / "checkpoint.pt")
        del train
        for sample, item in zip(data.val, val, strict=True):
            with meter.stage("predict", split="val", **_size([sample])):
                predicted = pipeline.predict(item)
            val_scores.add(sample.name, np.asarray(sample.mask), predicted, item.segments)
        del val
        for sample in data.test:
            with meter.stage("prepare", split="test", **_size([sample])):
                item = pipeline.prepare(sample)
            with meter.stage("predict", split="test", **_size([sample])):
                predicted = pipeline.predict(item)
            test_scores.add(sample.name, np.asarray(sample.mask), predicted, item.segments)
            panels.add(sample, predicted)
            facts.update(item.facts)
    panels.save(directory / "panels.npz")
    peak, kind = meter.headline()
    row |= _machine() | pinned | data.facts | _learned(log) | {name: n / len(data.test) for name, n in facts.items()}
    row |= {
        "dataset": data.name,
        "peak_memory_bytes": peak,
        "peak_memory_kind": kind,
        "flags": "; ".join(meter.flags()),
    }
    row |= {"load_seconds": loaded - started, "startup_seconds": ready - loaded}
    row |= {"status": "ok", "reason": "", "run_seconds": time.perf_counter() - started}
    scores = [{"split": "val", **score} for score in val_scores.rows()]
    scores += [{"split": "test", **score} for score in test_scores.rows()]
    tables.write_run(directory, row, meter.rows(), scores, [asdict(epoch) for epoch in log.history])
    return f"macro Dice {test_scores.macro_dice():.4f} on {len(data.test)} test images"


def _pin(config: Config) -> tuple[str, Row]:
    """The device this arm runs on, and the settings of torch that every learning arm shares; no torch, no settings."""
    if "torch" not in sys.modules:
        return "cpu", {}
    from bench.training import resolve_device

    return str(resolve_device(config.device)), pin_torch(config.measure.threads or default_threads())


def _machine() -> Row:
    return {f"machine.{name}": value for name, value in machine_facts().items()}


def _size(samples: Sequence[Sample]) -> dict[str, int]:
    """What a stage worked on: images and pixels."""
    return {"images": len(samples), "pixels": sum(int(np.prod(sample.mask.shape)) for sample in samples)}


def _learned(log: FitLog) -> Row:
    """The columns of `runs` that a fit fills; empty for an arm that learns nothing."""
    if not log.history:
        return {"parameters": log.parameters, **log.facts}
    return {
        "parameters": log.parameters,
        "epochs": log.history[-1].epoch,
        "best_epoch": log.best_epoch,
        "best_val_score": log.best_score,
        "stopped": log.stopped,
        "data_wait_seconds": log.data_wait_seconds,
        **log.facts,
    }
