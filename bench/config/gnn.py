"""Settings of the arms with a network on a graph of superpixels, with or without a U-Net before it."""

from dataclasses import dataclass, field, replace

from bench.config.checks import require, require_one_of
from bench.config.cnn import TiledCnnConfig
from bench.config.pipelines import LearningConfig

IDLE_FLIPS = 0.001  # share of the pixels: edges whose removal changes the class of fewer do nothing


@dataclass
class GnnConfig:
    """A network of torch_geometric layers (`models.gnn`); `conv` is a key of its `CONVS`, "none" has no edges.

    Or `jain2024`, the published network, which has three layers and no norm whatever the settings say.
    """

    conv: str = "sage"  # the graph layer: sage | gcn | gatv2 | transformer | none (no edges) | jain2024
    hidden_channels: int = 64  # numbers that describe a node between the layers
    num_layers: int = 6  # graph layers; each carries information one edge further
    dropout: float = 0.1  # share of a layer's numbers set to 0 in training
    norm: str = "layer"  # layer | batch | none

    def __post_init__(self) -> None:
        require(
            self.hidden_channels >= 1, f"pipeline.model.hidden_channels must be at least 1, got {self.hidden_channels}"
        )
        require(self.num_layers >= 1, f"pipeline.model.num_layers must be at least 1, got {self.num_layers}")
        require(0 <= self.dropout < 1, f"pipeline.model.dropout must lie in [0, 1), got {self.dropout}")
        require_one_of("pipeline.model.norm", self.norm, ("layer", "batch", "none"))

    @property
    def allows_padding(self) -> bool:
        """Whether rows may be added to a graph: batch norm would see them, other layers were not tried with them."""
        return self.conv in ("sage", "none") and self.norm != "batch"


@dataclass
class SuperpixelGnnConfig(LearningConfig):
    """Nodes are superpixels; the loss is weighted by their pixels; the prediction is painted back."""

    name: str = "superpixel_gnn"  # the arm
    model: GnnConfig = field(default_factory=GnnConfig)
    targets: str = "fractions"  # fractions (share of each class in a node) | majority
    batch_nodes: int | None = (
        2048  # about so many per step: a window of a large graph or several small ones; null: one whole graph
    )
    predict_nodes: int | None = 8192  # of a larger graph in prediction: parts of so many, with a halo; null: whole
    weights: str | None = None  # file of published weights for model.conv=jain2024, replayed instead of training
    jitter: float = 0.1  # spread of a random gain and offset of the intensities behind the features; 0: off
    learning_rate: float = 3e-3  # the highest, between warm-up and cool-down
    precision: str = "auto"  # auto | float32 | bfloat16; auto: training.amp, and bfloat16 on a CPU that has it

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("pipeline.targets", self.targets, ("fractions", "majority"))
        require_one_of("pipeline.precision", self.precision, ("auto", "float32", "bfloat16"))
        require(
            self.precision != "bfloat16" or self.model.allows_padding,
            "pipeline.precision=bfloat16 is for pipeline.model.conv=sage or none, without norm=batch, got "
            f"{self.model.conv} and {self.model.norm}",
        )
        nodes = self.batch_nodes
        require(nodes is None or nodes >= 1, f"pipeline.batch_nodes must be at least 1, got {nodes}")
        limit = self.predict_nodes
        require(limit is None or limit >= 1, f"pipeline.predict_nodes must be at least 1, got {limit}")
        require(self.jitter >= 0, f"pipeline.jitter must not be negative, got {self.jitter}")
        require(
            self.weights is None or self.model.conv == "jain2024",
            f"pipeline.weights are for pipeline.model.conv=jain2024, got {self.model.conv!r}",
        )


@dataclass
class SuperpixelMlpConfig(SuperpixelGnnConfig):
    """The same network and features without edges: what the graph adds is the difference."""

    name: str = "superpixel_mlp"  # the arm
    model: GnnConfig = field(default_factory=lambda: GnnConfig(conv="none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        conv = self.model.conv
        require(conv == "none", f"pipeline.model.conv must be none for pipeline=superpixel_mlp, got {conv!r}")


@dataclass
class CoarseGnnConfig(SuperpixelGnnConfig):
    """A U-Net on a smaller image, whose class scores are node features of the graph network."""

    name: str = "coarse_gnn"  # the arm
    coarse: TiledCnnConfig = field(default_factory=lambda: TiledCnnConfig(scale=4))
    coarse_steps: int = 200  # ceiling of the U-Net's optimiser steps; patience ends them as in every fit
    folds: int = 1  # U-Nets, each of which leaves out a part of the training images and scores it for the graph network
    refine: bool = True  # false: the U-Net's scores painted by their means over superpixels, without a graph network

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("coarse_steps", "folds"):
            require(getattr(self, name) >= 1, f"pipeline.{name} must be at least 1, got {getattr(self, name)}")
        require(self.weights is None, f"pipeline.weights are for pipeline=superpixel_gnn, got {self.weights!r}")
        require(
            self.refine or self.folds == 1,
            f"pipeline.folds serve the graph network and must be 1 with pipeline.refine=false, got {self.folds}",
        )
        require(
            self.model.conv != "jain2024", "pipeline.model.conv=jain2024 is for pipeline=superpixel_gnn: choose another"
        )

    def scale_work(self, effort: float) -> "CoarseGnnConfig":
        """Return the settings with `effort` times as many steps of the U-Net."""
        return replace(self, coarse_steps=max(round(self.coarse_steps * effort), 1))
