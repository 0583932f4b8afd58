"""The network that the settings of a pixel arm mean, and how it looks at the images of a task."""

from typing import Protocol

from torch import nn

from bench.config import TiledCnn3dConfig, TiledCnn25dConfig, TiledCnnConfig, TilesConfig, require
from bench.datasets.sample import Task
from bench.pipelines.cnn.inference import Tiling
from bench.pipelines.cnn.sight import Sight


class Network(Protocol):
    """How a network is built, and what of an image goes through it at once."""

    @property
    def sight(self) -> Sight:
        """What it sees of an image."""

    @property
    def tiling(self) -> Tiling:
        """The tiles of an image in prediction."""

    @property
    def from_scratch(self) -> bool:
        """Whether its weights are random before training."""

    @property
    def is_shallow(self) -> bool:
        """Whether a side of its deepest features is so short that bfloat16 on a CPU gives wrong gradients."""

    def build(self) -> nn.Module:
        """Build it. Raises `InputError` for settings that do not fit together."""

    def list_blocks(self, model: nn.Module) -> list[nn.Module] | None:
        """Return the blocks that checkpointing computes again; None: those that `checkpoint_blocks` finds."""


def choose_network(settings: TilesConfig, task: Task) -> Network:
    """Return the network of a pixel arm.

    Args:
        settings: Settings of the arm.
        task: What the images are.

    Raises:
        InputError: The arm is for volumes and the images are flat, or its library is not installed.
    """
    if isinstance(settings, TiledCnn3dConfig | TiledCnn25dConfig):
        require(
            task.spatial_axes == 3,
            f"pipeline={settings.name} is for volumes, and the images have two axes: give pipeline=tiled_cnn",
        )
    if isinstance(settings, TiledCnn3dConfig):  # either loads a library that the other does without
        from bench.pipelines.cnn.volume import VolumeNetwork

        return VolumeNetwork(settings, task)
    from bench.pipelines.cnn.flat import FlatNetwork

    assert isinstance(settings, TiledCnnConfig)
    return FlatNetwork(settings, task)
