"""Settings of the arms that cut images into tiles, and of their networks."""

from dataclasses import dataclass, field

from bench.config.checks import require, require_one_of
from bench.config.pipelines import LearningConfig


@dataclass
class CnnConfig:
    """A network of segmentation_models_pytorch (`models.unet`)."""

    architecture: str = "Unet"  # as segmentation_models_pytorch calls it
    encoder_name: str = "resnet18"  # as segmentation_models_pytorch calls it
    encoder_weights: str | None = None  # null: from scratch; "imagenet" where the weights can be fetched
    weights_file: str | None = None  # of the whole network, as a run's checkpoint.pt; training starts from them
    decoder_channels: list[int] | None = None  # of the decoder's levels, deepest first; null: the architecture's own

    def __post_init__(self) -> None:
        require(
            self.encoder_weights is None or self.weights_file is None,
            "give pipeline.model.encoder_weights or pipeline.model.weights_file, not both: the file has all weights",
        )


@dataclass
class VolumeCnnConfig:
    """A network of MONAI that convolves over three axes (`models.volume_unet`)."""

    architecture: str = "DynUNet"  # DynUNet (as nnU-Net: axes halved by spacing and size) | BasicUNet | SegResNet
    channels: int = 16  # of the highest resolution; twice as many on each level below, up to 320
    norm: str = "batch"  # batch | group (8 groups of channels) | instance: the last two see each tile by itself
    weights_file: str | None = None  # of the whole network, as a run's checkpoint.pt; training starts from them

    def __post_init__(self) -> None:
        require(self.channels >= 1, f"pipeline.model.channels must be at least 1, got {self.channels}")
        require_one_of("pipeline.model.norm", self.norm, ("batch", "group", "instance"))
        require(
            self.norm != "group" or self.channels % 8 == 0,
            f"pipeline.model.channels must be a multiple of 8 with pipeline.model.norm=group, got {self.channels}",
        )


@dataclass
class TilesConfig(LearningConfig):
    """Random crops for training, overlapping tiles for prediction. Sizes in pixels as the network sees them."""

    scale: int = 1  # 1 | 2 | 4 | 8: of how many pixels the network sees the mean, along height and width of the image
    crop_size: int = 128  # side of a training crop: small crops make many steps, large ones show more surroundings
    tile_size: int = 512  # longest side of a tile in prediction
    overlap: int = 32  # on each side of a tile, discarded or blended
    blend: str = "discard"  # discard | gaussian
    flips: bool = False  # test-time augmentation: predict each tile in all its mirror images too, and average
    batch_size: int = 8  # crops per step, and the most tiles per forward pass in prediction
    accumulate: int = 1  # gradient accumulation: parts in which a step's crops go through, in less memory and more time
    checkpointing: bool = False  # gradient checkpointing: activations of blocks are computed again; less memory
    foreground: float = 0.0  # oversampling: share of crops around a class not the most frequent; 0: by rare_share
    precision: str = "auto"  # auto | float32 | bfloat16; auto: training.amp, and bfloat16 on a CPU that has it
    jitter: float = 0.1  # strength of the random gain, offset and noise on the intensities of a crop; 0: off
    augmentation: str = "light"  # of crops: light (mirrors, quarter turns, jitter) | strong (and all that nnU-Net does)
    deep_supervision: bool = False  # the loss looks at coarser levels of the decoder too; for the architecture Unet

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, size in (("crop_size", self.crop_size), ("tile_size", self.tile_size)):
            require(
                size >= 32 and size % 32 == 0,
                f"pipeline.{name} must be a multiple of 32 (five halvings in the encoder), got {size}",
            )
        require(
            0 <= self.overlap <= (self.tile_size - 32) // 2,
            f"pipeline.overlap must lie in [0, (tile_size - 32) / 2], so that tiles advance by 32 pixels or more, "
            f"got {self.overlap} with tile_size {self.tile_size}",
        )
        require(self.scale in (1, 2, 4, 8), f"pipeline.scale must be 1, 2, 4 or 8, got {self.scale}")
        require_one_of("pipeline.blend", self.blend, ("discard", "gaussian"))
        require_one_of("pipeline.precision", self.precision, ("auto", "float32", "bfloat16"))
        require_one_of("pipeline.augmentation", self.augmentation, ("light", "strong"))
        require(self.jitter >= 0, f"pipeline.jitter must not be negative, got {self.jitter}")
        require(0 <= self.foreground <= 1, f"pipeline.foreground must lie in [0, 1], got {self.foreground}")
        require(self.batch_size >= 1, f"pipeline.batch_size must be at least 1, got {self.batch_size}")
        require(
            1 <= self.accumulate <= self.batch_size,
            f"pipeline.accumulate must lie in [1, batch_size], got {self.accumulate} with batch_size {self.batch_size}",
        )


@dataclass
class TiledCnnConfig(TilesConfig):
    """A network over two axes: of a volume, every plane is an image of its own."""

    name: str = "tiled_cnn"  # the arm
    model: CnnConfig = field(default_factory=CnnConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not self.deep_supervision or (self.model.architecture == "Unet" and self.accumulate == 1),
            "pipeline.deep_supervision needs pipeline.model.architecture=Unet and pipeline.accumulate=1, got "
            f"{self.model.architecture} and {self.accumulate}",
        )


@dataclass
class TiledCnn25dConfig(TiledCnnConfig):
    """A network over two axes that sees the neighbouring planes of a volume as further channels."""

    name: str = "tiled_cnn_25d"  # the arm
    context_planes: int = 1  # on each side of a plane; beyond the first and the last one, their reflection

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.context_planes >= 1,
            f"pipeline.context_planes must be at least 1 (pipeline=tiled_cnn sees none), got {self.context_planes}",
        )


@dataclass
class TiledCnn3dConfig(TilesConfig):
    """A network over all three axes of a volume; crops and tiles are boxes."""

    name: str = "tiled_cnn_3d"  # the arm
    model: VolumeCnnConfig = field(default_factory=VolumeCnnConfig)
    crop_planes: int = 16  # planes of a training crop; of a volume with fewer, as many as it has
    tile_planes: int = 16  # planes of a tile in prediction
    overlap_planes: int = 4  # on each side of a tile, discarded or blended
    tile_size: int = 128  # longest side of a tile in prediction
    overlap: int = 16  # on each side of a tile, discarded or blended
    batch_size: int = 2  # crops per step, and the most tiles per forward pass in prediction

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_planes", "tile_planes"):
            require(getattr(self, name) >= 1, f"pipeline.{name} must be at least 1, got {getattr(self, name)}")
        require(
            0 <= self.overlap_planes <= (self.tile_planes - 1) // 2,
            "pipeline.overlap_planes must lie in [0, (tile_planes - 1) / 2], so that tiles advance, "
            f"got {self.overlap_planes} with tile_planes {self.tile_planes}",
        )
        require(
            self.augmentation == "light" and not self.deep_supervision,
            "pipeline.augmentation=strong and pipeline.deep_supervision=true are for networks over two axes: "
            "give pipeline=tiled_cnn or tiled_cnn_25d",
        )
