"""What only a real GPU can show: the meter's bytes, limits of memory, networks that learn there as on a CPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import gpu_work

from bench.config import (
    CnnConfig,
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    PipelineConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    TiledCnnConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.measure.calibration import calibrate
from bench.measure.device import MIB
from bench.measure.isolation import run_isolated

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from bench.learning.recording import WARM_UP
    from bench.measure.environment import pin_environment
    from bench.measure.smallest_card import find_smallest
    from bench.pipelines.registry import build_pipeline

ROOT = Path(__file__).parents[1]
SIZE = 256 * MIB
TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)
NETWORKS: dict[str, PipelineConfig] = {
    "superpixel_gnn": SuperpixelGnnConfig(model=GnnConfig("sage", hidden_channels=16, num_layers=3), batch_nodes=200),
    "attention": SuperpixelGnnConfig(model=GnnConfig("gatv2", hidden_channels=16, num_layers=3), batch_nodes=200),
    "tiled_cnn": TiledCnnConfig(model=CnnConfig(), crop_size=64, tile_size=64, overlap=16, batch_size=4),
}


def has_gpu() -> bool:
    """Whether torch sees a CUDA device; asked when a test is about to run, as torch takes seconds to import."""
    import torch

    return torch.cuda.is_available()


pytestmark = [pytest.mark.gpu, pytest.mark.skipif("not has_gpu()", reason="needs a CUDA device")]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return pin_environment(2)


def disc(seed: int) -> Sample:
    """A disc on noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((96, 96))
    mask = ((rows - 48) ** 2 + (columns - rng.integers(30, 66)) ** 2 < 600).astype(np.int64)
    image: Any = (mask * 2.0 + rng.normal(0, 0.2, mask.shape)).astype(np.float32)[..., None]
    return Sample(str(seed), image, mask)


def config_of(name: str, device: str, precision: str = "float32", steps: int = 30) -> Config:
    settings = replace(NETWORKS[name], precision=precision)  # type: ignore[call-arg]
    training = TrainingConfig(epochs=None, steps=steps, patience=None, warmup=0)
    superpixels, graph = SuperpixelsConfig(superpixel_size=20), GraphConfig(features=["intensity", "shape"])
    return Config(DatasetConfig(), settings, superpixels, graph, training, device=device)


def test_the_calibration_passes_in_every_probe() -> None:
    checks, problem = calibrate("cuda")
    assert not problem
    assert {check.what: str(check) for check in checks if not check.passed} == {}


def test_the_meter_reads_the_bytes_that_were_held(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run_isolated(gpu_work.measure_blocks, (str(tmp_path), SIZE), 120, environment)
    assert done.ok, done.traceback
    rows, flags, facts = done.result
    kept, nothing, returned = ({row["stage"]: row for row in rows}[name] for name in ("prepare", "validate", "train"))
    assert [flag for flag in flags if flag.startswith("invalid")] == []
    assert facts["gpu_process_found"] is True
    for row in (kept, returned):
        assert row["gpu_allocated_peak_bytes"] == SIZE
        assert row["gpu_reserved_peak_bytes"] == SIZE
        assert row["gpu_peak_process_bytes"] - row["gpu_context_bytes"] == pytest.approx(SIZE, abs=8 * MIB)
        assert row["peak_memory_kind"] == "gpu_process"
    assert nothing["gpu_allocated_peak_bytes"] < MIB
    assert nothing["gpu_peak_process_bytes"] - nothing["gpu_context_bytes"] < 16 * MIB
    assert (kept["gpu_peak_exact"], nothing["gpu_peak_exact"], returned["gpu_peak_exact"]) == (True, True, False)
    assert kept["gpu_peak_device_delta_bytes"] == pytest.approx(kept["gpu_peak_process_bytes"], abs=16 * MIB)


def test_another_process_on_the_gpu_is_contended(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "support.gpu_work"]
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT / "tests", text=True, **streams) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "computing"
        done = run_isolated(gpu_work.measure_blocks, (str(tmp_path), SIZE), 120, environment)
        other.stdin.close()
    assert done.ok, done.traceback
    rows, flags, _ = done.result
    assert any(flag.startswith("contended: another compute process") for flag in flags), flags
    assert max(row["foreign_peak_bytes"] for row in rows) >= SIZE
    assert {row["gpu_allocated_peak_bytes"] for row in rows if row["stage"] != "validate"} == {SIZE}


def test_memory_that_is_not_there_is_out_of_memory(environment: dict[str, str]) -> None:
    done = run_isolated(gpu_work.allocate_too_much, None, 120, environment)
    assert done.status == "out_of_memory", done.reason
    capped = run_isolated(gpu_work.allocate_under_a_cap, (SIZE, 2 * SIZE), 120, environment)
    assert capped.status == "out_of_memory", capped.reason
    assert run_isolated(gpu_work.allocate_under_a_cap, (2 * SIZE, SIZE), 120, environment).ok


def test_a_process_that_occupies_a_gpu_leaves_what_it_says(environment: dict[str, str]) -> None:
    done = run_isolated(gpu_work.count_left_free, 2048 * MIB, 120, environment)
    assert done.ok, done.traceback
    said, seen = done.result
    assert said == pytest.approx(2048 * MIB, abs=16 * MIB)
    assert seen == pytest.approx(said, abs=4 * MIB)


def test_runs_on_a_gpu_fill_every_column_of_its_memory(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench", "-m", "pipeline=superpixel_gnn,tiled_cnn", "seed=0",
        "superpixels.superpixel_size=40", "training.steps=20", "training.patience=null", "dataset=synthetic",
        "dataset.image_size=[96,96]", "dataset.train_images=2", "dataset.val_images=1", "dataset.test_images=2",
        f"results_dir={tmp_path}", "device=cuda",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = pd.read_csv(tmp_path / "tables" / "runs.csv")
    assert set(runs["peak_memory_kind"]) == {"gpu_process"}
    stages = pd.read_csv(tmp_path / "tables" / "stages.csv")
    measured = stages[stages["stage"].isin(["prepare", "train", "predict"])]
    always = [str(name) for name in stages if str(name).startswith("gpu_") and name != "gpu_accounting_peak_bytes"]
    assert {name: int(measured[name].isna().sum()) for name in always if measured[name].isna().any()} == {}
    assert measured["gpu_peak_process_bytes"].gt(measured["gpu_context_bytes"] - MIB).all()
    beside = (measured["gpu_peak_device_delta_bytes"] - measured["gpu_peak_process_bytes"]).abs()
    assert beside.lt(32 * MIB).all(), "the device was idle before the run, and the run's network is no part of that"
    assert not runs["flags"].fillna("").str.contains("GPU").any()


def test_the_smallest_card_holds_the_context_and_what_was_allocated(environment: dict[str, str]) -> None:
    found = find_smallest(
        gpu_work.allocate, 512 * MIB, "cuda", resolution=512 * MIB, high=2048 * MIB, environment=environment
    )
    assert found.least_bytes is not None, found
    assert found.kind == "cap_hard"
    assert 512 * MIB < found.least_bytes < 2048 * MIB, found.trials
    assert [trial.status for trial in found.trials if trial.limit_bytes <= 512 * MIB] in ([], ["out_of_memory"])


# ---------------------------------------------------- in this process, which from here on is itself one on the GPU


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_learns_and_predicts_what_a_cpu_does(name: str, tmp_path: Path) -> None:
    samples = [disc(seed) for seed in range(4)]
    scores, masks = {}, {}
    for device in ("cuda", "cpu"):
        arm = build_pipeline(config_of(name, device), TASK)
        items = [arm.prepare(sample) for sample in samples]
        scores[device] = arm.fit(items[:3], items[3:]).best_score
        if device == "cuda":
            arm.save(tmp_path / "checkpoint.pt")
        else:
            arm.load(tmp_path / "checkpoint.pt")
        masks[device] = np.asarray(arm.predict(arm.prepare(samples[3])))
    assert scores["cuda"] == pytest.approx(scores["cpu"], abs=0.05)
    assert (masks["cuda"] == masks["cpu"]).mean() > 0.999, "the same weights give the same classes"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_seed_repeats_its_weights_on_a_gpu(name: str, precision: str) -> None:
    def learn() -> torch.Tensor:
        arm = build_pipeline(config_of(name, "cuda", precision, steps=12), TASK)
        items = [arm.prepare(disc(seed)) for seed in range(3)]
        arm.fit(items[:2], items[2:])
        model = arm.model  # type: ignore[attr-defined]
        return torch.cat([value.detach().flatten().cpu() for value in model.parameters()])

    torch.testing.assert_close(learn(), learn(), rtol=0, atol=0)


def learn_on_gpu(name: str, steps: int, **training: bool) -> tuple[torch.Tensor, list[float]]:
    """Weights and training losses of a fit without any randomness but the seed's; batches have many shapes."""
    config = config_of(name, "cuda", steps=steps)
    config = replace(config, training=replace(config.training, validate_every=5, **training))  # type: ignore[arg-type]
    arm = build_pipeline(config, TASK)
    items = [arm.prepare(disc(seed)) for seed in range(4)]
    log = arm.fit(items[:3], items[3:])
    weights = arm.model.parameters()  # type: ignore[attr-defined]
    return torch.cat([value.detach().flatten().cpu() for value in weights]), [
        row.train_loss for row in log.history if row.budget is None
    ]


@pytest.mark.parametrize("name", ["superpixel_gnn", "tiled_cnn"])
def test_replayed_steps_learn_what_others_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, name, without_chance(NETWORKS[name]))
    replays = watch_replays(monkeypatch)
    weights, losses = learn_on_gpu(name, 15, replay=True)
    assert len(replays) == 15 - WARM_UP
    others, same = learn_on_gpu(name, 15, replay=False)
    assert len(replays) == 15 - WARM_UP
    assert losses == pytest.approx(same, rel=1e-3)
    torch.testing.assert_close(weights, others, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["superpixel_gnn", "tiled_cnn"])
def test_forks_leave_no_trace_in_replayed_steps(name: str) -> None:
    (weights, losses), (others, same) = (learn_on_gpu(name, 75, forks=forks) for forks in (True, False))
    assert losses == same
    assert torch.equal(weights, others)


@pytest.mark.parametrize("architecture", ["Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "Segformer"])
def test_steps_of_each_architecture_can_be_replayed(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = "mit_b0" if architecture == "Segformer" else "resnet18"
    model = CnnConfig(architecture=architecture, encoder_name=encoder)
    monkeypatch.setitem(NETWORKS, "tiled_cnn", replace(NETWORKS["tiled_cnn"], model=model))  # type: ignore[call-arg]
    replays = watch_replays(monkeypatch)
    learn_on_gpu("tiled_cnn", 5)
    assert len(replays) == 5 - WARM_UP


def without_chance(pipeline: PipelineConfig) -> PipelineConfig:
    """The arm without dropout, whose random numbers a replay draws at other places."""
    if isinstance(pipeline, SuperpixelGnnConfig):
        return replace(pipeline, model=replace(pipeline.model, dropout=0.0))
    return pipeline


def watch_replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with every step that is replayed."""
    replays, replay = list[int](), torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(1)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    return replays
