"""Weights of a network from a file, all of them and no others."""

from pathlib import Path

import torch
from torch import Tensor, nn


def read_weights(path: Path, called: str) -> dict[str, Tensor]:
    """Read the `state_dict` in a file; only tensors are unpickled. Raises `ValueError` that names it as `called`."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler meets in a file that is none of ours
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{called} cannot be read as weights: {reason}") from error
    if not isinstance(weights, dict):
        raise ValueError(f"{called} holds a {type(weights).__name__}, and must hold a state_dict")
    return {str(name): value for name, value in weights.items()}


def load_weights(network: nn.Module, path: Path) -> None:
    """Copy into `network` the weights that a `state_dict` saved at `path` holds, all of them and no others.

    Only tensors are unpickled. Raises `ValueError` that names the file and the first weight that does not fit.
    """
    weights = read_weights(path, f"weights_file {path}")
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
    for name in dict.fromkeys([*own, *given]):
        if own.get(name) != given.get(name):
            raise ValueError(
                f"weights_file {path} does not fit: {name} has the shape {given.get(name, 'absent')} there and "
                f"{own.get(name, 'absent')} in the network; give the file of a network with the same settings"
            )
    network.load_state_dict(weights)
