"""Superpixels of other libraries, called with settings of ours: what `perf` and `segmenters` measure beside.

Numbers of segments need not be dense. Settings that ours do not have are the libraries' defaults, or those of their
examples.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.arrays.threads import count_threads
from bench.config import SuperpixelsConfig
from bench.superpixels.compact_watershed import place_markers
from bench.superpixels.registry import segment
from bench.superpixels.scaling import choose_n_segments, fit_grid, rescale

NEAR = 0.02  # difference of the logarithms of two numbers of superpixels that count as equal
Image = NDArray[np.float32]
Segments = NDArray[np.integer]
Segment = Callable[[Image, SuperpixelsConfig], Segments]


@dataclass(frozen=True)
class Program:
    """Another program that makes superpixels.

    Attributes:
        name: In tables.
        module: Which must be installed.
        package: By which pip installs it.
        segment: The program's superpixels of an image (*spatial, C), by settings of ours.
        axes: Numbers of spatial axes that it can segment.
    """

    name: str
    module: str
    package: str
    segment: Segment
    axes: tuple[int, ...] = (2, 3)

    @property
    def is_installed(self) -> bool:
        """Whether the module can be imported."""
        return find_spec(self.module) is not None


def _skimage(image: Image, config: SuperpixelsConfig) -> Segments:
    """scikit-image's SLIC, which means the same by compactness."""
    return segment(image, replace(config, method="skimage_slic"))


def _simpleitk(image: Image, config: SuperpixelsConfig) -> Segments:
    """ITK's SLIC of the smoothed image: its weight of distances in units of the grid is our compactness."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(count_threads())
    scaled, axes = rescale(image), image.ndim - 1
    values = SimpleITK.GetImageFromArray(
        scaled[..., 0] if scaled.shape[-1] == 1 else scaled, isVector=scaled.shape[-1] > 1
    )
    slic = SimpleITK.SLICImageFilter()
    slic.SetSuperGridSize([max(round(float(config.superpixel_size or 1) ** (1 / axes)), 2)] * axes)
    slic.SetMaximumNumberOfIterations(config.iterations)
    slic.SetSpatialProximityWeight(config.compactness)
    slic.EnforceConnectivityOn()
    found: Segments = SimpleITK.GetArrayFromImage(slic.Execute(SimpleITK.DiscreteGaussian(values, config.sigma**2)))
    return found


def _watershed(image: Image, config: SuperpixelsConfig) -> Segments:
    """bioimage-cpp's watershed of the gradient of the mean channel, from the middles of a grid's cells."""
    from bioimage_cpp.segmentation import watershed

    shape = image.shape[:-1]
    grey = np.ascontiguousarray(rescale(image).mean(axis=-1, dtype=np.float32))
    markers = place_markers(shape, fit_grid(shape, choose_n_segments(shape, config)))
    found: Segments = watershed(ndimage.gaussian_gradient_magnitude(grey, config.sigma), markers)
    return found


def _opencv_slic(image: Image, config: SuperpixelsConfig) -> Segments:
    """OpenCV's SLIC with its default weight of shape (ruler 10), which counts in grey values of 0..255."""
    from cv2 import ximgproc

    side = max(round(float(config.superpixel_size or 1) ** 0.5), 2)
    found = ximgproc.createSuperpixelSLIC(_stretch_to_bytes(image), ximgproc.SLIC, side, 10.0)
    found.iterate(config.iterations)
    found.enforceLabelConnectivity(25)
    return np.asarray(found.getLabels())


def _opencv_seeds(image: Image, config: SuperpixelsConfig) -> Segments:
    """SEEDS (Van den Bergh et al., IJCV 111, 2015) as in OpenCV's example, with as many levels as the size has."""
    from cv2 import ximgproc

    values, size = _stretch_to_bytes(image), float(config.superpixel_size or 1)
    height, width, channels = (*values.shape, 1)[:3]
    levels = max(int(np.log2(max(size, 4) ** 0.5)), 1)
    found = ximgproc.createSuperpixelSEEDS(width, height, channels, round(height * width / size), levels, 2, 5, False)
    found.iterate(values, 4)
    return np.asarray(found.getLabels())


def _stretch_to_bytes(image: Image) -> NDArray[np.uint8]:
    """Stretch an image to 0..255, as OpenCV's superpixels take it; one channel (H, W) or three (H, W, 3)."""
    scaled = np.round(255 * rescale(image)).astype(np.uint8)
    return np.ascontiguousarray(scaled[..., 0] if scaled.shape[-1] == 1 else scaled[..., :3])


PROGRAMS = {
    "skimage": Program("scikit-image SLIC", "skimage", "scikit-image", _skimage),
    "opencv_slic": Program("OpenCV SLIC", "cv2", "opencv-contrib-python-headless", _opencv_slic, (2,)),
    "opencv_seeds": Program("OpenCV SEEDS", "cv2", "opencv-contrib-python-headless", _opencv_seeds, (2,)),
    "itk": Program("SimpleITK SLIC", "SimpleITK", "SimpleITK", _simpleitk),
    "bioimage": Program("bioimage-cpp watershed", "bioimage_cpp", "bioimage-cpp", _watershed),
}


def fit_size(run: Callable[[Image, float], Segments], image: Image, count: int, size: float, trials: int = 6) -> float:
    """Find the size at which a segmenter gives about so many superpixels.

    Args:
        run: The segmenter.
        image: (*spatial, C).
        count: Superpixels that are wanted.
        size: Pixels of a superpixel with which the search starts.
        trials: Segmentations at most; libraries that round the size may miss the number.

    Returns:
        The size whose number is nearest.
    """
    tried: list[tuple[float, float]] = []
    for _ in range(trials):
        found = count_segments(run(image, size))
        tried.append((abs(float(np.log(found / count))), size))
        if tried[-1][0] < NEAR:
            break
        size = max(size * found / count, 1.0)
    return min(tried)[1]


def count_segments(ids: Segments) -> int:
    """Count the numbers that occur in an array."""
    return int(np.count_nonzero(np.bincount(ids.ravel().astype(np.int64) - int(ids.min()))))


def number_densely(ids: Segments) -> NDArray[np.int32]:
    """Return the same segments with ids 0..N-1, all used, in the order of their former numbers."""
    flat = ids.ravel().astype(np.int64) - int(ids.min())
    used = np.bincount(flat) > 0
    return (np.cumsum(used) - 1).astype(np.int32)[flat].reshape(ids.shape)
