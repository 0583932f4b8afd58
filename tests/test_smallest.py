"""The search for the smallest memory, run for real on an arm that starts quickly."""

from __future__ import annotations

import io
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import (
    CoarseGnnConfig,
    Config,
    ExperimentConfig,
    GnnConfig,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelMlpConfig,
    SuperpixelsConfig,
    SyntheticConfig,
    TiledCnnConfig,
)
from bench.datasets.sample import Sample, Splits, Task
from bench.measure.caps import occupy_gpu
from bench.measure.smallest_card import Smallest
from bench.sweeps import jobs, smallest
from bench.sweeps.jobs import Job, describe_job

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor
    from torch_geometric.data import Data

    from bench.pipelines.gnn.items import Item
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn


TINY = Config(
    SyntheticConfig(image_size=[64, 64], train_images=1, val_images=1, test_images=1),
    OracleConfig(),
    experiment=ExperimentConfig("smallest_card", kind="smallest_memory", resolution_mib=4096),
    device="cpu",
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's writable memory")
def test_the_search_ends_between_a_limit_that_failed_and_one_that_worked(tmp_path: Path) -> None:
    row, said = smallest.search_memory(TINY, tmp_path, describe_job(Job(TINY, ())), {})
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert row["status"] == "ok", row["reason"]
    assert row["smallest_memory_kind"] == "host_data_limit"
    assert row["smallest_memory_bytes"] == trials.loc[trials["passed"], "limit_bytes"].min()
    failed = trials.loc[~trials["passed"], "limit_bytes"]
    gap = row["smallest_memory_bytes"] - (failed.max() if len(failed) else 0)
    assert 0 < gap <= 4096 * 2**20
    assert "MiB" in said


@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": "3"}])
def test_trials_see_the_gpu_that_is_held_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: dict[str, str]
) -> None:
    @contextmanager
    def hold(*_: object) -> Iterator[dict[str, str]]:
        yield shown

    def find(*_: object, environment: dict[str, str], **__: object) -> Smallest:
        assert {name: value for name, value in environment.items() if name == "CUDA_VISIBLE_DEVICES"} == shown
        return Smallest(None, "cap_soft", 1, "nothing was tried", ())

    monkeypatch.setattr(jobs, "hold_gpu", hold)
    monkeypatch.setattr("bench.measure.smallest_card.find_smallest", find)
    row, _ = jobs._search_memory(Job(TINY, ()), tmp_path, describe_job(Job(TINY, ())))
    assert row["reason"] == "nothing was tried"


def test_a_process_that_occupies_a_gpu_sees_the_same_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    class Process:
        stdout = io.StringIO("7\n")

        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            seen.append(env)

        def communicate(self, timeout: float) -> None:
            assert timeout > 0

    monkeypatch.setattr("subprocess.Popen", Process)
    with occupy_gpu("cuda", 7, {"CUDA_VISIBLE_DEVICES": "3"}) as left:
        assert left == 7
    assert seen == [{**os.environ, "CUDA_VISIBLE_DEVICES": "3"}]


# ------------------------------------------------------------------------------------------------ what a trial does


def make_data() -> Splits:
    """Three images of each split, the largest of which is the second; a name is its split and its side."""
    rng, task = np.random.default_rng(0), Task(("background", "cell"), in_channels=1, spatial_axes=2)

    def make(split: str, side: int) -> Sample:
        mask = (np.indices((side, side)).sum(axis=0) % 32 < 16).astype(np.uint8)
        return Sample(
            f"{split} {side}", (mask[..., None] + rng.normal(0, 0.2, (side, side, 1))).astype(np.float32), mask
        )

    train, val, test = ([make(split, side) for side in (32, 96, 48)] for split in ("train", "val", "test"))
    return Splits("set", task, train, val, test, {})


class Recorder:
    """An arm that notes what it is given."""

    name = "recorder"

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {"prepare": [], "train": [], "val": [], "predict": []}
        self.held: list[weakref.ref[Sample]] = []
        self.in_memory: list[str] = []

    def prepare(self, sample: Sample) -> Sample:
        item = replace(sample)
        self.seen["prepare"].append(item.name)
        self.held.append(weakref.ref(item))
        return item

    def fit(self, train: Sequence[Sample], val: Sequence[Sample]) -> None:
        self.seen["train"], self.seen["val"] = [one.name for one in train], [one.name for one in val]
        self.in_memory = [one.name for one in (item() for item in self.held) if one is not None]

    def predict(self, item: Sample) -> NDArray[np.integer]:
        self.seen["predict"].append(item.name)
        return np.asarray(item.mask)


def try_recorder(pipeline: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(smallest, "load", lambda *_: make_data())
    monkeypatch.setattr(smallest, "build_pipeline", lambda *_: recorder)
    smallest.try_job(replace(TINY, pipeline=pipeline))
    return recorder


def test_a_trial_holds_what_a_run_holds_and_meets_the_largest_of_each_split(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = try_recorder(OracleConfig(), monkeypatch)
    names = {split: [f"{split} {side}" for side in (96, 48, 32)] for split in ("train", "val")}
    assert recorder.seen["prepare"] == [*names["train"], *names["val"], "test 96"]
    assert recorder.in_memory == [*names["train"], *names["val"]], "all of them while the arm learns"
    assert (recorder.seen["train"], recorder.seen["val"]) == (names["train"], ["val 96"])
    assert recorder.seen["predict"] == ["test 96"]


@pytest.mark.parametrize(
    ("pipeline", "images"),
    [
        (TiledCnnConfig(batch_size=2), 2),
        (TiledCnnConfig(batch_size=8), 3),
        (SuperpixelGnnConfig(), 3),
        (SuperpixelGnnConfig(batch_nodes=None), 1),
        (SuperpixelMlpConfig(batch_nodes=None), 1),
        (CoarseGnnConfig(batch_nodes=None), 1),
        (CoarseGnnConfig(batch_nodes=None, folds=2), 2),
        (PixelForestConfig(), 3),
    ],
)
def test_the_largest_images_alone_make_the_batches_where_any_would_do(
    pipeline: PipelineConfig, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = try_recorder(pipeline, monkeypatch)
    assert recorder.seen["train"] == ["train 96", "train 48", "train 32"][:images]
    assert len(recorder.in_memory) == 6


def test_a_trial_takes_its_steps_with_the_largest_graph_where_a_batch_is_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are those that the search hands to each trial."""
    arm = SuperpixelGnnConfig(model=GnnConfig(hidden_channels=4, num_layers=1), batch_nodes=None)
    tried: list[Config] = []

    def find(_: object, config: Config, *__: object, **___: object) -> Smallest:
        tried.append(config)
        return Smallest(None, "cap_soft", 1, "nothing was tried", ())

    monkeypatch.setattr("bench.measure.smallest_card.find_smallest", find)
    monkeypatch.setattr(smallest, "load", lambda *_: make_data())
    superpixels = SuperpixelsConfig(method="grid", superpixel_size=16.0)
    smallest.search_memory(replace(TINY, pipeline=arm, superpixels=superpixels), tmp_path, {}, {})

    sizes, scored, painted = list[int](), list[int](), list[int]()
    step, score, paint = SuperpixelGnn.compute_loss, SuperpixelGnn._score, SuperpixelGnn.predict

    def count_step(arm: SuperpixelGnn, batch: Data) -> Tensor:
        sizes.append(batch.num_nodes)
        return step(arm, batch)

    def count_scored(arm: SuperpixelGnn, items: Sequence[Item]) -> float:
        scored.extend(len(item.segments) for item in items)
        return score(arm, items)

    def count_painted(arm: SuperpixelGnn, item: Item) -> NDArray[np.integer]:
        painted.append(len(item.segments))
        return paint(arm, item)

    monkeypatch.setattr(SuperpixelGnn, "compute_loss", count_step)
    monkeypatch.setattr(SuperpixelGnn, "_score", count_scored)
    monkeypatch.setattr(SuperpixelGnn, "predict", count_painted)
    smallest.try_job(tried[0])
    assert sizes[-smallest.STEPS :] == [24**2] * smallest.STEPS
    assert set(scored) == {96}
    assert painted == [96]
