"""The arms of the comparison by name, each imported when it is built: the control arms never pay for torch."""

from collections.abc import Callable
from typing import Any

from bench.config import Config
from bench.datasets.sample import Task
from bench.pipelines.protocol import Pipeline


def _tiled_cnn(config: Config, task: Task) -> Pipeline[Any]:
    from bench.pipelines.cnn.tiled_cnn import TiledCnn

    return TiledCnn(config, task)


def _superpixel_gnn(config: Config, task: Task) -> Pipeline[Any]:
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn

    return SuperpixelGnn(config, task)


def _oracle(config: Config, task: Task) -> Pipeline[Any]:
    from bench.pipelines.controls import Oracle

    return Oracle(config, task)


def _threshold(config: Config, task: Task) -> Pipeline[Any]:
    from bench.pipelines.controls import Threshold

    return Threshold(config, task)


PIPELINES: dict[str, Callable[[Config, Task], Pipeline[Any]]] = {
    "tiled_cnn": _tiled_cnn,
    "superpixel_gnn": _superpixel_gnn,
    "superpixel_mlp": _superpixel_gnn,  # its configuration says conv "none"
    "oracle": _oracle,
    "threshold": _threshold,
}
