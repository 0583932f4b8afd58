"""Encoders of convolutional networks as features: activations of one stage, with given, fetched or random weights."""

from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from models.weights import read_weights

STAGES = 5  # of an encoder; stage n has a stride of 2 to the power of n pixels
PREFIX = "encoder."  # of the encoder's weights in those of a whole network


class EncoderStage(nn.Module):
    """The activations of one stage: from (B, C, H, W), sides multiples of 32, to (B, D, H / stride, W / stride)."""

    def __init__(self, encoder: nn.Module, stage: int) -> None:
        super().__init__()
        self.encoder, self.stage, self.stride = encoder, stage, 2**stage
        self.channels = int(encoder.out_channels[stage])  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        """Return the activations of the stage."""
        return self.encoder(images)[self.stage]  # type: ignore[no-any-return]


def build_encoder_stage(name: str, weights: str | None, in_channels: int, stage: int, seed: int = 0) -> EncoderStage:
    """Build an encoder whose stage `stage` is the last that is computed.

    Args:
        name: Name in segmentation_models_pytorch, or tu-<name> for an encoder of timm.
        weights: A file with a `state_dict` of such an encoder, or of a network that has one, as a run's checkpoint.pt;
            a name such as "imagenet", which is read from the cache or fetched; None: random weights.
        in_channels: Channels of the images.
        stage: 1 to `STAGES`.
        seed: Of random weights.

    Returns:
        The encoder, in eval mode and without gradients.

    Raises:
        ValueError: There is no such encoder, it has no such stage, or the weights cannot be had or do not fit.
    """
    file = None if weights is None or not _is_file(weights) else Path(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            encoder = smp.encoders.get_encoder(
                name, in_channels=in_channels, depth=max(stage, 3), weights=None if file else weights
            )
        except OSError as error:
            raise ValueError(
                f"the weights {weights!r} of {name} are not in the cache and could not be fetched; give a local file, "
                "or null for random weights"
            ) from error
        except (ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"the encoder {name!r} with the weights {weights!r} cannot be built: {reason}") from error
    if file is not None:
        load_encoder_weights(encoder, file)
    channels = encoder.out_channels[stage]
    if channels == 0:
        raise ValueError(f"the encoder {name} has no activations in stage {stage}: choose another one up to {STAGES}")
    return EncoderStage(encoder, stage).eval().requires_grad_(False)


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Copy the weights of an encoder from a file with its `state_dict`, or with that of a network that has such a one.

    Only tensors are unpickled. Weights of deeper stages than the encoder has are left out. Raises `ValueError` that
    names the file and the first weight that does not fit.
    """
    loaded = read_weights(path, str(path))
    whole = any(key.startswith(PREFIX) for key in loaded)
    given = {k.removeprefix(PREFIX): v for k, v in loaded.items() if not whole or k.startswith(PREFIX)}
    for key, value in encoder.state_dict().items():
        shape, other = tuple(value.shape), tuple(getattr(given.get(key), "shape", ())) if key in given else None
        if other != shape:
            raise ValueError(
                f"{path} does not fit: {key} has the shape {'absent' if other is None else other} there and {shape} in "
                "the encoder; give the file of such an encoder for as many channels"
            )
    encoder.load_state_dict({key: given[key] for key in encoder.state_dict()})


def _is_file(weights: str) -> bool:
    """Whether weights are meant to be a file: it is there, or is written like one."""
    return Path(weights).is_file() or "/" in weights or weights.endswith((".pt", ".pth"))
