"""What superpixels of many settings could reach on training images, without training: ceilings and numbers."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from bench.config import SuperpixelsConfig
from bench.datasets.sample import Sample, Task, adopt_spacing
from bench.scores import metrics
from bench.scores.boundaries import Matches, match_boundaries
from bench.scores.ceilings import best_mask
from bench.scores.structures import Structures, match_structures
from bench.superpixels.registry import SUPERPIXELS, segment, warm_up_segmentation

NEAR = 0.005  # of Dice: ceilings that are so close to the best one count as equal


@dataclass(frozen=True)
class TrainingCrop:
    """Part of a training image: image (*spatial, C) and mask (*spatial)."""

    image: NDArray[np.float32]
    mask: NDArray[np.integer]


@dataclass(frozen=True)
class Ceiling:
    """What the majority labelling of some superpixels reaches, pooled over all crops.

    Attributes:
        method: Key of `SUPERPIXELS`.
        superpixel_size: Pixels asked for.
        compactness: Weight of shape against grey value.
        sigma: Smoothing, in pixels.
        nodes_per_megapixel: Superpixels obtained.
        dice: Macro Dice.
        cl_dice: Macro clDice of the classes but the background.
        boundary_f1: Macro boundary F1.
        seconds_per_megapixel: Time of the segmentation.
    """

    method: str
    superpixel_size: float
    compactness: float
    sigma: float
    nodes_per_megapixel: float
    dice: float
    cl_dice: float
    boundary_f1: float
    seconds_per_megapixel: float

    @property
    def quality(self) -> float:
        """Mean of the three scores that are known."""
        return float(np.nanmean([self.dice, self.cl_dice, self.boundary_f1]))

    def describe(self) -> str:
        """Return the settings as they are typed."""
        names = ("method", "superpixel_size", "compactness", "sigma")
        values = [asdict(self)[name] for name in names]
        return " ".join(
            f"superpixels.{name}={value if isinstance(value, str) else format(value, 'g')}"
            for name, value in zip(names, values, strict=True)
        )


def cut_crops(samples: Sequence[Sample], images: int, pixels: int) -> list[TrainingCrop]:
    """Cut the middle out of some training images.

    Args:
        samples: All training images.
        images: From how many at most, evenly spread over the list.
        pixels: About how many pixels a crop has at most.

    Returns:
        The crops.
    """
    chosen = sorted({round(place) for place in np.linspace(0, len(samples) - 1, min(images, len(samples)))})
    return [_cut_middle(samples[number], pixels) for number in chosen]


def list_combinations(
    methods: Sequence[str], sizes: Sequence[float], compactnesses: Sequence[float], sigmas: Sequence[float], axes: int
) -> list[SuperpixelsConfig]:
    """List all combinations that differ.

    Args:
        methods: Keys of `SUPERPIXELS`; those that cannot segment so many axes are left out.
        sizes: Pixels of a superpixel.
        compactnesses: Of the methods.
        sigmas: Of the methods, in pixels.
        axes: Spatial axes of the images.

    Returns:
        The settings; of a grid, which looks at no pixel, one for each size.
    """
    found = []
    for method in methods:
        if axes not in SUPERPIXELS[method].axes:
            continue
        rest = [(compactnesses[0], sigmas[0])] if method == "grid" else itertools.product(compactnesses, sigmas)
        found += [
            SuperpixelsConfig(method, size, compactness=compactness, sigma=sigma)
            for size, (compactness, sigma) in itertools.product(sizes, list(rest))
        ]
    return found


def scan_settings(
    crops: Sequence[TrainingCrop], settings: Sequence[SuperpixelsConfig], task: Task, tolerance: float
) -> Iterator[Ceiling]:
    """Segment all crops with all settings, and score the best masks that the superpixels can paint.

    Args:
        crops: Parts of training images.
        settings: Of the superpixels.
        task: Classes, and the number that is none.
        tolerance: Of boundaries, in pixels.

    Yields:
        The ceiling of each of the settings, in their order.
    """
    for config in settings:
        yield _measure_ceiling(crops, replace(adopt_spacing(config, task), views=1), task, tolerance)


def propose(ceilings: Sequence[Ceiling]) -> Ceiling:
    """Choose the fewest superpixels that are good enough.

    The size is the largest one of which some settings come within `NEAR` of the best Dice of all; the settings are
    those of that size that come as close and have the greatest mean of Dice, clDice and boundary F1.
    """
    best = max(one.dice for one in ceilings)
    near = [one for one in ceilings if one.dice >= best - NEAR]
    size = max(one.superpixel_size for one in near)
    return max((one for one in near if one.superpixel_size == size), key=lambda one: one.quality)


def _cut_middle(sample: Sample, pixels: int) -> TrainingCrop:
    shape = sample.mask.shape
    share = min(1.0, (pixels / prod(shape)) ** (1 / len(shape)))
    sides = [max(1, round(length * share)) for length in shape]
    box = tuple(
        slice((length - side) // 2, (length - side) // 2 + side) for length, side in zip(shape, sides, strict=True)
    )
    return TrainingCrop(np.asarray(sample.image[box], np.float32), np.asarray(sample.mask[box]))


def _measure_ceiling(crops: Sequence[TrainingCrop], config: SuperpixelsConfig, task: Task, tolerance: float) -> Ceiling:
    nodes, pixels, seconds, ignored = 0, 0, 0.0, task.ignore_index
    warm_up_segmentation(task.spatial_axes, task.in_channels, config)
    counts = np.zeros((task.num_classes, task.num_classes), np.int64)
    edges = [Matches()] * task.num_classes
    lines = [Structures()] * (task.num_classes - 1)
    for crop in crops:
        started = time.perf_counter()
        segments = segment(crop.image, config)
        seconds += time.perf_counter() - started
        best = best_mask(crop.mask, [segments], task)
        given = (crop.mask, best, task.num_classes)
        counts += metrics.confusion_matrix(*given, ignored)
        own_edges = match_boundaries(*given, tolerance, ignored, task.spacing)
        own_lines = match_structures(*given, ignored)
        edges = [one + own for one, own in zip(edges, own_edges, strict=True)]
        lines = [one + own for one, own in zip(lines, own_lines, strict=True)]
        nodes, pixels = nodes + int(segments.max()) + 1, pixels + crop.mask.size
    return Ceiling(
        config.method,
        float(config.superpixel_size or 0),
        config.compactness,
        config.sigma,
        1e6 * nodes / pixels,
        metrics.macro_dice(counts),
        metrics.macro(np.array([one.lines.f1 for one in lines])),
        metrics.macro(np.array([one.f1 for one in edges])),
        1e6 * seconds / pixels,
    )
