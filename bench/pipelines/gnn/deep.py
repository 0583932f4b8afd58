"""Node features of a network for pixels: its activations, pooled into superpixels. Loads networks only when used."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch_geometric.data import Data

from bench.arrays.protocols import Typed
from bench.config import DEEP, GraphConfig, InputError, require
from bench.datasets.sample import Task
from bench.graphs.activations import pool_activations
from bench.graphs.build import build_graphs


class DeepFeatures:
    """Activations of the stage `graph.deep_stage` of an encoder, as further columns of node features."""

    def __init__(self, encoder: nn.Module, stride: int, channels: int, device: torch.device) -> None:
        self.encoder, self.stride, self.channels, self.device = encoder.to(device), stride, channels, device

    def __call__(self, tile: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Return the activations (D, H / stride, W / stride) of a tile (H, W, C)."""
        images = torch.from_numpy(np.ascontiguousarray(tile.transpose(2, 0, 1)[None])).to(self.device)
        with torch.inference_mode():
            [activations] = self.encoder(images).float().cpu().numpy()
        return np.asarray(activations)


def build_deep_features(config: GraphConfig, task: Task, device: torch.device) -> DeepFeatures | None:
    """Build the encoder that `graph.features` asks for; None where `deep` is not among them.

    Args:
        config: Settings of the graph.
        task: Channels of the images.
        device: Where the encoder runs.

    Raises:
        InputError: The encoder or its weights cannot be had, or the features were to be kept in a cache.
    """
    if DEEP not in config.features:
        return None
    require(
        config.cache_dir is None,
        f"graph.cache_dir cannot keep graph.features={DEEP}, whose weights may change: give graph.cache_dir=null",
    )
    from models.encoders import build_encoder_stage

    try:
        encoder = build_encoder_stage(config.deep_encoder, config.deep_weights, task.in_channels, config.deep_stage)
    except ValueError as error:
        raise InputError(f"graph.deep_encoder, graph.deep_stage, graph.deep_weights: {error}") from error
    return DeepFeatures(encoder, encoder.stride, encoder.channels, device)


def build_deep_graphs(
    image: Typed, views: Sequence[Typed], config: GraphConfig, deep: DeepFeatures | None
) -> Iterator[Data]:
    """Yield the graphs of `bench.graphs.build.build_graphs`, the features of each followed by those of `deep`.

    Args:
        image: Grey values (*spatial, C).
        views: Segmentations (*spatial), ids 0..N-1 all used.
        config: Settings of the graph.
        deep: What `build_deep_features` returned for them.
    """
    if deep is None:
        yield from build_graphs(image, views, config)
        return
    left = list(views)
    for graph in build_graphs(image, views, leave_out_deep(config)):
        pooled = pool_activations(image, left.pop(0), len(graph.x), deep)
        graph.x = torch.cat([graph.x, torch.from_numpy(pooled)], dim=1)
        yield graph
        del graph  # before the next one is built


def leave_out_deep(config: GraphConfig) -> GraphConfig:
    """Return the settings of the graph without `deep`, which `bench.graphs` does not have."""
    return replace(config, features=[name for name in config.features if name != DEEP])


def describe_random(config: GraphConfig) -> tuple[str, ...]:
    """Return a flag where the deep features come from random weights."""
    if DEEP not in config.features or config.deep_weights is not None:
        return ()
    encoder = config.deep_encoder
    return (f"warn: deep features are those of {encoder} with random weights, as graph.deep_weights is null",)
