"""How long the pixels of a new image are along each axis, and what that means for a run that was trained on others."""

from collections.abc import Sequence
from dataclasses import replace

from bench.arms import ARMS
from bench.arrays.spacing import relate_spacing
from bench.config import Config, require
from bench.datasets.sample import Task, adopt_spacing

ALIKE = 0.05  # relative difference of the sides of pixels that count as alike
Lengths = tuple[float, ...]


def choose_spacing(given: Sequence[float] | None, stated: Sequence[float] | None, task: Task) -> Lengths | None:
    """Choose the lengths of a pixel of a new image: those given, else what its file states, else those in training.

    Args:
        given: Lengths along the spatial axes, in any unit; None: not given.
        stated: Those of the file, in one unit; None: it states none. Only the last axes count, as many as the task has.
        task: Spatial axes and spacing of the training images.

    Returns:
        The lengths; None where pixels have the shape that they had in training, to five per cent.

    Raises:
        InputError: Lengths were given for another number of axes.
    """
    axes = task.spatial_axes
    if given is not None:
        require(len(given) == axes, f"spacing must hold one length for each of {axes} axes, got {list(given)}")
    lengths = given if given is not None else stated
    if lengths is None:
        return None
    chosen = tuple(lengths)[-axes:]
    own, trained = relate_spacing(chosen, axes), relate_spacing(task.spacing, axes)
    alike = all(abs(one / other - 1) < ALIKE for one, other in zip(own, trained, strict=True))
    return None if alike else chosen


def adopt_lengths(config: Config, task: Task, spacing: Lengths | None) -> Config:
    """Return settings whose superpixels and graphs take a new image's pixels to have other lengths than in training.

    Args:
        config: Settings of the run; `superpixels.spacing` and `graph.spacing` outweigh `spacing`.
        task: What the training images were.
        spacing: As `choose_spacing` returns it.
    """
    if spacing is None:
        return config
    new = Task(task.class_names, task.in_channels, task.spatial_axes, spacing=spacing)
    superpixels, graph = adopt_spacing(config.superpixels, new), adopt_spacing(config.graph, new)
    return replace(config, superpixels=superpixels, graph=graph)


def describe_difference(pipeline: str, spacing: Lengths | None, task: Task) -> str:
    """Say that the pixels of an image have another shape than those in training; empty where they have not.

    Args:
        pipeline: Name of the arm.
        spacing: As `choose_spacing` returns it.
        task: What the training images were.
    """
    if spacing is None:
        return ""
    own, trained = (
        " x ".join(f"{length:.3g}" for length in relate_spacing(lengths, task.spatial_axes))
        for lengths in (spacing, task.spacing)
    )
    follows = ARMS[pipeline].uses_superpixels
    advice = "superpixels, filters and edges follow the image" if follows else "resample it to be sure"
    return f"has pixels of {own} and the run was trained on those of {trained}: {advice}"
