"""What a sweep says of its data set before it starts."""

import pytest

from bench.config import (
    Config,
    PipelineConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SyntheticConfig,
    ThresholdConfig,
    TiledCnnConfig,
)
from bench.datasets.sample import Suggestion
from bench.sweeps.jobs import Job, adapt_proposal, announce_disturbers


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
