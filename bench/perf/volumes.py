"""Superpixels of volumes beside those of other programs: `python -m bench perf steps= volume_sizes=64,128,256`.

Both sides make about as many superpixels of the same volume, in turn in one process; what majority labels of either
reaches stands beside the times. A program that is not installed is left out, with a line.
"""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import SuperpixelsConfig, SyntheticConfig
from bench.datasets.sample import Task
from bench.datasets.synthetic import load_synthetic
from bench.perf.programs import Image, Program, Segments, count_segments, fit_size, number_densely
from bench.perf.steps import Picture
from bench.scores.ceilings import count_best
from bench.scores.metrics import macro_dice
from bench.superpixels.registry import segment

SIDE = 128  # voxels a side of the generated volume; larger ones mirror it
CLASSES = 2
TASK = Task(("background", "nucleus"), in_channels=1, spatial_axes=3)


def generate_volume(side: int) -> Picture:
    """Generate a volume (side, side, side, 1) of nuclei and its mask; beyond `SIDE` voxels it is mirrored."""
    least = min(max(side, 32), SIDE)
    size = [least] * 3
    config = SyntheticConfig(image_size=size, num_classes=CLASSES, plane_distance=1.0, train_images=1, val_images=1)
    sample = load_synthetic(replace(config, test_images=1), kept_pixels=prod(size)).train[0]
    rest = ((0, side - least),) * 3
    image = np.pad(np.asarray(sample.image)[..., 0], rest, mode="symmetric")[..., None]
    return Picture(np.ascontiguousarray(image), np.pad(np.asarray(sample.mask), rest, mode="symmetric"))


def measure_ceiling(scene: Picture, segments: NDArray[np.integer]) -> float:
    """Measure the macro Dice of the majority labelling of some superpixels, whatever their numbers."""
    return macro_dice(count_best(scene.mask, [number_densely(segments)], TASK))


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
    nodes = count_segments(theirs)

    def run(image: Image, size: float) -> Segments:
        return segment(image, replace(asked, superpixel_size=size))

    ours = replace(asked, superpixel_size=fit_size(run, scene.image, nodes, scene.mask.size / nodes))
    mine = segment(scene.image, ours)
    row = {"num_nodes": count_segments(mine), "rival_num_nodes": nodes}
    return ours, row | {"ceiling": measure_ceiling(scene, mine), "rival_ceiling": measure_ceiling(scene, theirs)}
