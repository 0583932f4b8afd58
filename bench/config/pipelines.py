"""Settings of arms: what all have, what those have that descend a gradient, and the arms without a network."""

from dataclasses import dataclass, field, replace
from typing import Any

from bench.config.checks import check_pattern, map_numbers, require


@dataclass
class PipelineConfig:
    """What every arm has. `name` is a key of `bench.arms.ARMS`."""

    name: str = ""  # the arm

    def scale_work(self, effort: float) -> "PipelineConfig":
        """Return the settings with the arm's own budgets of work times `effort`; most arms have `training` alone."""
        del effort
        return self


@dataclass
class LearningConfig(PipelineConfig):
    """What every arm has that is trained by gradient descent."""

    learning_rate: float = 1e-3  # the highest, between warm-up and cool-down
    weight_decay: float = 1e-4  # of AdamW

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, f"pipeline.learning_rate must be positive, got {self.learning_rate}")
        require(self.weight_decay >= 0, f"pipeline.weight_decay must not be negative, got {self.weight_decay}")


@dataclass
class SuperpixelTreesConfig(PipelineConfig):
    """Boosted trees on the node features of the graph network: a learner of the classes without a network."""

    name: str = "superpixel_trees"  # the arm
    hops: list[int] = field(
        default_factory=lambda: [1, 2, 4, 8]
    )  # edges over which features are averaged, as more features; []: none
    sample_nodes: int = 100000  # of the training images that trees grow on, at most, and 40 MB of their features
    iterations: int = 500  # ceiling of boosting iterations, of one tree for each class
    patience: int | None = 8  # validations without a better pixel score until the fit ends; null: never
    min_gain: float = 0.001  # by which a score must exceed the last better one to count as better
    validate_every: int = 10  # iterations
    learning_rate: float = 0.1  # share of its step that a tree is given
    leaves: int = 31  # of a tree, at most
    least_nodes: int = 20  # in a leaf

    def __post_init__(self) -> None:
        ascending = all(one < other for one, other in zip(self.hops, self.hops[1:], strict=False))
        require(
            ascending and min(self.hops, default=1) >= 1,
            f"pipeline.hops must be ascending numbers of at least 1, as in [1,2,4,8], got {self.hops}",
        )
        for name, least in (("sample_nodes", 2), ("iterations", 1), ("patience", 1), ("validate_every", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, f"pipeline.{name} must be at least {least}, got {value}")
        require(self.min_gain >= 0, f"pipeline.min_gain must not be negative, got {self.min_gain}")
        require(self.learning_rate > 0, f"pipeline.learning_rate must be positive, got {self.learning_rate}")
        require(self.leaves >= 2, f"pipeline.leaves must be at least 2, got {self.leaves}")
        require(self.least_nodes >= 1, f"pipeline.least_nodes must be at least 1, got {self.least_nodes}")

    def scale_work(self, effort: float) -> "SuperpixelTreesConfig":
        """Return the settings with `effort` times as many iterations."""
        return replace(self, iterations=max(round(self.iterations * effort), 1))


@dataclass
class PixelForestConfig(PipelineConfig):
    """A random forest on filter responses of single pixels, as ilastik has it: what needs no GPU and no superpixels."""

    name: str = "pixel_forest"  # the arm
    trees: int = 100  # of the forest
    least_pixels: int = 5  # in a leaf
    sample_pixels: int = 100000  # of the training images that the trees are grown on, at most; as many of each class

    def __post_init__(self) -> None:
        for name, least in (("trees", 1), ("least_pixels", 1), ("sample_pixels", 2)):
            require(
                getattr(self, name) >= least, f"pipeline.{name} must be at least {least}, got {getattr(self, name)}"
            )

    def scale_work(self, effort: float) -> "PixelForestConfig":
        """Return the settings with `effort` times as many trees."""
        return replace(self, trees=max(round(self.trees * effort), 1))


@dataclass
class ExternalConfig(PipelineConfig):
    """Masks that another program made, such as nnU-Net, ilastik or cellpose: a file per validation and test image."""

    name: str = "external"  # the arm
    masks: str = ""  # folder of the masks; a file is called as its image, or as `python -m bench export` calls it
    mask_name: str = "*"  # of the mask of the image *, as in *_cp_masks
    mask_values: Any = None  # {number in the mask: class}; foreground: above 0 is class 1; null: they are the classes
    label: str = "external"  # name of the program in tables, figures and the report
    costs: str | None = None  # CSV of what it cost: stage,seconds,peak_memory_bytes,peak_memory_kind; null: not known

    def __post_init__(self) -> None:
        check_pattern("pipeline.mask_name", self.mask_name)
        self.mask_values = map_numbers("pipeline.mask_values", self.mask_values)
        require(
            self.label.isprintable() and self.label == self.label.strip() != "" and not set(self.label) & set("=;|"),
            f"pipeline.label must be a name without =, ; and |, as in 'nnU-Net v2', got {self.label!r}",
        )


@dataclass
class OracleConfig(PipelineConfig):
    """The true mask voted onto the superpixels and painted back: the ceiling of every superpixel arm."""

    name: str = "oracle"  # the arm


@dataclass
class ThresholdConfig(PipelineConfig):
    """Multi-Otsu thresholds on one channel, classes assigned to intensity bands on the training images."""

    name: str = "threshold"  # the arm
    channel: int = 0  # that is thresholded, from 0

    def __post_init__(self) -> None:
        require(self.channel >= 0, f"pipeline.channel must not be negative, got {self.channel}")
