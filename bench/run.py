"""One run, the whole arrow: data set -> prepared -> trained -> predicted -> scored -> rows. In a fresh process."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import Config, FolderConfig, require
from bench.console.progress import track_progress
from bench.datasets import task_file
from bench.datasets.registry import load
from bench.datasets.sample import Sample, Splits
from bench.learning.fitlog import FitLog, StatedCost
from bench.measure.device import read_idle_states
from bench.measure.environment import pin_torch
from bench.measure.meter import Meter, find_headline
from bench.pipelines import parallel
from bench.pipelines.origin import drop_origin, sum_origins
from bench.pipelines.protocol import Pipeline, Prepared, prepare_once
from bench.pipelines.registry import build_learner, build_pipeline
from bench.scores.panels import Panels, find_depth
from bench.scores.scoring import SplitScores, choose_voting, find_scale
from bench.scores.spool import Spool
from bench.tables.columns import TRAINING_STAGES
from bench.tables.write import run_key, write_part, write_parts

Row = dict[str, Any]


def run(config: Config, directory: Path, row: Row) -> tuple[Row, str]:
    """Measure one arm on one data set.

    Imports, loading and saving lie outside the stages, and masks are scored when the meter has closed. A run that fails
    leaves the stages that it came through, and raises.

    Args:
        config: Settings of the run.
        directory: Folder of the run, which receives its tables and files.
        row: Columns of `runs` that were known before.

    Returns:
        The row with all that was measured, and a line for the user.
    """
    on_gpu = config.device != "cpu" and row.get("machine.gpu") is not None
    idle = read_idle_states() if on_gpu else None  # before a network takes memory of it
    started = time.perf_counter()
    data = load(config.dataset, Path(config.results_dir))
    loaded = time.perf_counter()
    check_same_data(row, data.facts)
    pipeline: Pipeline[Prepared] = build_pipeline(config, data.task)
    device, pinned = _pin(config)
    row |= {"load_seconds": loaded - started, "startup_seconds": time.perf_counter() - loaded}
    row |= pinned | data.facts | {"dataset": data.name, "dataset.spatial_axes": data.task.spatial_axes}
    row |= {"run_key": run_key(row["settings_key"], data.facts)}
    workers = parallel.has_child_processes(config)
    meter = Meter(directory, device, config.measure.sample_period, workers, idle)
    with Spool(directory) as spool:
        try:
            with meter:
                log, val_scores = _learn(pipeline, data, meter, config, spool)
                pipeline.save(directory / "checkpoint.pt")
                task_file.write(directory / "task.json", data.task, config.dataset.normalization, data.stored)
                test_scores, panels, facts = _test(pipeline, data, meter, config, spool)
            val_scores.finish(partial(track_progress, description="scoring validation images"))
            test_scores.finish(partial(track_progress, description="scoring test images"))
            check_unchanged(config, data.facts)
        except BaseException:
            write_part(directory, "stages", row["run_id"], meter.rows())
            raise
    panels.save(directory / "panels.npz")
    stages, measured, flags = _state_costs(log.stated, meter, data) if log.stated is not None else _collect_costs(meter)
    unseen = [f"never predicts {name}, which test images show" for name in test_scores.find_unseen()]
    warned = (f"warn: it {what}" for what in unseen)
    flags = [row.get("flags"), *flags, *parallel.list_flags(config), *log.flags, *warned]
    row |= _make_fit_columns(log) | facts | measured | {"flags": "; ".join(flag for flag in flags if flag)}
    row |= {"status": "ok", "reason": ""}
    scores = [{"split": "val", **score} for score in val_scores.rows()]
    scores += [{"split": "test", **score} for score in test_scores.rows()]
    write_parts(directory, row["run_id"], stages, scores, [asdict(row) for row in log.history])
    row |= {"run_seconds": time.perf_counter() - started}
    number = len(data.test)
    found = f"macro Dice {test_scores.macro_dice():.4f} on {number} test image{'s' * (number != 1)}"
    return row, "; ".join([found, *unseen])


def _collect_costs(meter: Meter) -> tuple[list[Row], Row, list[str | None]]:
    """Return the rows of stages, the columns of the run and the flags that the meter has."""
    stages = meter.rows()
    peak, kind = meter.headline(TRAINING_STAGES)
    row = meter.facts() | {"peak_memory_bytes": peak, "peak_memory_kind": kind}
    row["prepared_from_cache"] = sum(stage["images_from_cache"] or 0 for stage in stages)
    row["stages_seconds"] = sum(stage["wall_seconds"] for stage in stages)
    return stages, row, [*meter.flags()]


def _state_costs(stated: Sequence[StatedCost], meter: Meter, data: Splits) -> tuple[list[Row], Row, list[str | None]]:
    """Return the same of an arm that ran elsewhere: what its user states, and of the meter the libraries alone."""
    stages = [_make_stated_row(cost, data) for cost in stated]
    peak, kind = find_headline([stage for stage in stages if stage["split"] == "train"])
    libraries = meter.facts()["libraries"]
    return stages, {"peak_memory_bytes": peak, "peak_memory_kind": kind, "libraries": libraries}, []


def _make_stated_row(cost: StatedCost, data: Splits) -> Row:
    """Prediction is that of the test images; all else counts as training."""
    split, samples = ("test", data.test) if cost.stage == "predict" else ("train", data.train)
    return asdict(cost) | {"split": split, **_size(samples)}


def check_unchanged(config: Config, facts: dict[str, Any]) -> None:
    """Raise InputError where files of the data set are no longer what a run began with: its scores would mix both.

    Args:
        config: Settings of the run.
        facts: Those of the data set when it was loaded.
    """
    if isinstance(config.dataset, FolderConfig):
        check_same_data(facts, load(config.dataset, Path(config.results_dir)).facts)


def check_same_data(row: dict[str, Any], facts: dict[str, Any]) -> None:
    """Raise InputError where a run loads other data than the sweep saw when it began: they are not mixed."""
    expected, content = row.get("dataset.content"), facts.get("dataset.content")
    require(
        expected in (None, content),
        f"the data set changed while the sweep was going on (its content was {expected} and is {content}): "
        "start the sweep again, and the runs on the data as it is now are done",
    )


def _prepare(
    pipeline: Pipeline[Prepared], samples: Sequence[Sample], split: str, data: Splits, meter: Meter, config: Config
) -> list[Prepared]:
    """Prepare within the stage; with a cache of graphs, the stage reports what they took when they were made."""
    with meter.stage("prepare", split=split, **_size(samples)):
        if split == "test":
            items = [prepare_once(pipeline, sample) for sample in samples]
        else:
            items = parallel.prepare_all(pipeline, samples, config, data.task, reduce=split == "train")
    origin, at_once = sum_origins(item.facts for item in items), parallel.count_at_once(samples, config)
    meter.add_cached("prepare", split, int(origin.from_cache), origin.saved_seconds / at_once, origin.peak_rss_bytes)
    return items


def _learn(
    pipeline: Pipeline[Prepared], data: Splits, meter: Meter, config: Config, spool: Spool
) -> tuple[FitLog, SplitScores]:
    """Prepare and fit, and predict the validation images with the weights that were kept."""
    learner, learning = build_learner(pipeline, config, data.task)
    train = _prepare(learner, data.train, "train", data, meter, learning)
    val = _prepare(pipeline, data.val, "val", data, meter, config)
    with meter.stage("train", split="train", **_size(data.train)):
        log = pipeline.fit(train, val)
    for interval in log.intervals:
        meter.add_interval(interval.phase, interval.start_ns, interval.end_ns)
    meter.add_data_wait("train", "train", log.data_wait_seconds)
    scores = SplitScores(data.task, config.metrics.boundary_tolerance, choose_voting(config), spool, find_scale(config))
    for sample, item in zip(track_progress(data.val, "predicting validation images"), val, strict=True):
        with meter.stage("predict", split="val", **_size([sample])):
            predicted = pipeline.predict(item)
        scores.add(sample, predicted, item.segments)
    return log, scores


def _test(
    pipeline: Pipeline[Prepared], data: Splits, meter: Meter, config: Config, spool: Spool
) -> tuple[SplitScores, Panels, dict[str, float]]:
    """Prepare and predict the test images one at a time, so that the pixels of one are in memory, not of all."""
    scores = SplitScores(data.task, config.metrics.boundary_tolerance, choose_voting(config), spool, find_scale(config))
    panels, facts = Panels(data.task.class_names, find_depth(data.task.spacing)), Counter[str]()
    for sample in track_progress(data.test, "predicting test images"):
        (item,) = _prepare(pipeline, [sample], "test", data, meter, config)
        with meter.stage("predict", split="test", **_size([sample])):
            predicted = pipeline.predict(item)
        scores.add(sample, predicted, item.segments)
        panels.add(sample, predicted)
        facts.update(drop_origin(item.facts))
        del item, predicted  # before the next one is prepared
    return scores, panels, {name: total / len(data.test) for name, total in facts.items()}


def _pin(config: Config) -> tuple[str, Row]:
    """The device this arm runs on, and the settings of torch that every learning arm shares; no torch, no settings."""
    if "torch" not in sys.modules:
        return "cpu", {}
    from bench.learning.devices import resolve_device

    return str(resolve_device(config.device)), pin_torch(config.measure.threads, config.device)


def _size(samples: Sequence[Sample]) -> dict[str, int]:
    """What a stage worked on: images and pixels."""
    return {"images": len(samples), "pixels": sum(int(np.prod(sample.mask.shape)) for sample in samples)}


def _make_fit_columns(log: FitLog) -> Row:
    """The columns of `runs` that a fit fills; few for an arm that learns nothing, or validates nothing."""
    row: Row = {"parameters": log.parameters if log.stated is None else None, **log.facts}
    if log.steps is not None:
        row |= {"steps": log.steps, "steps_per_epoch": log.steps_per_epoch, "stopped": log.stopped}
    if log.history:
        row |= {
            "epochs": log.history[-1].epoch,
            "validations": log.validations,
            "best_step": log.best_step,
            "best_val_score": log.best_score,
            "late_gain": log.late_gain,
            "data_wait_seconds": log.data_wait_seconds,
        }
    return row
