"""Settings from YAML files and the command line, composed by Hydra into plain, typed dataclasses."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from bench import config as settings
from bench.arms import ARMS
from bench.config import Config, InputError
from bench.sweeps.jobs import Job, expand

INSTALLED = Path(__file__).parents[1] / "conf"  # in a wheel; a checkout has it one level up
CONF = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"

FREE = ("mask_values",)  # settings that are maps themselves
SCHEMAS = {
    ("schema", "config"): Config,
    ("schema", "superpixels"): settings.SuperpixelsConfig,
    ("schema", "graph"): settings.GraphConfig,
    ("schema", "training"): settings.TrainingConfig,
    ("schema", "experiment"): settings.ExperimentConfig,
    ("schema/dataset", "synthetic"): settings.SyntheticConfig,
    ("schema/dataset", "folder"): settings.FolderConfig,
    ("schema/dataset", "embedded"): settings.EmbeddedConfig,
    **{("schema/pipeline", arm.name): arm.settings for arm in ARMS.values()},
    ("schema/pipeline/model", "cnn"): settings.CnnConfig,
    ("schema/pipeline/model", "gnn"): settings.GnnConfig,
}


def compose(arguments: list[str]) -> list[Job]:
    """The runs that a command line asks for. Empty for Hydra's own questions, such as `--help` or `--cfg job`.

    Raises InputError, or Hydra's and OmegaConf's own errors.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come back here, to be said in one sentence
    register()
    jobs: list[Job] = []
    refused: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def gather(composed: DictConfig) -> None:
        try:
            given = list(HydraConfig.get().overrides.task)
            jobs.extend(job_of(overrides, given) for overrides in expand(typed(composed).experiment, given))
        except (InputError, HydraException, OmegaConfBaseException, YAMLError) as error:
            refused.append(error)  # raised below: Hydra would print lines of its own around it

    with TemporaryDirectory() as scratch:  # Hydra notes a multirun before it composes it: not in the results
        override = next((n for n, word in enumerate(arguments) if "=" in word and word[0] != "-"), len(arguments))
        words = [*arguments[:override], f"hydra.sweep.dir={scratch}", *arguments[override:]]  # not apart: see argparse
        sys.argv = [sys.argv[0], *words]
        try:
            gather()
        except ValueError as error:
            raise InputError(f"the command line {' '.join(arguments)!r} cannot be read: {error}") from error
    if refused:
        raise refused[0]
    return jobs


def register() -> None:
    """Tell Hydra the typed settings, under a group of their own, so that a misspelt one is refused by name."""
    store = ConfigStore.instance()
    for (group, name), schema in SCHEMAS.items():
        store.store(group=group, name=name, node=schema)


def job_of(overrides: list[str], given: list[str]) -> Job:
    """The run that `overrides` compose; its label is what the user did not give."""
    config = typed(hydra.compose("config", overrides))
    config = replace(config, training=config.experiment.scale(config.training))
    swept = [part for part in overrides if part not in given and not part.startswith("pipeline=")]
    return Job(config, tuple(overrides), " ".join([config.pipeline.name, *(swept or given)]))


def typed(composed: DictConfig) -> Config:
    """Plain dataclasses, checked. Raises InputError with the setting's name."""
    missing = OmegaConf.missing_keys(composed)
    if missing:
        raise InputError(f"{sorted(missing)[0]} has no value; give it on the command line as {sorted(missing)[0]}=...")
    config = cast(Config, OmegaConf.to_object(composed))
    unknown = _unknown(OmegaConf.to_container(composed), asdict(config), "")
    if unknown is not None:
        raise InputError(f"{unknown} is not a setting: `python -m bench --cfg job` prints all of them")
    return config


def _unknown(given: Any, known: Any, prefix: str) -> str | None:
    """The first setting that was added with `+` and that no one reads."""
    if not isinstance(given, dict) or not isinstance(known, dict) or not known:
        return None
    for name, value in given.items():
        if name not in known:
            return f"{prefix}{name}"
        below = None if name in FREE else _unknown(value, known[name], f"{prefix}{name}.")
        if below is not None:
            return below
    return None
