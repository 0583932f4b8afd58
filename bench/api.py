"""The program from Python: `from bench import api`.

What is named in `__all__` keeps its name, its arguments and its meaning from one minor version to the next; every other
module may change at any time. Mistakes in what is given raise `InputError` (a `ValueError`) with one sentence. Modules
that need torch or pandas are loaded when a function needs them.
"""

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.config import GraphConfig, InputError, SuperpixelsConfig, require, require_one_of, require_spacing
from bench.superpixels.labels import count_classes, majority_labels, paint

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from bench.predict.trained_run import TrainedRun
    from bench.tables.collect import Tables

__all__ = [
    "FEATURES",
    "InputError",
    "count_classes",
    "majority_labels",
    "make_graph",
    "make_superpixels",
    "measure_superpixels",
    "open_run",
    "paint",
    "read_tables",
    "scale_image",
]

FEATURES = tuple(GraphConfig().features)  # the sets of node features that a run has by default


def scale_image(image: ArrayLike, spatial_axes: int = 2) -> NDArray[np.float32]:
    """Scale each channel of an image to mean 0 and standard deviation 1, as `dataset.normalization=per_image` does.

    Args:
        image: Real numbers of any type, (*spatial, C), or (*spatial) of one channel.
        spatial_axes: 2 for images, 3 for volumes.

    Returns:
        The scaled image (*spatial, C).

    Raises:
        InputError: The image has another number of axes, or values that are not finite.
    """
    from bench.datasets.examine import examine
    from bench.datasets.files import Arranged, Layout, Scaled
    from bench.datasets.normalization import standardise

    stored = Arranged(_add_channel(image, spatial_axes), Layout(spatial_axes, False))
    return np.asarray(Scaled(stored, standardise(examine(Path("the image"), stored))))


def make_superpixels(
    image: ArrayLike,
    size: float = 100.0,
    *,
    method: str = "slic",
    compactness: float = 0.1,
    sigma: float = 1.0,
    spatial_axes: int = 2,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.int32]:
    """Segment an image into superpixels.

    Args:
        image: (*spatial, C), or (*spatial) of one channel; of any scale.
        size: Pixels of a superpixel: an area, or a volume in voxels.
        method: A key of `bench.superpixels.registry.SUPERPIXELS`, as in `superpixels.method`.
        compactness: How much shape counts against grey value.
        sigma: Gaussian smoothing before clustering, in pixels (the shortest side of one).
        spatial_axes: 2 for images, 3 for volumes.
        spacing: Length of a pixel along each axis, in any unit; None: pixels are squares or cubes.

    Returns:
        Segments (*spatial) with ids 0..N-1, all used, each connected.

    Raises:
        InputError: A setting cannot be used, or the image has another number of axes or values that are not finite.
    """
    from bench.superpixels.registry import segment

    require(isinstance(size, Real), f"size must be a number of pixels, got {size!r}")
    lengths = _check_spacing(spacing, spatial_axes)
    config = SuperpixelsConfig(method, float(size), compactness=compactness, sigma=sigma, spacing=lengths)
    return segment(_take_pixels(image, spatial_axes), config)


def measure_superpixels(
    image: ArrayLike,
    segments: NDArray[np.integer],
    features: Sequence[str] = FEATURES,
    *,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Compute the features of superpixels.

    Args:
        image: (*spatial, C), or (*spatial) of one channel. Features are in its units: runs give a scaled image.
        segments: Ids (*spatial), 0..N-1 all used.
        features: Sets of features, keys of `bench.graphs.features.FEATURES`, as in `graph.features`.
        spacing: Length of a pixel along each axis, in any unit; None: pixels are squares or cubes.

    Returns:
        Features (N, F), set by set.

    Raises:
        InputError: There is no such set, the ids are not 0..N-1, they have another shape than the image, or that holds
            values that are not finite.
    """
    from bench.graphs import features as sets

    _check_names("features", features, sets.FEATURES)
    pixels = _take_pixels(image, segments.ndim)
    lengths = _check_spacing(spacing, segments.ndim)
    return sets.compute_features(features, pixels, _check_segments(segments, pixels.shape), spacing=lengths)


def make_graph(
    image: ArrayLike,
    segments: NDArray[np.integer],
    features: Sequence[str] = FEATURES,
    *,
    edges: Sequence[str] = ("adjacency",),
    edge_weight: str = "spacing",
    spacing: Sequence[float] | None = None,
) -> "Data":
    """Make the graph of an image and its superpixels.

    Args:
        image: As in `measure_superpixels`.
        segments: Ids (*spatial), 0..N-1 all used.
        features: Sets of node features.
        edges: Finders of edges, keys of `bench.graphs.edges.EDGES`.
        edge_weight: spacing | published | normalised.
        spacing: Length of a pixel along each axis, in any unit; None: pixels are squares or cubes.

    Returns:
        A `torch_geometric.data.Data` of x (N, F), edge_index (2, E) in both directions, edge_attr (E, 4 + axes),
        edge_weight (E,), pos (N, axes) in pixels (the shortest side of one) and num_pixels (N,); see
        `bench.graphs.build.build_graph`.

    Raises:
        InputError: There is no such set, finder or weight, the ids are not 0..N-1, or they have another shape than the
            image, or a value of that is not finite.
    """
    from bench.graphs import edges as finders
    from bench.graphs import features as sets
    from bench.graphs.build import build_graph

    _check_names("features", features, sets.FEATURES)
    _check_names("edges", edges, finders.EDGES)
    pixels = _take_pixels(image, segments.ndim)
    lengths = _check_spacing(spacing, segments.ndim)
    config = GraphConfig(features=list(features), edges=list(edges), edge_weight=edge_weight, spacing=lengths)
    return build_graph(pixels, _check_segments(segments, pixels.shape), config)


def open_run(
    place: str | Path, *, pipeline: str | None = None, dataset: str | None = None, device: str = "auto"
) -> "TrainedRun":
    """Load a finished run, which then segments arrays by `predict` and `predict_probabilities`.

    Args:
        place: Directory of a run; or a results folder, of which the run with the best validation score is loaded.
        pipeline: In a results folder, only runs of this method count.
        dataset: In a results folder, only runs on the data set of this name count.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        The run; `class_names` are the names of its classes.

    Raises:
        InputError: There is no such run, it left no usable weights, or another package called `models` hides ours.
    """
    from bench.entry.start import describe_stranger
    from bench.predict.trained_run import load_trained

    require(not (stranger := describe_stranger()), stranger)
    return load_trained(Path(place), pipeline, dataset, device)


def read_tables(results_dir: str | Path) -> "Tables":
    """Read the tables of a results folder as pandas frames; nothing is written.

    Args:
        results_dir: Folder with the directories of runs, or with collected tables alone.

    Returns:
        `runs`, `stages`, `scores` and `history`, whose columns `results/README.md` explains, and `unfinished`: the
        directories that gave no row, with reasons.

    Raises:
        InputError: It is no results folder.
    """
    from bench.tables.folders import read_folder

    folder = Path(results_dir)
    require(folder.is_dir(), f"{folder} is not a folder: give the results folder of an experiment")
    return read_folder(folder)


def _add_channel(image: ArrayLike, spatial_axes: int) -> NDArray[Any]:
    """Return an image as (*spatial, C). Raises InputError for another number of axes or other than real numbers."""
    array = np.asarray(image)
    require(array.dtype.kind in "biuf", f"the image must hold real numbers, got {array.dtype}")
    require(spatial_axes in (2, 3), f"spatial_axes must be 2 or 3, got {spatial_axes}")
    require(
        array.ndim - spatial_axes in (0, 1),
        f"the image has the shape {array.shape}: it must have {spatial_axes} spatial axes and perhaps one of channels, "
        "the last; volumes need spatial_axes=3",
    )
    require(array.size > 0, f"the image has the shape {array.shape}, and so no pixel")
    return array[..., None] if array.ndim == spatial_axes else array


def _take_pixels(image: ArrayLike, spatial_axes: int) -> NDArray[np.float32]:
    """Return an image as (*spatial, C) in single precision. Raises InputError where a value is not finite in it."""
    with np.errstate(over="ignore"):
        pixels = np.asarray(_add_channel(image, spatial_axes), np.float32)
    require(bool(np.isfinite(pixels).all()), "the image holds values that are not finite in single precision")
    return pixels


def _check_segments(segments: NDArray[np.integer], image: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the ids as int32, which compiled code trusts.

    Args:
        segments: Ids (*spatial).
        image: Shape (*spatial, C) of their image.

    Raises:
        InputError: They are not 0..N-1, all used, or of another shape than the image.
    """
    from bench.superpixels.registry import are_contiguous

    shapes = f"got {segments.shape} and an image of {image[:-1]}"
    require(segments.shape == image[:-1], f"segments must have the shape of their image, {shapes}")
    require(np.issubdtype(segments.dtype, np.integer), f"segments must hold whole numbers, got {segments.dtype}")
    ends = f"from {segments.min()} to {segments.max()}"
    advice = "np.unique(segments, return_inverse=True)[1].reshape(segments.shape) makes them so"
    require(are_contiguous(segments), f"ids of superpixels must be 0..N-1, all used, and these go {ends}: {advice}")
    return np.asarray(segments, np.int32)


def _check_spacing(spacing: Sequence[float] | None, axes: int) -> list[float] | None:
    """Return the lengths of a pixel as a list. Raises InputError unless there is a positive one for each axis."""
    if spacing is None:
        return None
    lengths = [float(length) for length in spacing]
    require(len(lengths) == axes, f"spacing must hold one length for each of {axes} axes, got {lengths}")
    require_spacing("spacing", lengths)
    return lengths


def _check_names(what: str, names: Sequence[str], known: dict[str, Any]) -> None:
    require(len(names) > 0, f"{what} must name at least one of {', '.join(known)}")
    for name in names:
        require_one_of(what, name, tuple(known))
