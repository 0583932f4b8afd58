"""The command line: Hydra settings in, isolated runs out. The only module that knows Hydra and OmegaConf.

python -m bench experiment=quick                          an experiment: a list of sweeps
python -m bench pipeline=tiled_cnn dataset=folder ...     one run
python -m bench -m superpixels.superpixel_size=50,100     Hydra's own sweep
python -m bench collect|report|doctor|perf ...            verbs that need no composition
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from bench import config as settings
from bench.config import Config, InputError
from bench.sweeps.jobs import Job, expand, prepared

VERBS = {
    "collect": "bench.tables",
    "report": "bench.report",
    "doctor": "bench.measure.doctor",
    "perf": "bench.perf.graph_steps",
    "inferer": "bench.perf.inferer",
    "overhead": "bench.perf.overhead",
    "predict": "bench.predict.command",
    "scene": "bench.datasets.scene_file",
}
INSTALLED = Path(__file__).parent / "conf"  # in a wheel; a checkout has it one level up
CONF = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[1] / "conf"

FREE = ("mask_values",)  # settings that are maps themselves
SCHEMAS = {
    ("schema", "config"): Config,
    ("schema", "superpixels"): settings.SuperpixelsConfig,
    ("schema", "graph"): settings.GraphConfig,
    ("schema", "training"): settings.TrainingConfig,
    ("schema", "experiment"): settings.ExperimentConfig,
    ("schema/dataset", "synthetic"): settings.SyntheticConfig,
    ("schema/dataset", "folder"): settings.FolderConfig,
    ("schema/pipeline", "tiled_cnn"): settings.TiledCnnConfig,
    ("schema/pipeline", "superpixel_gnn"): settings.SuperpixelGnnConfig,
    ("schema/pipeline", "superpixel_mlp"): settings.SuperpixelMlpConfig,
    ("schema/pipeline", "oracle"): settings.OracleConfig,
    ("schema/pipeline", "threshold"): settings.ThresholdConfig,
    ("schema/pipeline/model", "cnn"): settings.CnnConfig,
    ("schema/pipeline/model", "gnn"): settings.GnnConfig,
}


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 fine, 1 a run failed, 2 the input cannot be used, 130 interrupted."""
    try:
        if arguments and arguments[0] in VERBS:
            return _verb(arguments[0])(list(arguments[1:]))
        return _bench(list(arguments))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        again = shlex.join(["python", "-m", "bench", *arguments])
        print(f"\ninterrupted: {_left(arguments)}:\n  {again}", file=sys.stderr)
        return 130
    return 2


def _left(arguments: Sequence[str]) -> str:
    """What an interruption leaves, and what the same command does then."""
    verb = arguments[0] if arguments and arguments[0] in VERBS else ""
    if verb == "predict":
        return (
            "no mask is left that is not whole, and this starts again (add overwrite=true where some are whole already)"
        )
    return "this starts again" if verb else "finished runs are kept, and this goes on with the others"


def _verb(name: str) -> Callable[[list[str]], int]:
    return cast(Callable[[list[str]], int], import_module(VERBS[name]).main)


def _sentence(error: BaseException) -> str:
    """Hydra's, OmegaConf's and YAML's messages in one line, outermost first."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = [str(words) for words in (error.context, error.problem) if words]
        return f"{mark.name}, line {mark.line + 1}, cannot be read as YAML: {': '.join(what)}"
    errors = [error] if error.__cause__ is None else [error, error.__cause__]
    return ": ".join(dict.fromkeys(_first_line(one) for one in errors if str(one).strip())) or type(error).__name__


def _first_line(error: BaseException) -> str:
    """The first line of a message, the second too where the first only announces it, and the setting's name."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    return said if key in said else f"{said} ({key})"


def _bench(arguments: list[str]) -> int:
    """Compose and check every run before the first one starts; then run them, and report each results folder once."""
    from bench.sweeps.expected import expected
    from bench.sweeps.launch import check_installed, composed, launch, split, tune
    from bench.sweeps.sweep import plan, sweep

    what, how = split(arguments)
    check_installed(how)
    jobs = compose(what)
    composed(how, "")
    print(expected(jobs), end="", file=sys.stderr, flush=True)
    statuses: dict[str, list[str]] = {}
    try:
        if jobs and jobs[0].config.experiment.kind == "tuning":
            statuses |= tune(jobs[0].config.experiment, what, how)
        elif how:
            launch(plan(prepared(jobs)), how, statuses)
        else:
            sweep(plan(prepared(jobs)), statuses)
    finally:
        reported = [import_module("bench.report").main([f"results_dir={results_dir}"]) for results_dir in statuses]
    return int(any(reported) or any(status != "ok" for folder in statuses.values() for status in folder))


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
