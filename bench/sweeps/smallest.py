"""The least memory with which an arm still trains and predicts: one bisection per job, a fresh process per trial."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import CoarseGnnConfig, Config, PipelineConfig, SuperpixelGnnConfig, TilesConfig
from bench.datasets.registry import load
from bench.datasets.sample import Sample
from bench.pipelines import parallel
from bench.pipelines.protocol import prepare_once
from bench.pipelines.registry import build_learner, build_pipeline

STEPS = 20  # of training per trial


def try_job(config: Config) -> None:
    """Do what must fit: everything prepared, 20 steps, one validation, the largest image predicted.

    All training and validation images are prepared and stay in memory, as in a real run. The largest training images
    make the batches (`count_batch_images`), and the largest validation image is validated.
    Raises whatever the arm raises; a loss that is not finite is among it.
    """
    data = load(config.dataset, Path(config.results_dir))
    pipeline = build_pipeline(config, data.task)
    learner, learning = build_learner(pipeline, config, data.task)
    train = parallel.prepare_all(learner, sort_by_size(data.train), learning, data.task, reduce=True)
    val = parallel.prepare_all(pipeline, sort_by_size(data.val), config, data.task)
    pipeline.fit(train[: count_batch_images(config.pipeline)], val[:1])
    predicted = pipeline.predict(prepare_once(pipeline, sort_by_size(data.test)[0]))
    if predicted.ndim != data.task.spatial_axes:
        raise RuntimeError(f"{config.pipeline.name} predicted a mask with {predicted.ndim} axes")


def count_batch_images(pipeline: PipelineConfig) -> int | None:
    """Return how many of the largest training images a trial learns from; None: from all.

    The crops of a U-Net's batch may come from as many images, and are of one size whatever these are. Where a batch is
    one whole graph, drawn at random, only the largest image alone is sure to be drawn in a few steps; each fold of
    `coarse_gnn` has to leave one out. All other arms mix the images in a batch, or learn from all of them at once.
    """
    if isinstance(pipeline, TilesConfig):
        return pipeline.batch_size
    if isinstance(pipeline, SuperpixelGnnConfig) and pipeline.batch_nodes is None:
        return pipeline.folds if isinstance(pipeline, CoarseGnnConfig) else 1
    return None


def sort_by_size(samples: Sequence[Sample]) -> list[Sample]:
    """Return images with the largest first, in pixels."""
    return sorted(samples, key=count_image_pixels, reverse=True)


def count_image_pixels(sample: Sample) -> int:
    """Return the size of an image in pixels."""
    return int(np.prod(sample.mask.shape))


def search_memory(
    config: Config, directory: Path, row: dict[str, Any], gpu: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """Search the least memory by bisection, and write each trial to `directory/trials.csv`.

    Args:
        config: Settings of the run.
        directory: Directory of the run.
        row: What is known of the run so far.
        gpu: Variables that show the trials the GPU which is held for them.

    Returns:
        The run's row and a line for the user.
    """
    from bench.measure.device import MIB
    from bench.measure.environment import pin_environment
    from bench.measure.machine import default_threads
    from bench.measure.smallest_card import find_smallest
    from bench.tables.write import write_rows

    short = replace(config, training=replace(config.training, epochs=None, seconds=None, steps=STEPS))
    short = replace(short, graph=replace(config.graph, cache_dir=None))  # making graphs needs memory too
    found = find_smallest(
        try_job,
        short,
        choose_device(config.device),
        resolution=config.experiment.resolution_mib * MIB,
        environment=pin_environment(config.measure.threads or default_threads()) | dict(gpu),
        timeout=config.measure.timeout,
    )
    write_rows(directory / "trials.csv", [asdict(one) for one in found.trials])
    row = row | {
        "status": "ok" if found.least_bytes is not None else "failed",
        "reason": found.reason,
        "smallest_memory_bytes": found.least_bytes,
        "smallest_memory_kind": found.kind,
        "smallest_memory_resolution_bytes": found.resolution_bytes,
    }  # fmt: skip
    if found.least_bytes is None:
        return row, f"no limit works: {found.reason}"
    return row, f"works with {found.least_bytes / MIB:.0f} MiB ({found.kind}, {len(found.trials)} trials)"


def choose_device(name: str) -> str:
    """Return the device a trial will run on, without importing torch: `auto` is a GPU where the driver shows one."""
    from bench.measure.machine import machine_facts

    return ("cuda" if machine_facts()["gpu"] else "cpu") if name == "auto" else name
