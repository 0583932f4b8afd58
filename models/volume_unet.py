"""Convolutional networks over three axes, of MONAI, by name. MONAI is loaded when one is built."""

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from torch import nn

from models.levels import UnetLevel

MOST_CHANNELS = 320  # of a level, as in nnU-Net
HALVINGS = {"BasicUNet": 4, "SegResNet": 3}  # of all axes alike
ARCHITECTURES = ("DynUNet", *HALVINGS)
NORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "instance": ("instance", {"affine": True}),
    "batch": ("batch", {}),
    "group": ("group", {"num_groups": 8}),
}


def list_levels(architecture: str, planned: Sequence[UnetLevel]) -> list[UnetLevel]:
    """Return the levels that a network has: those `planned` for DynUNet, else its own, which halve all axes alike."""
    if architecture not in HALVINGS:
        return list(planned)
    axes = len(planned[0].stride)
    strides = [1, *[2] * HALVINGS[architecture]]
    return [UnetLevel((3,) * axes, (stride,) * axes) for stride in strides]


def build_volume_cnn(
    architecture: str, channels: int, norm: str, in_channels: int, num_classes: int, levels: Sequence[UnetLevel]
) -> nn.Module:
    """Build a network from (B, in_channels, *axes) to logits (B, num_classes, *axes), sizes multiples of its stride.

    Args:
        architecture: Name in MONAI: DynUNet, BasicUNet or SegResNet.
        channels: Of the highest resolution; they double on each level below, up to `MOST_CHANNELS` in DynUNet.
        norm: instance | batch | group.
        in_channels: Channels of the image.
        num_classes: K.
        levels: Kernels and strides of DynUNet; of the others only the number of axes counts.

    Returns:
        The network.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: Names the setting and what would be right.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    if find_spec("monai") is None:
        raise ImportError("MONAI is not installed")
    axes = len(levels[0].stride)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns, as it is loaded, of changes in other libraries
        from monai.networks import nets
    common: dict[str, Any] = {"spatial_dims": axes, "in_channels": in_channels, "out_channels": num_classes}
    if architecture == "BasicUNet":
        widths = [channels * factor for factor in (1, 1, 2, 4, 8, 1)]
        return nets.BasicUNet(**common, features=widths, norm=NORMS[norm])  # type: ignore[no-any-return]
    if architecture == "SegResNet":
        return nets.SegResNet(**common, init_filters=channels, norm=NORMS[norm])  # type: ignore[no-any-return]
    return _build_dynamic(nets.DynUNet, common, channels, norm, levels)


def _build_dynamic(
    build: Callable[..., nn.Module], common: dict[str, Any], channels: int, norm: str, levels: Sequence[UnetLevel]
) -> nn.Module:
    """Build a DynUNet with the kernels and strides of `levels`."""
    strides = [level.stride for level in levels]
    return build(
        **common,
        kernel_size=[level.kernel for level in levels],
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=[min(channels * 2**depth, MOST_CHANNELS) for depth in range(len(levels))],
        norm_name=NORMS[norm],
    )


def list_network_blocks(network: nn.Module) -> list[nn.Module] | None:
    """Return the blocks of a DynUNet, which holds each of them in two places; None for any other network."""
    names = ("input_block", "downsamples", "bottleneck", "upsamples")
    if not all(isinstance(getattr(network, name, None), nn.Module) for name in names):
        return None
    first, downward, deepest, upward = (network.get_submodule(name) for name in names)
    return [first, *downward.children(), deepest, *upward.children()]
