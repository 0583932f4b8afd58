"""Networks of segmentation_models_pytorch over height and width, for images or for the planes of volumes."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.config import InputError, TiledCnn25dConfig, TiledCnnConfig, require_one_of
from bench.datasets.sample import Task
from bench.pipelines.cnn.inference import Tiling
from bench.pipelines.cnn.sight import Sight
from models.unet import ARCHITECTURES, build_cnn
from models.weights import load_weights


@dataclass(frozen=True)
class FlatNetwork:
    """A network of segmentation_models_pytorch over height and width."""

    settings: TiledCnnConfig
    task: Task

    @property
    def sight(self) -> Sight:
        """One plane, with its neighbours as channels where the settings say so."""
        context = self.settings.context_planes if isinstance(self.settings, TiledCnn25dConfig) else 0
        return Sight(context=context)

    @property
    def tiling(self) -> Tiling:
        """Square tiles, one plane thick."""
        return Tiling(self.settings.tile_size, self.settings.overlap, self.settings.scale, sight=self.sight)

    @property
    def from_scratch(self) -> bool:
        """Whether neither the encoder nor the whole network has weights from elsewhere."""
        return self.settings.model.encoder_weights is None and self.settings.model.weights_file is None

    @property
    def is_shallow(self) -> bool:
        """No: convolutions over two axes are right at any size."""
        return False

    def build(self) -> nn.Module:
        """Build it. Raises `InputError` for settings that do not fit together."""
        model = self.settings.model
        require_one_of("pipeline.model.architecture", model.architecture, tuple(ARCHITECTURES))
        try:
            network = build_cnn(
                model.architecture,
                model.encoder_name,
                model.encoder_weights,
                self.sight.count_channels(self.task.in_channels),
                self.task.num_classes,
                model.decoder_channels,
            )
            if model.weights_file is not None:
                load_weights(network, Path(model.weights_file))
        except ValueError as error:
            raise InputError(f"pipeline.model: {error}") from error
        return network

    def list_blocks(self, model: nn.Module) -> None:
        """Return None: `checkpoint_blocks` finds them."""
