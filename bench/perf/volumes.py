"""Superpixels of volumes beside those of other programs: `python -m bench perf steps= volume_sizes=64,128,256`.

Both sides make about as many superpixels of the same volume, in turn in one process; what the best labelling of either
reaches stands beside the times. A program that is not installed is left out, with a line.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.threads import count_threads
from bench.config import SuperpixelsConfig, SyntheticConfig
from bench.datasets.synthetic import load_synthetic
from bench.perf.steps import Picture
from bench.scores.metrics import confusion_matrix, macro_dice
from bench.superpixels.labels import paint_oracle
from bench.superpixels.registry import segment
from bench.superpixels.scaling import choose_n_segments, divide_axis, fit_grid, rescale

SIDE = 128  # voxels a side of the generated volume; larger ones mirror it
CLASSES = 2
Segment = Callable[[NDArray[np.float32], SuperpixelsConfig], NDArray[np.integer]]


@dataclass(frozen=True)
class Program:
    """Another program that makes superpixels of a volume (D, H, W, 1).

    Attributes:
        step: Of `python -m bench perf`.
        name: In the table.
        module: Which must be installed.
        package: By which pip installs it.
        segment: The program's superpixels of a volume, by settings of ours.
    """

    step: str
    name: str
    module: str
    package: str
    segment: Segment

    @property
    def installed(self) -> bool:
        """Whether the module can be imported."""
        return find_spec(self.module) is not None


def generate_volume(side: int) -> Picture:
    """Generate a volume (side, side, side, 1) of nuclei and its mask; beyond `SIDE` voxels it is mirrored."""
    least = min(max(side, 32), SIDE)
    size = [least] * 3
    config = SyntheticConfig(image_size=size, num_classes=CLASSES, plane_distance=1.0, train_images=1, val_images=1)
    sample = load_synthetic(replace(config, test_images=1), kept_pixels=prod(size)).train[0]
    rest = ((0, side - least),) * 3
    image = np.pad(np.asarray(sample.image)[..., 0], rest, mode="symmetric")[..., None]
    return Picture(np.ascontiguousarray(image), np.pad(np.asarray(sample.mask), rest, mode="symmetric"))


def segment_skimage(volume: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.integer]:
    """Segment by scikit-image's SLIC, which means the same by compactness."""
    return segment(volume, replace(config, method="skimage_slic"))


def segment_simpleitk(volume: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.integer]:
    """Segment by ITK's SLIC on the smoothed volume: its weight of distances in units of the grid is our compactness."""
    import SimpleITK as sitk  # noqa: N813  # as its manual calls it

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count_threads())
    smooth = sitk.DiscreteGaussian(sitk.GetImageFromArray(rescale(volume)[..., 0]), config.sigma**2)
    step = round(float(config.superpixel_size or 1) ** (1 / 3))
    slic = sitk.SLICImageFilter()
    slic.SetSuperGridSize([step] * 3)
    slic.SetMaximumNumberOfIterations(config.iterations)
    slic.SetSpatialProximityWeight(config.compactness)
    slic.EnforceConnectivityOn()
    found: NDArray[np.integer] = sitk.GetArrayFromImage(slic.Execute(smooth))
    return found


def segment_bioimage(volume: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.integer]:
    """Segment by bioimage-cpp's watershed of the gradient, from the middles of a grid's cells."""
    from bioimage_cpp.segmentation import watershed
    from scipy import ndimage

    shape = volume.shape[:-1]
    height = ndimage.gaussian_gradient_magnitude(rescale(volume)[..., 0], config.sigma)
    cells = fit_grid(shape, choose_n_segments(shape, config))
    edges = [divide_axis(length, count) for length, count in zip(shape, cells, strict=True)]
    markers = np.zeros(shape, np.int32)
    middles = np.ix_(*[(part[:-1] + part[1:]) // 2 for part in edges])
    markers[middles] = np.arange(1, prod(cells) + 1).reshape(cells)
    found: NDArray[np.integer] = watershed(height, markers)
    return found


PROGRAMS = (
    Program("volume_skimage", "skimage.segmentation.slic", "skimage", "scikit-image", segment_skimage),
    Program("volume_itk", "SimpleITK.SLIC", "SimpleITK", "SimpleITK", segment_simpleitk),
    Program("volume_bioimage", "bioimage_cpp.segmentation.watershed", "bioimage_cpp", "bioimage-cpp", segment_bioimage),
)


def measure_ceiling(scene: Picture, segments: NDArray[np.integer]) -> float:
    """Measure the macro Dice of the best labelling of some superpixels, whatever their numbers."""
    ids = np.unique(segments, return_inverse=True)[1].reshape(segments.shape).astype(np.int32)
    return macro_dice(confusion_matrix(scene.mask, paint_oracle(scene.mask, ids, CLASSES), CLASSES))


def match_nodes(scene: Picture, rival: Program, asked: SuperpixelsConfig) -> tuple[SuperpixelsConfig, dict[str, Any]]:
    """Find our settings that make about as many superpixels as a rival.

    Args:
        scene: The volume.
        rival: The other program.
        asked: Settings that it is given.

    Returns:
        Our settings, and the columns num_nodes, rival_num_nodes, ceiling and rival_ceiling.
    """
    theirs = rival.segment(scene.image, asked)
    nodes = len(np.unique(theirs))
    ours = replace(asked, superpixel_size=scene.mask.size / nodes)
    mine = segment(scene.image, ours)
    ours = replace(ours, superpixel_size=max(float(ours.superpixel_size or 1) * (int(mine.max()) + 1) / nodes, 1.0))
    mine = segment(scene.image, ours)
    row = {"num_nodes": int(mine.max()) + 1, "rival_num_nodes": nodes}
    return ours, row | {"ceiling": measure_ceiling(scene, mine), "rival_ceiling": measure_ceiling(scene, theirs)}


def count_nodes(by: Segment) -> Callable[[Picture, SuperpixelsConfig], int]:
    """Return the work that is timed: a segmentation of a volume, which gives its largest number."""
    return lambda scene, config: int(by(scene.image, config).max()) + 1
