"""Build an arm by its name. Its module is imported only then, so that an arm without torch never pays for it."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from bench.arms import ARMS
from bench.config import Config
from bench.datasets.sample import Task, adopt_spacing
from bench.pipelines.protocol import Pipeline, Triable


def build_pipeline(config: Config, task: Task, trial: bool = True) -> Pipeline[Any]:
    """Build the arm that `config.pipeline.name` names, for images and classes as `task` says.

    Args:
        config: Settings of the run.
        task: Images and classes.
        trial: Whether a network of that arm is built once and let go; needless where weights are loaded next.

    Raises:
        InputError: The settings do not fit together.
    """
    superpixels, graph = adopt_spacing(config.superpixels, task), adopt_spacing(config.graph, task)
    config = replace(config, superpixels=superpixels, graph=graph)
    module, name = ARMS[config.pipeline.name].implementation.split(":")
    build = cast(Callable[[Config, Task], Pipeline[Any]], getattr(import_module(module), name))
    pipeline = build(config, task)
    if trial and isinstance(pipeline, Triable):
        pipeline.try_settings()
    return pipeline


def build_learner(pipeline: Pipeline[Any], config: Config, task: Task) -> tuple[Pipeline[Any], Config]:
    """Build what prepares training images: of each one segmentation, as several serve prediction alone.

    Args:
        pipeline: The arm, as `build_pipeline` builds it from `config`.
        config: Settings of the run.
        task: Images and classes.

    Returns:
        The arm and the settings for training images; the given ones where they have one segmentation.
    """
    learning = replace(config, superpixels=replace(config.superpixels, views=1))
    return (pipeline if learning == config else build_pipeline(learning, task)), learning
