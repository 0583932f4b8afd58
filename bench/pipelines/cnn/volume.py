"""Networks of MONAI over all three axes of a volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from bench.config import InputError, TiledCnn3dConfig, require, require_one_of
from bench.datasets.sample import Task
from bench.pipelines.cnn.inference import Tiling
from bench.pipelines.cnn.sight import Sight
from models import volume_unet
from models.levels import LEAST_SIZE, UnetLevel, multiply_strides, plan_levels
from models.weights import load_weights


@dataclass(frozen=True)
class VolumeNetwork:
    """A network of MONAI over all axes of a volume, halved as size and spacing of the training images allow."""

    settings: TiledCnn3dConfig
    task: Task

    def __post_init__(self) -> None:
        name = f"pipeline={self.settings.name}"
        require(
            find_spec("monai") is not None,
            f"{name} needs MONAI, which is not installed: pip install 'gnn-vs-cnn[volumes]'",
        )
        architecture, stride = self.settings.model.architecture, self.sight.strides[0]
        require_one_of("pipeline.model.architecture", architecture, volume_unet.ARCHITECTURES)
        shortest = None if self.task.shortest is None else self.task.shortest[0]
        require(
            shortest is None or shortest >= stride,
            f"{name} with pipeline.model.architecture={architecture} halves the planes to one in {stride}, and a "
            f"training volume has {shortest}: give pipeline.model.architecture=DynUNet, which halves short axes less",
        )
        limit = (self.tiling.thickness - stride) // 2
        require(
            self.settings.overlap_planes <= limit,
            f"pipeline.overlap_planes must lie in [0, {limit}], so that tiles of {self.tiling.thickness} planes "
            f"advance by {stride} or more, got {self.settings.overlap_planes}",
        )

    @property
    def size(self) -> Sequence[int]:
        """Size of a crop in pixels of the network, no larger than the shortest training image along any axis."""
        crop = (self.settings.crop_planes, self.settings.crop_size, self.settings.crop_size)
        if self.task.shortest is None:
            return crop
        return [min(one, n // s) for one, n, s in zip(crop, self.task.shortest, self._scales, strict=True)]

    @property
    def levels(self) -> list[UnetLevel]:
        """The levels of the network: those planned from crop and spacing, or what the architecture has."""
        spacing = self.task.spacing or (1.0,) * 3
        pixel = [length * scale for length, scale in zip(spacing, self._scales, strict=True)]
        return volume_unet.list_levels(self.settings.model.architecture, plan_levels(self.size, pixel))

    @property
    def is_shallow(self) -> bool:
        """Whether a side of the deepest features has fewer than `LEAST_SIZE` pixels.

        Gradients of kernels of three in bfloat16 are then wrong, or worse, on CPUs (oneDNN 3, torch 2.9).
        """
        sides = zip(self.size, self.sight.strides, strict=True)
        return min(-(-length // stride) for length, stride in sides) < LEAST_SIZE

    @property
    def _scales(self) -> tuple[int, int, int]:
        """Pixels of the image along one pixel of the network."""
        return 1, self.settings.scale, self.settings.scale

    @property
    def sight(self) -> Sight:
        """A box over all three axes."""
        return Sight(3, 0, multiply_strides(self.levels))

    @property
    def tiling(self) -> Tiling:
        """Boxes."""
        one = self.settings
        return Tiling(one.tile_size, one.overlap, one.scale, one.tile_planes, one.overlap_planes, self.sight)

    @property
    def from_scratch(self) -> bool:
        """Whether the network has no weights from elsewhere."""
        return self.settings.model.weights_file is None

    def build(self) -> nn.Module:
        """Build it. Raises `InputError` for settings that do not fit together."""
        model = self.settings.model
        channels = self.sight.count_channels(self.task.in_channels)
        build = partial(volume_unet.build_volume_cnn, model.architecture, model.channels, model.norm)
        try:
            network = build(channels, self.task.num_classes, self.levels)
            if model.weights_file is not None:
                load_weights(network, Path(model.weights_file))
        except ValueError as error:
            raise InputError(f"pipeline.model: {error}") from error
        return network

    def list_blocks(self, model: nn.Module) -> list[nn.Module] | None:
        """Return the blocks of a DynUNet; None for other networks."""
        return volume_unet.list_network_blocks(model)
