"""Where images come from. A new kind of source costs one file, one line of `DATASETS`, a settings class and a YAML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.config import DatasetConfig, require_one_of
from bench.datasets import folder, public, shipped, synthetic
from bench.datasets.sample import Splits

DATASETS: dict[str, Callable[[Any, Path | None], Splits]] = {
    "synthetic": synthetic.load_synthetic,
    "folder": folder.load_folder,
    "embedded": shipped.load_shipped,
    "public": public.load_public,
}


def load(config: DatasetConfig, keep_in: Path | None = None) -> Splits:
    """Load the data set that `config.name` names, checked in full.

    Args:
        config: Settings of the data set.
        keep_in: Results folder in which what was read is remembered; None remembers nothing.

    Returns:
        The samples of each split.

    Raises:
        InputError: The culprit is named.
    """
    require_one_of("dataset.name", config.name, tuple(DATASETS))
    return DATASETS[config.name](config, keep_in)
