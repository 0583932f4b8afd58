"""Settings from YAML files and the command line, composed by Hydra into plain, typed dataclasses."""

import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import config as settings
from bench.arms import ARMS
from bench.config import Config, InputError
from bench.sweeps.experiments import expand_experiment
from bench.sweeps.jobs import Job
from bench.sweeps.overrides import check_words, find_config_dir, list_choices, quote, quote_words, sets_value, unquote
from bench.sweeps.products import defer_settings
from bench.sweeps.refusals import refuse_in_words

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
    ("schema/dataset", "public"): settings.PublicConfig,
    **{("schema/pipeline", arm.name): arm.settings for arm in ARMS.values()},
    ("schema/pipeline/model", "cnn"): settings.CnnConfig,
    ("schema/pipeline/model", "volume_cnn"): settings.VolumeCnnConfig,
    ("schema/pipeline/model", "gnn"): settings.GnnConfig,
}
_registered: dict[tuple[str, str], type] = {}  # what Hydra knows of SCHEMAS
_composed: dict[tuple[str, ...], DictConfig] = {}  # of files in CONF, by the words that choose them


def compose(arguments: Sequence[str]) -> list[Job]:
    """Return the runs that a command line asks for. Empty for Hydra's own questions, such as `--cfg job`.

    Args:
        arguments: Words of the command line, quoted by `prepare_words`.

    Raises:
        InputError: A setting or a value cannot be used.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come back here, to become one sentence
    register_schemas()
    jobs: list[Job] = []
    arguments = defer_settings(arguments)
    config_dir = find_config_dir(arguments)
    bases = _composed if config_dir is None else {}

    def gather(config: Config, given: list[str]) -> None:
        jobs.extend(
            compose_job(overrides, given, config_dir, config if overrides == given else _vary(overrides, bases))
            for overrides in expand_experiment(config.experiment, given)
        )

    try:
        with refuse_in_words():
            (_ask_hydra if any(map(_is_for_hydra, arguments)) else _compose_once)(arguments, gather)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"the command line {' '.join(arguments)!r} cannot be read: {error}") from error
    return jobs


Gather = Callable[[Config, list[str]], None]  # takes settings, and the words that compose them


def _is_for_hydra(word: str) -> bool:
    """Whether a word of the command line is an option or asks something of Hydra itself."""
    return word.startswith("-") or word.lstrip("+~").startswith("hydra") or "${hydra" in word


def _compose_once(arguments: Sequence[str], gather: Gather) -> None:
    """Compose words that are settings only: in half of the time of `_ask_hydra`, which composes twice."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        gather(_vary(arguments, _composed), list(arguments))


def _ask_hydra(arguments: Sequence[str], gather: Gather) -> None:
    """Let Hydra read the command line, its own options too."""
    refused: list[InputError] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def run(composed: DictConfig) -> None:
        try:
            with refuse_in_words():
                gather(convert_settings(composed), list(HydraConfig.get().overrides.task))
        except InputError as error:
            refused.append(error)  # raised below: Hydra would print lines of its own around it

    with TemporaryDirectory() as scratch:  # Hydra notes a multirun before it composes it: not in the results
        override = next((n for n, word in enumerate(arguments) if "=" in word and word[0] != "-"), len(arguments))
        place = f"hydra.sweep.dir={quote(scratch)}"
        sys.argv = [sys.argv[0], *arguments[:override], place, *arguments[override:]]  # not apart: see argparse
        run()
    if refused:
        raise refused[0]


def _vary(overrides: Sequence[str], bases: dict[tuple[str, ...], DictConfig]) -> Config:
    """Return the settings that `overrides` compose; what chooses the same YAML files is composed once.

    Args:
        overrides: Words of a command line that make one run.
        bases: What was composed of words that choose files, to which the words that set values are applied as Hydra
            applies them: after all files, in their order.

    Raises:
        InputError: A setting cannot be used.
    """
    parsed = OverridesParser.create().parse_overrides([word for word in overrides if sets_value(word)])
    if any(override.is_sweep_override() for override in parsed):
        return convert_settings(hydra.compose("config", list(overrides)))  # which refuses them
    files = tuple(word for word in overrides if not sets_value(word))
    if files not in bases:
        bases[files] = hydra.compose("config", list(files))
    composed = copy.deepcopy(bases[files])
    try:
        for override in parsed:
            OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException:
        composed = hydra.compose("config", list(overrides))  # whose error names the word
    return convert_settings(composed)


def compose_dataset(arguments: Sequence[str]) -> settings.DatasetConfig:
    """Return the data set that words such as `dataset=folder dataset.root=...` describe. Raises InputError."""
    jobs = compose(prepare_words(arguments))
    settings.require(len(jobs) == 1, f"one data set is needed, got {' '.join(arguments)}")
    return jobs[0].config.dataset


def prepare_words(arguments: Sequence[str]) -> list[str]:
    """Check the words of a command line by name, and quote what is text for Hydra. Raises InputError."""
    config_dir = find_config_dir(arguments)
    check_words(arguments, list_choices([CONF, *([] if config_dir is None else [config_dir])]))
    return quote_words(arguments)


def describe_experiments() -> dict[str, str]:
    """Return the description of each experiment that has one, by name, as its YAML file gives it."""
    found = {}
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for described in (line.split("description:", 1)[1].strip() for line in lines if "description:" in line):
            found[path.stem] = described
    return found


def register_schemas() -> None:
    """Register the typed settings with Hydra, under groups of their own, so that a misspelt one is refused by name.

    What it knows already is not registered again, which would take a quarter of the time of composing a run.
    """
    store = ConfigStore.instance()
    for (group, name), schema in SCHEMAS.items():
        if _registered.get((group, name)) is not schema:
            store.store(group=group, name=name, node=schema)
            _registered[group, name] = schema
            _composed.clear()


def compose_job(
    overrides: list[str], given: Sequence[str], config_dir: Path | None, composed: Config | None = None
) -> Job:
    """Return the run that `overrides` compose; its label is what the user did not give.

    Args:
        overrides: Words of a command line that make one run.
        given: Those among them that the user gave; the others come from an experiment's sweep.
        config_dir: Folder of the user's own YAML files, which Hydra has already; for the recorded command.
        composed: The settings that `overrides` compose, where that is done already.

    Raises:
        InputError: A setting cannot be used.
    """
    config = composed or convert_settings(hydra.compose("config", overrides))
    effort = config.experiment.effort
    config = replace(
        config, training=config.experiment.scale(config.training), pipeline=config.pipeline.scale_work(effort)
    )
    words = [word for word in overrides if not word.startswith("pipeline=")]
    swept = [word for word in words if word not in given] or words
    return Job(config, tuple(overrides), " ".join([config.pipeline.name, *map(unquote, swept)]), config_dir=config_dir)


def convert_settings(composed: DictConfig) -> Config:
    """Return composed settings as plain dataclasses, checked. Raises InputError with the setting's name."""
    missing = OmegaConf.missing_keys(composed)
    if missing:
        raise InputError(f"{sorted(missing)[0]} has no value; give it on the command line as {sorted(missing)[0]}=...")
    config = cast(Config, OmegaConf.to_object(composed))
    unknown = _find_unknown(OmegaConf.to_container(composed), asdict(config), "")
    if unknown is not None:
        raise InputError(f"{unknown} is not a setting: `python -m bench --cfg job` prints all of them")
    return config


def _find_unknown(given: Any, known: Any, prefix: str) -> str | None:
    """The first setting that was added with `+` and that no one reads."""
    if not isinstance(given, dict) or not isinstance(known, dict) or not known:
        return None
    for name, value in given.items():
        if name not in known:
            return f"{prefix}{name}"
        below = None if name in FREE else _find_unknown(value, known[name], f"{prefix}{name}.")
        if below is not None:
            return below
    return None
