"""The graph network that the settings ask for."""

from pathlib import Path
from typing import TypeAlias

import torch

from bench.config import GnnConfig, InputError, require_one_of
from models.gnn import CONVS, Gnn, build_gnn
from models.jain2024 import Jain2024, replay

Network: TypeAlias = Gnn | Jain2024

CONVOLUTIONS = (*CONVS, "jain2024")


def check_network(model: GnnConfig) -> None:
    """Raise `InputError` where there is no network called `model.conv`."""
    require_one_of("pipeline.model.conv", model.conv, CONVOLUTIONS)


def build_network(model: GnnConfig, in_channels: int, num_classes: int, edge_dim: int) -> Network:
    """Build a network of fresh weights.

    Args:
        model: Its settings; `conv` is one of `CONVOLUTIONS`.
        in_channels: Features of a node.
        num_classes: Classes.
        edge_dim: Attributes of an edge.
    """
    if model.conv == "jain2024":
        return Jain2024(in_channels, num_classes, model.hidden_channels, model.dropout)
    sizes = (in_channels, model.hidden_channels, model.num_layers, num_classes, edge_dim, model.dropout, model.norm)
    return build_gnn(model.conv, *sizes)


def load_published_network(path: Path, in_channels: int, num_classes: int) -> Jain2024:
    """Build the published network with the weights in a file.

    Args:
        path: A `state_dict` as torch saves it.
        in_channels: Features of a node.
        num_classes: Classes.

    Raises:
        InputError: The file is not there, holds other things, or weights that do not fit.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        return replay(weights, in_channels, num_classes)
    except FileNotFoundError as error:
        raise InputError(f"pipeline.weights: there is no file {path}") from error
    except Exception as error:
        raise InputError(f"pipeline.weights {path}: {error}") from error
