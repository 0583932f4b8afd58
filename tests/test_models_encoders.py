"""Encoders as features: their stages, random and given weights, and the sentence where these cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import segmentation_models_pytorch as smp
    import torch

    from models.encoders import build_encoder_stage
    from models.unet import build_cnn

SMALL = "tu-mobilenetv3_small_050"


@pytest.mark.parametrize("name", ["resnet18", SMALL])
@pytest.mark.parametrize("stage", [1, 2, 4])
def test_a_stage_has_its_stride_and_its_channels(name: str, stage: int) -> None:
    encoder = build_encoder_stage(name, None, 2, stage)
    found = encoder(torch.zeros(1, 2, 64, 96))
    assert tuple(found.shape) == (1, encoder.channels, 64 // 2**stage, 96 // 2**stage)
    assert encoder.stride == 2**stage
    assert not found.requires_grad


def test_random_weights_follow_the_seed_and_nothing_else() -> None:
    image = torch.ones(1, 1, 32, 32)
    first = build_encoder_stage(SMALL, None, 1, 2)(image)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    torch.testing.assert_close(build_encoder_stage(SMALL, None, 1, 2)(image), first)
    torch.testing.assert_close(torch.rand(1), before)
    assert not torch.equal(build_encoder_stage(SMALL, None, 1, 2, seed=1)(image), first)


@pytest.mark.parametrize("name", ["resnet18", SMALL])
def test_the_encoder_of_a_trained_network_is_taken_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    network, image = build_cnn("Unet", name, None, 1, 2).eval(), torch.rand(1, 1, 64, 64)
    torch.save(network.state_dict(), tmp_path / "checkpoint.pt")
    torch.save(network.encoder.state_dict(), tmp_path / "encoder.pt")  # type: ignore[union-attr]
    expected = network.encoder(image)[2]  # type: ignore[operator]
    for file in ("checkpoint.pt", "encoder.pt"):
        torch.testing.assert_close(build_encoder_stage(name, str(tmp_path / file), 1, 2)(image), expected.detach())


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save(build_cnn("Unet", "resnet18", None, 3, 2).state_dict(), file)
    with pytest.raises(ValueError, match=r"checkpoint\.pt does not fit: conv1\.weight has the shape \(64, 3, 7, 7\)"):
        build_encoder_stage("resnet18", str(file), 1, 2)
    torch.save({"encoder.conv1.weight": torch.zeros(64, 1, 7, 7)}, file)
    with pytest.raises(ValueError, match="has the shape absent"):
        build_encoder_stage("resnet18", str(file), 1, 2)
    torch.save([1], file)
    with pytest.raises(ValueError, match="holds a list"):
        build_encoder_stage("resnet18", str(file), 1, 2)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        build_encoder_stage("resnet18", str(tmp_path / "none.pt"), 1, 2)


def test_what_cannot_be_had_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
    with pytest.raises(ValueError, match="could not be fetched; give a local file, or null"):
        build_encoder_stage("resnet18", "imagenet", 1, 2)
    with pytest.raises(ValueError, match="'resnet17' with the weights None cannot be built"):
        build_encoder_stage("resnet17", None, 1, 2)
    with pytest.raises(ValueError, match="mit_b0 has no activations in stage 1"):
        build_encoder_stage("mit_b0", None, 3, 1)
