"""Public data sets by name: downloaded when one is asked for by its name, then read as a folder of images."""

from dataclasses import replace
from pathlib import Path

from bench.config import FolderConfig, PublicConfig, require_one_of
from bench.datasets import folder
from bench.datasets.sample import Splits
from bench.downloads.cache import find_cache, find_converted
from bench.downloads.catalogue import CATALOGUE, PublicSet


def load_public(config: PublicConfig, keep_in: Path | None = None) -> Splits:
    """Load the public set `config.subset`, and download it if that was not done before.

    Args:
        config: The data set's settings.
        keep_in: As in `bench.datasets.folder.load_folder`.

    Returns:
        The samples of each split; the facts hold licence and citation, the notes say them.

    Raises:
        InputError: There is no such set, or it cannot be had.
    """
    require_one_of("dataset.subset", config.subset, tuple(CATALOGUE))
    entry = CATALOGUE[config.subset]
    settings = FolderConfig(
        normalization=config.normalization,
        root=str(find_folder(entry, config)),
        class_names=list(entry.class_names),
    )
    data = folder.load_folder(settings, keep_in)
    facts = data.facts | {"dataset.licence": entry.licence, "dataset.citation": entry.citation}
    notes = (f"licence: {entry.licence}", f"please cite {entry.citation}", entry.caution)
    return replace(data, name=entry.name, facts=facts, notes=(*filter(None, notes), *data.notes))


def find_folder(entry: PublicSet, config: PublicConfig) -> Path:
    """Return the folder of a set's images and masks; what fetches and converts is loaded only where it has to."""
    cache = find_cache(config.cache_dir)
    converted = find_converted(cache, entry.name)
    if converted.is_dir():
        return converted
    from bench.downloads.provide import provide

    return provide(entry, cache, config.mirror)
