"""Networks by name: their shapes, that tiling them is exact, and what is said when a name is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.arrays.tiles import cut_windows, read_padded

if TYPE_CHECKING:
    import segmentation_models_pytorch as smp
    import torch

    from models.unet import build_cnn
    from models.weights import load_weights


@pytest.mark.parametrize("architecture", ["Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus"])
def test_logits_have_the_size_of_the_image(architecture: str) -> None:
    network = build_cnn(architecture, "resnet18", None, 2, 3).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transformer_takes_any_channels_and_the_sides_of_tiles(channels: int) -> None:
    network = build_cnn("Segformer", "mit_b0", None, channels, 3).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, channels, 32, 96)).shape == (1, 3, 32, 96)


def test_narrow_decoders_have_fewer_parameters() -> None:
    def parameters(widths: list[int] | None) -> int:
        return sum(p.numel() for p in build_cnn("Unet", "resnet18", None, 1, 2, widths).parameters())

    assert parameters([64, 32, 16, 8, 8]) < parameters(None) == parameters([256, 128, 64, 32, 16])


def test_tiles_of_a_real_network_equal_the_whole_image() -> None:
    """The receptive field of a ResNet-18 U-Net reaches less than 320 pixels to each side."""
    torch.manual_seed(0)
    network = build_cnn("Unet", "resnet18", None, 1, 2).eval()
    image = np.random.default_rng(0).standard_normal((32, 1000, 1), dtype=np.float32)

    def scores(where: tuple[slice, ...]) -> torch.Tensor:
        with torch.inference_mode():
            return network(torch.from_numpy(read_padded(image, where)).permute(2, 0, 1)[None])[0]  # type: ignore[no-any-return]

    whole = scores((slice(0, 32), slice(0, 1024)))
    cut = cut_windows((32, 1000), 704, 320, 32)
    assert len(cut) > 3
    for window in cut:
        torch.testing.assert_close(
            scores(window.read)[(slice(None), *window.inner)],
            whole[(slice(None), *window.keep)],
            rtol=1e-4,
            atol=1e-4 * float(whole.abs().max()),
        )


@pytest.mark.parametrize(
    ("names", "widths", "sentence"),
    [
        (("UNet3000", "resnet18", None), None, "architecture must be one of Unet, .*, got 'UNet3000'"),
        (("Unet", "resnet17", None), None, "encoder_name must be .*resnet18.*, got 'resnet17'"),
        (("Unet", "resnet18", "imagenot"), None, "encoder_weights of resnet18 must be null or .*, got 'imagenot'"),
        (("Unet", "tu-no_such_model", None), None, "Unet cannot be built with encoder_name 'tu-no_such_model'"),
        (("Unet", "resnet18", None), [8, 8], "decoder_channels must be 5 numbers for Unet"),
        (("FPN", "resnet18", None), [8, 8], "decoder_channels must be null for FPN"),
    ],
)
def test_wrong_names_are_refused_with_the_right_ones(
    names: tuple[str, str, str | None], widths: list[int] | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_cnn(*names, 1, 2, widths)


def test_weights_that_cannot_be_fetched_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
    with pytest.raises(ValueError, match=r"encoder_weights 'imagenet' of resnet18 .* give encoder_weights null"):
        build_cnn("Unet", "resnet18", "imagenet", 1, 2)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    network, file = build_cnn("Unet", "resnet18", None, 1, 2), tmp_path / "weights.pt"
    weights = network.state_dict()
    torch.save({**weights, "encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}, file)
    with pytest.raises(
        ValueError, match=r"weights\.pt does not fit: encoder\.conv1\.weight has the shape \(64, 3, 7, 7\)"
    ):
        load_weights(network, file)
    torch.save({**weights, "more": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"does not fit: more has the shape \(1,\) there and absent in the network"):
        load_weights(network, file)
    torch.save([1, 2], file)
    with pytest.raises(ValueError, match="holds a list, and must hold a state_dict"):
        load_weights(network, file)
    file.write_text("no pickle")
    with pytest.raises(ValueError, match=r"weights_file .* cannot be read"):
        load_weights(network, file)
