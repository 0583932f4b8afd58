"""Convolutional networks of segmentation_models_pytorch, by name."""

import inspect
from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import nn

ARCHITECTURES: dict[str, type[nn.Module]] = {
    model.__name__: model for model in smp.MODEL_ARCHITECTURES_MAPPING.values()
}


def build_cnn(
    architecture: str,
    encoder_name: str,
    encoder_weights: str | None,
    in_channels: int,
    num_classes: int,
    decoder_channels: Sequence[int] | None = None,
) -> nn.Module:
    """Build a network from (B, in_channels, H, W) to logits (B, num_classes, H, W), H and W being multiples of 32.

    Args:
        architecture: Name in segmentation_models_pytorch: Unet, UnetPlusPlus, FPN, ...
        encoder_name: Name there: resnet18, mobilenet_v2, ..., or tu-<name> for an encoder of timm.
        encoder_weights: None starts from scratch; a name such as "imagenet" is read from the cache or fetched.
        in_channels: Channels of the image.
        num_classes: K.
        decoder_channels: Widths of the decoder's levels, deepest first, for the architectures that have such a list.

    Returns:
        The network.

    Raises:
        ValueError: Names the setting and what would be right.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    _check_encoder(encoder_name, encoder_weights)
    build = ARCHITECTURES[architecture]
    settings: dict[str, object] = {"in_channels": in_channels, "classes": num_classes}
    if decoder_channels is not None:
        _check_decoder(architecture, decoder_channels)
        settings["decoder_channels"] = tuple(decoder_channels)
    try:
        return build(encoder_name=encoder_name, encoder_weights=encoder_weights, **settings)
    except (ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{architecture} cannot be built with encoder_name {encoder_name!r}: {error}") from error
    except OSError as error:
        raise ValueError(
            f"encoder_weights {encoder_weights!r} of {encoder_name} are not in the cache and could not be fetched; "
            "give encoder_weights null to start from scratch"
        ) from error


def _check_encoder(name: str, weights: str | None) -> None:
    encoders = smp.encoders.encoders
    if name.startswith("tu-"):
        return
    if name not in encoders:
        raise ValueError(f"encoder_name must be tu-<a name of timm> or one of {', '.join(encoders)}, got {name!r}")
    known = list(encoders[name]["pretrained_settings"])
    if weights is not None and weights not in known:
        raise ValueError(f"encoder_weights of {name} must be null or one of {', '.join(known)}, got {weights!r}")


def _check_decoder(architecture: str, channels: Sequence[int]) -> None:
    default = inspect.signature(ARCHITECTURES[architecture]).parameters.get("decoder_channels")
    widths = default.default if default is not None else None
    if not isinstance(widths, Sequence):
        raise ValueError(
            f"decoder_channels must be null for {architecture}, which has no such list, got {list(channels)}"
        )
    if len(channels) != len(widths):
        raise ValueError(f"decoder_channels must be {len(widths)} numbers for {architecture}, got {list(channels)}")
