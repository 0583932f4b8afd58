"""Build an arm by its name. Its module is imported only then, so that an arm without torch never pays for it."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from bench.arms import ARMS
from bench.config import Config
from bench.datasets.sample import Task, adopt_spacing
from bench.pipelines.protocol import Pipeline, Restorable


def build_pipeline(config: Config, task: Task, trained: bool = False) -> Pipeline[Any]:
    """Build the arm that `config.pipeline.name` names, for images and classes as `task` says.

    Args:
        config: Settings of the run.
        task: Images and classes.
        trained: Whether weights are loaded next: then no network is built to try the settings out.

    Raises:
        InputError: The settings do not fit together.
    """
    superpixels, graph = adopt_spacing(config.superpixels, task), adopt_spacing(config.graph, task)
    config = replace(config, superpixels=superpixels, graph=graph)
    module, name = ARMS[config.pipeline.name].implementation.split(":")
    arm = getattr(import_module(module), name)
    if trained and isinstance(arm, Restorable):
        return cast(Pipeline[Any], arm.await_weights(config, task))
    build = cast(Callable[[Config, Task], Pipeline[Any]], arm)
    return build(config, task)
