"""Convolutional networks of segmentation_models_pytorch, by name."""

import segmentation_models_pytorch as smp
from torch import nn


def build_cnn(
    architecture: str, encoder_name: str, encoder_weights: str | None, in_channels: int, num_classes: int
) -> nn.Module:
    """A network from (B, in_channels, H, W) to logits (B, num_classes, H, W); H and W are multiples of 32.

    `architecture` and `encoder_name` are names of segmentation_models_pytorch (Unet, UnetPlusPlus, FPN,
    DeepLabV3Plus, ...; resnet18, mobilenet_v2, ..., or tu-<name> for an encoder of timm). `encoder_weights` None
    starts from scratch; a name such as "imagenet" is fetched or read from torch's cache.

    Raises `ValueError` that names the setting: an unknown architecture, encoder or set of weights, or weights that
    could not be fetched.
    """
    architectures = {name.lower(): name for name in _architectures()}
    if architecture.lower() not in architectures:
        raise ValueError(f"architecture must be one of {', '.join(architectures.values())}, got {architecture!r}")
    encoders = list(smp.encoders.get_encoder_names())
    if not encoder_name.startswith("tu-") and encoder_name not in encoders:
        raise ValueError(
            f"encoder_name must be tu-<a name of timm> or one of {', '.join(encoders)}, got {encoder_name!r}"
        )
    try:
        model = smp.create_model(architecture, encoder_name, encoder_weights, in_channels, num_classes)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{architecture} with {encoder_name} and encoder_weights {encoder_weights}: {error}"
        ) from error
    assert isinstance(model, nn.Module)
    return model


def _architectures() -> list[str]:
    return [model.__name__ for model in smp.MODEL_ARCHITECTURES_MAPPING.values()]
