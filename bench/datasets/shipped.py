"""Real images that ship with the project, so that the first run needs no download: folders below `embedded/`."""

from dataclasses import replace
from pathlib import Path

from bench.config import EmbeddedConfig, FolderConfig, require_one_of
from bench.datasets import folder
from bench.datasets.sample import Splits

EMBEDDED = Path(__file__).with_name("embedded")
CLASSES = {"nuclei": ["background", "nucleus"]}  # names of the classes by set
FACTS: dict[str, dict[str, str | int | float]] = {  # licence and citation by set
    "nuclei": {
        "dataset.licence": "CC0 1.0",
        "dataset.citation": "Caicedo et al., Nature Methods 16:1247 (2019) (BBBC038v1)",
    }
}


def load_shipped(config: EmbeddedConfig, keep_in: Path | None = None) -> Splits:
    """Load the embedded set `config.subset` as a folder of images. Raises `InputError` for an unknown one."""
    require_one_of("dataset.subset", config.subset, tuple(CLASSES))
    settings = FolderConfig(
        normalization=config.normalization,
        root=str(EMBEDDED / config.subset),
        class_names=CLASSES[config.subset],
    )
    data = folder.load_folder(settings, keep_in)
    return replace(data, name=config.subset, facts=data.facts | FACTS[config.subset])
