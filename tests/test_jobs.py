"""What a sweep says of its data set before it starts."""

import pytest

from bench.config import (
    Config,
    InputError,
    PipelineConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SyntheticConfig,
    ThresholdConfig,
    TiledCnn3dConfig,
    TiledCnn25dConfig,
    TiledCnnConfig,
)
from bench.datasets.sample import Suggestion, Task
from bench.sweeps.checks import check_volumes
from bench.sweeps.jobs import Job
from bench.sweeps.preparation import adapt_proposal, announce_disturbers, leave_out_flat


def suggest(text: str) -> Suggestion:
    setting, _, value = text.removesuffix(" (why)").partition("=")
    return Suggestion(setting, value, "why")


CNN, GNN, THRESHOLD = TiledCnnConfig(tile_size=256, crop_size=64), SuperpixelGnnConfig(), ThresholdConfig()


@pytest.mark.parametrize(
    ("proposal", "arms", "line"),
    [
        ("pipeline.crop_size=128 (why)", (CNN,), "pipeline.crop_size=128 (why)"),
        ("pipeline.crop_size=128 (why)", (CNN, GNN), "pipeline.crop_size=128 with pipeline=tiled_cnn (why)"),
        ("pipeline.crop_size=128 (why)", (GNN, THRESHOLD), None),
        ("pipeline.crop_size=64 (why)", (CNN, GNN), None),
        ("superpixels.superpixel_size=16 (why)", (CNN, GNN), "superpixels.superpixel_size=16 (why)"),
        ("superpixels.superpixel_size=30 (why)", (GNN,), None),
        ("dataset.normalization=centred (why)", (CNN, GNN), "dataset.normalization=centred (why)"),
        ("dataset.normalization=per_image (why)", (CNN, GNN), None),
    ],
)
def test_a_proposal_is_one_that_these_runs_can_be_given(
    proposal: str, arms: tuple[PipelineConfig, ...], line: str | None
) -> None:
    size = SuperpixelsConfig(superpixel_size=30.0)
    configs = [Config(SyntheticConfig(normalization="per_image"), arm, superpixels=size) for arm in arms]
    assert adapt_proposal(suggest(proposal), configs) == line


def test_a_proposal_stays_where_one_of_several_runs_has_another_value() -> None:
    sizes = [SuperpixelsConfig(superpixel_size=size) for size in (16.0, 400.0)]
    configs = [Config(SyntheticConfig(), GNN, superpixels=size) for size in sizes]
    text = "superpixels.superpixel_size=400 (why)"
    assert adapt_proposal(suggest(text), configs) == text


def test_what_disturbs_a_sweep_is_noted_before_it_and_of_a_single_run_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.measure.doctor.find_disturbers", lambda device: [f"contended: something on {device}"])
    jobs = [Job(Config(SyntheticConfig(), arm, device="cpu"), ()) for arm in (CNN, GNN)]
    announce_disturbers(jobs[:1])
    assert capsys.readouterr().err == ""
    announce_disturbers(jobs)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("note: contended: something on cpu: while that goes on, times of these runs are flagged")


def test_runs_for_volumes_are_left_out_where_images_are_flat(capsys: pytest.CaptureFixture[str]) -> None:
    arms: tuple[PipelineConfig, ...] = (CNN, TiledCnn3dConfig(), GNN, TiledCnn25dConfig())
    jobs = [Job(Config(SyntheticConfig(), arm), ()) for arm in arms]
    flat, deep = (Task(("a", "b"), 1, axes) for axes in (2, 3))
    kept = leave_out_flat(jobs, {id(job): flat for job in jobs})
    assert kept == [jobs[0], jobs[2]]
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "note: 2 runs are left out: pipeline=tiled_cnn_3d and pipeline=tiled_cnn_25d are for volumes, and these images "
        "are flat"
    )
    assert leave_out_flat(jobs, {id(job): deep for job in jobs}) == jobs
    assert leave_out_flat(jobs[1:2], {id(jobs[1]): flat}) == jobs[1:2]  # what was meant is refused instead
    with pytest.raises(InputError, match=r"pipeline=tiled_cnn_3d is for volumes, and the images have two axes"):
        check_volumes(jobs[1].config, flat)
    check_volumes(jobs[1].config, deep)


def test_without_monai_a_sweep_is_refused_by_the_name_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.sweeps.checks.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs MONAI, which is not installed: pip install 'gnn-vs-cnn\[volumes\]'"):
        check_volumes(Config(SyntheticConfig(), TiledCnn3dConfig()), Task(("a", "b"), 1, 3))
