"""Settings that only data and libraries can judge, judged before a run starts."""

from dataclasses import replace

import pytest

from bench.config import (
    CnnConfig,
    Config,
    InputError,
    OracleConfig,
    PipelineConfig,
    SuperpixelGnnConfig,
    SyntheticConfig,
    ThresholdConfig,
    TiledCnnConfig,
)
from bench.datasets.sample import Task
from bench.sweeps import checks

TASK = Task(("background", "cell"), in_channels=2, spatial_axes=2)


def config_of(arm: PipelineConfig, device: str = "cpu") -> Config:
    return Config(dataset=SyntheticConfig(), pipeline=arm, device=device)


def test_what_needs_no_library_costs_no_process() -> None:
    """Every preset of the CNN but those with encoders of timm, the GNN and the controls start at once."""
    for arm in (SuperpixelGnnConfig(), OracleConfig(), ThresholdConfig(), TiledCnnConfig()):
        assert not checks.needs_trial(config_of(arm, "auto"))
    for name in checks.TRIED["encoders"]:
        assert not checks.needs_trial(config_of(TiledCnnConfig(model=CnnConfig(encoder_name=name))))
    assert checks.needs_trial(config_of(TiledCnnConfig(model=CnnConfig(encoder_name="tu-magic"))))
    assert checks.needs_trial(config_of(TiledCnnConfig(model=CnnConfig(decoder_channels=[8]))))
    assert checks.needs_trial(config_of(TiledCnnConfig(model=CnnConfig(architecture="DPT"))))
    assert checks.needs_trial(config_of(SuperpixelGnnConfig(), "cuda"))
    assert not checks.needs_trial(config_of(OracleConfig(), "cuda"))


def test_a_process_of_its_own_says_what_the_library_refuses() -> None:
    found = config_of(TiledCnnConfig(model=CnnConfig(encoder_name="resnet19")))
    with pytest.raises(InputError, match=r"encoder_name must be .* got 'resnet19'"):
        checks.check_arms([(found, TASK), (replace(found, seed=1), TASK)])


def test_what_fits_is_let_through() -> None:
    tiny = CnnConfig(encoder_name="tu-mobilenetv3_small_050", decoder_channels=[64, 48, 32, 16, 8])
    assert checks.find_refusal([(config_of(TiledCnnConfig(model=tiny)), TASK)]) == ""
    short = CnnConfig(decoder_channels=[8])
    assert "decoder_channels must be 5 numbers" in checks.find_refusal([(config_of(TiledCnnConfig(model=short)), TASK)])


def test_the_channel_of_a_threshold_is_one_of_the_data() -> None:
    checks.check_arms([(config_of(ThresholdConfig(channel=1)), TASK)])
    with pytest.raises(InputError, match=r"pipeline.channel must lie in \[0, 2\)"):
        checks.check_arms([(config_of(ThresholdConfig(channel=2)), TASK)])


def test_settings_go_by_the_name_of_their_arm() -> None:
    checks.check_names([config_of(TiledCnnConfig()), config_of(OracleConfig())])
    with pytest.raises(InputError, match="give pipeline=oracle instead"):
        checks.check_names([config_of(TiledCnnConfig(name="oracle"))])
