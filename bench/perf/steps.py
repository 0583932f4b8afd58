"""The steps of `python -m bench perf`: each from image to graph, beside a rival that does the same."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.config import GraphConfig, SuperpixelsConfig
from bench.superpixels.adjacency import find_adjacency
from bench.superpixels.labels import majority_labels
from bench.superpixels.registry import segment
from bench.superpixels.views import list_views

CLASSES = 3
LEVELS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True)
class Picture:
    """The input of a step: `image` (H, W, 1), `mask` (H, W) and, for steps that begin with them, `segments` (H, W)."""

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    segments: NDArray[np.int32] | None = None

    @property
    def ids(self) -> NDArray[np.int32]:
        """The segments of a step that begins with them."""
        assert self.segments is not None
        return self.segments


Work = Callable[[Picture, SuperpixelsConfig], int]  # returns the number of nodes or edges


@dataclass(frozen=True)
class StepPair:
    """A step and its rival.

    Attributes:
        ours: The project's function.
        rival: The other side's.
        rival_name: Its name in the table.
        segmented: Whether both sides begin with the same segments.
        dense: Whether the rival's memory grows with the square of the number of nodes.
    """

    ours: Work
    rival: Work
    rival_name: str
    segmented: bool = False
    dense: bool = False


def _slic(picture: Picture, config: SuperpixelsConfig) -> int:
    return int(segment(picture.image, config).max()) + 1


def _skimage_slic(picture: Picture, config: SuperpixelsConfig) -> int:
    return _slic(picture, replace(config, method="skimage_slic"))


def _features(picture: Picture, config: SuperpixelsConfig) -> int:
    from bench.graphs.features import compute_features  # loads libraries that other steps do not need

    del config
    return len(compute_features(["intensity"], picture.image, picture.ids))


def _deciles(region: NDArray[np.bool_], values: NDArray[np.float32]) -> NDArray[np.floating]:
    return np.asarray(np.quantile(values[region], LEVELS))


def _regionprops(picture: Picture, config: SuperpixelsConfig) -> int:
    from skimage.measure import regionprops_table

    del config
    names = ("intensity_mean", "intensity_std")
    found = regionprops_table(
        picture.ids + 1, picture.image[..., 0], properties=names, extra_properties=(_deciles,), separator="-"
    )
    return len(found["intensity_mean"])


def _texture(picture: Picture, config: SuperpixelsConfig) -> int:
    from bench.graphs.features import compute_features

    del config
    return len(compute_features(["texture"], picture.image, picture.ids))


def _multiscale_basic_features(picture: Picture, config: SuperpixelsConfig) -> int:
    """Intensity, edges and Hessian eigenvalues at six scales, then their means: no structure tensor, no deviations."""
    from skimage.feature import multiscale_basic_features

    del config
    responses = multiscale_basic_features(picture.image[..., 0], sigma_min=1, sigma_max=32, workers=2)
    nodes = np.arange(picture.ids.max() + 1)
    for response in np.moveaxis(responses, -1, 0):
        ndimage.mean(response, picture.ids, nodes)
    return len(nodes)


def _adjacency(picture: Picture, config: SuperpixelsConfig) -> int:
    del config
    return len(find_adjacency(picture.ids, picture.image).pairs)


def _rag_boundary(picture: Picture, config: SuperpixelsConfig) -> int:
    from skimage.graph import rag_boundary

    del config
    return int(rag_boundary(picture.ids, picture.image[..., 0].astype(np.float64), connectivity=1).number_of_edges())


def _graph(picture: Picture, config: SuperpixelsConfig) -> int:
    """Eleven statistics, ten nearest neighbours, majority labels."""
    from bench.graphs.build import build_graph
    from bench.perf.published import NEIGHBOURS

    segments = segment(picture.image, config)
    build_graph(picture.image, segments, GraphConfig(features=["intensity"], edges=["knn"], neighbours=NEIGHBOURS))
    return len(majority_labels(picture.mask, segments, CLASSES))


def _build_published(picture: Picture, config: SuperpixelsConfig) -> int:
    from bench.perf.published import build_published_graph

    return len(build_published_graph(picture.image, picture.mask, config)[0])


def _three_views(picture: Picture, config: SuperpixelsConfig) -> int:
    """Superpixels and graphs of three segmentations, whose pixels are read, smoothed and filtered once."""
    from bench.graphs.build import build_graphs
    from bench.superpixels.registry import segment_views

    views = [np.asarray(ids) for ids in segment_views(picture.image, list_views(replace(config, views=3)))]
    return sum(len(graph.x) for graph in build_graphs(picture.image, views, GraphConfig()))


def _three_single_views(picture: Picture, config: SuperpixelsConfig) -> int:
    from bench.graphs.build import build_graph

    views = list_views(replace(config, views=3))
    return sum(len(build_graph(picture.image, segment(picture.image, view), GraphConfig()).x) for view in views)


STEPS: dict[str, StepPair] = {
    "slic": StepPair(_slic, _skimage_slic, "skimage.segmentation.slic"),
    "features": StepPair(_features, _regionprops, "skimage.measure.regionprops_table", segmented=True),
    "texture": StepPair(
        _texture, _multiscale_basic_features, "skimage.feature.multiscale_basic_features", segmented=True
    ),
    "adjacency": StepPair(_adjacency, _rag_boundary, "skimage.graph.rag_boundary", segmented=True),
    "views": StepPair(_three_views, _three_single_views, "each segmentation by itself"),
    "graph": StepPair(_graph, _build_published, "the published recipe", dense=True),
}
