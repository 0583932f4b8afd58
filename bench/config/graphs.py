"""Settings of what lies between pixels and graphs: superpixels, and what nodes and edges carry."""

from dataclasses import dataclass, field
from math import inf

from bench.config.checks import require, require_one_of, require_spacing

DEEP = "deep"  # of graph.features: activations of an encoder, which only arms with a network have
MOST_VIEWS = 9  # sizes from 0.4 to 2.4 times the one asked for


@dataclass
class SuperpixelsConfig:
    """How an image becomes segments. `method` is a key of `bench.superpixels.registry.SUPERPIXELS`."""

    method: str = "slic"  # slic | grid | skimage_slic | felzenszwalb | compact_watershed
    superpixel_size: float | None = 100.0  # pixels (area) or voxels of a superpixel; null: n_segments counts
    n_segments: int | None = None  # superpixels wanted per image, instead of superpixel_size
    compactness: float = 0.1  # how much shape counts against grey value, with scikit-image's meaning
    sigma: float = 1.0  # Gaussian smoothing before clustering, in pixels
    iterations: int = 10  # of the clustering
    views: int = 1  # segmentations of an image, of several sizes, whose mean is the mask
    spacing: list[float] | None = None  # length of a pixel along each axis; null: that of the data set

    def __post_init__(self) -> None:
        require(
            (self.superpixel_size is None) != (self.n_segments is None),
            "give exactly one of superpixels.superpixel_size and superpixels.n_segments (set the other to null), "
            f"got {self.superpixel_size} and {self.n_segments}",
        )
        size, count = self.superpixel_size, self.n_segments
        require(size is None or 1 <= size < inf, f"superpixels.superpixel_size must be at least 1 pixel, got {size}")
        require(count is None or count >= 1, f"superpixels.n_segments must be at least 1, got {count}")
        require(self.compactness > 0, f"superpixels.compactness must be positive, got {self.compactness}")
        require(self.sigma >= 0, f"superpixels.sigma must not be negative, got {self.sigma}")
        require(self.iterations >= 1, f"superpixels.iterations must be at least 1, got {self.iterations}")
        require(1 <= self.views <= MOST_VIEWS, f"superpixels.views must lie in [1, {MOST_VIEWS}], got {self.views}")
        require_spacing("superpixels.spacing", self.spacing)


@dataclass
class GraphConfig:
    """What the nodes and edges carry: keys of `FEATURES` and `EDGES` in `bench.graphs`."""

    features: list[str] = field(  # of nodes: intensity, quantiles, texture, lightness, colour, shape, position, deep
        default_factory=lambda: ["intensity", "quantiles", "texture", "shape"]
    )
    edges: list[str] = field(default_factory=lambda: ["adjacency"])  # adjacency (a region graph), knn, or both
    neighbours: int = 8  # nearest centroids that each node is joined to by the edges knn
    spacing: list[float] | None = None  # length of a pixel along each axis; null: that of the data set
    edge_weight: str = "spacing"  # spacing | published: exp(-distance in pixels) | normalised: exp(-distance / median)
    cache_dir: str | None = None  # prepared graphs are kept here and taken from here; null: made anew in every run
    scratch_dir: str | None = None  # for graphs, tables of trees, decoded images, on a disk; null: the system's own
    deep_encoder: str = "resnet18"  # of the features deep: a name of segmentation_models_pytorch, or tu-<name of timm>
    deep_stage: int = 2  # whose activations: 1 (a half of the image's side), 2 (a quarter) ... 5
    deep_weights: str | None = None  # a file (of encoder or network, as checkpoint.pt) | imagenet ... | null: random

    def __post_init__(self) -> None:
        require(self.features not in ([], [DEEP]), f"graph.features must name at least one feature set beside {DEEP}")
        require(1 <= self.deep_stage <= 5, f"graph.deep_stage must lie in [1, 5], got {self.deep_stage}")
        require(self.neighbours >= 1, f"graph.neighbours must be at least 1, got {self.neighbours}")
        require_spacing("graph.spacing", self.spacing)
        require_one_of("graph.edge_weight", self.edge_weight, ("spacing", "published", "normalised"))
