"""Files of settings that Hydra reads once in a process of tests, and not for every command that is composed."""

import copy
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource

_read = ConfigRepository.load_config
_kept: dict[tuple[object, ...], tuple[object, bytes]] = {}  # by what a file is now; the node of a schema stays alive


def read_files_once() -> None:
    """Have Hydra read a file or a schema again only when it has changed; every command gets a copy of its own.

    Hydra copies its repository for each command, so that another search path leaves the first one as it is. A new list
    of sources is enough for that, and the sources, which hold every schema, are not copied.
    """
    ConfigRepository.load_config = _load_config
    ConfigRepository.__deepcopy__ = _copy_repository


def _copy_repository(self: ConfigRepository, _: dict[int, Any]) -> ConfigRepository:
    new = copy.copy(self)
    new.sources = list(self.sources)
    return new


def _load_config(self: ConfigRepository, config_path: str) -> Any:
    source = self._find_object_source(config_path, ObjectType.CONFIG)
    if source is None:
        return _read(self, config_path)
    state, node = _describe(source, config_path)
    key = (source.provider, source.path, config_path, *state)
    if key not in _kept:
        _kept[key] = node, pickle.dumps(_read(self, config_path))
    return pickle.loads(_kept[key][1])


def _describe(source: ConfigSource, config_path: str) -> tuple[tuple[int, ...], object]:
    """What tells whether a file or a schema is the same as before, and the schema's node.

    Sources are told by their schemes: Hydra imports its plugins again and again, and their classes are others then.
    """
    name = source._normalize_file_name(config_path)
    if source.scheme() == "file":
        path = Path(source.path) / name
    elif source.scheme() == "pkg":
        package, _, below = source.path.partition("/")
        path = Path(str(files(package))) / below / name
    else:
        node: Any = ConfigStore.instance().repo
        for part in name.split("/"):
            node = node[part]
        return (id(node),), node
    stat = path.stat()
    return (stat.st_mtime_ns, stat.st_size), None
