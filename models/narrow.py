"""Networks for prediction whose weights are cast once: autocast casts those of every layer in each forward pass."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd


def narrow_weights(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network whose convolutions and linear layers have weights of another type.

    All else is shared with the network: norms, buffers, and what autocast leaves in single precision. Under autocast to
    the same type the copy gives what the network gives, to the last bit.

    Args:
        network: A network in single precision, to predict with.
        dtype: Type of the weights, of less precision.

    Returns:
        The copy; it must not be trained.
    """
    narrow: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        for module in network.modules()
        if isinstance(module, _ConvNd | nn.Linear)
        for weight in module.parameters(recurse=False)
    }
    shared = {id(value): value for value in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared | narrow)


class NarrowCopy:
    """The narrowed copy of a network, made again when its weights have changed."""

    def __init__(self) -> None:
        self._key: tuple[int, ...] = ()
        self._copy: nn.Module | None = None

    def get(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return the copy that `narrow_weights` makes of the network as it is now."""
        key = (id(network), *(value._version for value in (*network.parameters(), *network.buffers())))
        if self._copy is None or key != self._key:
            self._key, self._copy = key, narrow_weights(network, dtype)
        return self._copy

    def predict(self, network: nn.Module, dtype: torch.dtype, images: torch.Tensor) -> torch.Tensor:
        """Return what the copy gives for images; it is made at the first ones, and again after weights have changed.

        Args:
            network: A network in single precision, in eval mode.
            dtype: Type of the copy's weights.
            images: What the network takes.
        """
        return self.get(network, dtype)(images)  # type: ignore[no-any-return]

    def drop(self) -> None:
        """Let the copy go, which takes half of the memory of the weights."""
        self._copy = None
