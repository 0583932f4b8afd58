"""Where images come from. A new kind of source costs one file, one line of `DATASETS`, a settings class and a YAML."""

from collections.abc import Callable
from typing import Any

from bench.config import DatasetConfig, require_one_of
from bench.datasets import folder, shipped, synthetic
from bench.datasets.sample import Splits

DATASETS: dict[str, Callable[[Any], Splits]] = {
    "synthetic": synthetic.load,
    "folder": folder.load,
    "embedded": shipped.load,
}


def load(config: DatasetConfig) -> Splits:
    """The data set that `config.name` names, checked in full. Raises `InputError` naming the culprit."""
    require_one_of("dataset.name", config.name, tuple(DATASETS))
    return DATASETS[config.name](config)
