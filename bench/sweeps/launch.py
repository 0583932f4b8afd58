"""Hydra's launchers and Optuna's sweeper: runs side by side, here or on a cluster, or chosen trial by trial."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig

from bench.config import ExperimentConfig, InputError
from bench.sweeps.compose import CONF, compose_job, register_schemas
from bench.sweeps.jobs import Job
from bench.sweeps.overrides import quote, sets_text
from bench.sweeps.preparation import prepare_jobs
from bench.sweeps.refusals import refuse_in_words
from bench.sweeps.resume import list_attempts
from bench.sweeps.sweep import Planned, note_found, plan_runs, sweep
from bench.tables.read import read_run_rows

NEEDS = {  # beginning of a launcher's or sweeper's name: the package it comes from
    "parallel": "hydra-joblib-launcher",
    "joblib": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "submitit": "hydra-submitit-launcher",
    "optuna": "hydra-optuna-sweeper",
}
PREFIXES = ("hydra/launcher", "hydra.launcher.", "hydra/sweeper", "hydra.sweeper.")
SEED = 0  # of Optuna's sampler: the same trials again, so that a search started again finds them finished


def split_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that say what is run, and those that say how it is launched."""
    how = [argument for argument in arguments if argument.lstrip("+").startswith(PREFIXES)]
    return [argument for argument in arguments if argument not in how], how


def check_launchers(how: Sequence[str]) -> None:
    """Raise InputError where a launcher or sweeper is named whose package is not installed."""
    for part, package in NEEDS.items():
        naming = [argument for argument in how if argument.partition("=")[2].startswith(part)]
        if naming and not _is_installed(package.replace("-", "_")):
            raise InputError(f"{naming[0]} needs the package {package}: pip install 'gnn-vs-cnn[sweeps]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:
        return False


def launch(planned: Sequence[Planned], how: Sequence[str], statuses: dict[str, list[str]]) -> None:
    """Do what is not finished, as `sweep` does, but each job in a process of a launcher.

    Args:
        planned: The jobs of a sweep.
        how: Overrides of Hydra that name and set the launcher.
        statuses: Gathers how each job stands, by results folder.

    Raises:
        InputError: The launcher does not start, or one of its processes dies without an answer.
    """
    left = [one for one in planned if not note_found(one, statuses)]
    if not left:
        return
    context, config = compose_launcher(how, left[0].job.config.results_dir, left[0].job.config_dir)
    launcher = Plugins.instance().instantiate_launcher(context, Launched(tuple(left)), config)
    try:
        done = launcher.launch([list(one.job.overrides) for one in left], 0)
    except Exception as error:  # whatever a cluster may answer
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{how[0]} did not do its work ({lines[0]}): finished runs are kept, start again to go on with the others"
        ) from error
    for one, answer in zip(left, done, strict=True):
        statuses.setdefault(one.job.config.results_dir, []).append(str(answer.return_value))


@dataclass(frozen=True)
class Launched:
    """Does, in a launched process, the one job of the list that its number names. Returns the status."""

    planned: tuple[Planned, ...]

    def __call__(self, _: DictConfig) -> str:
        """Run the job of this process and return its status."""
        statuses: dict[str, list[str]] = {}
        sweep([self.planned[int(HydraConfig.get().job.num)]], statuses)
        return next(status for folder in statuses.values() for status in folder)


def tune(
    experiment: ExperimentConfig, given: Sequence[str], how: Sequence[str], config_dir: Path | None = None
) -> dict[str, list[str]]:
    """Search each arm's settings with the same number of trials.

    Trials come from Optuna's sampler, which sees their validation scores and nothing else. A trial that fails counts as
    one, and those finished before are not done again.

    Args:
        experiment: Settings of the search.
        given: Overrides of every trial, quoted for Hydra.
        how: Overrides of Hydra's launcher and sweeper.
        config_dir: Folder of the user's own YAML files.

    Returns:
        How the trials ended, by results folder.

    Raises:
        InputError: A setting cannot be used, or no arm is searched.
    """
    check_launchers(["hydra/sweeper=optuna"])
    chosen = next((item.partition("=")[2] for item in given if item.startswith("pipeline=")), None)
    searches = [search for search in experiment.search if chosen in (None, search.get("pipeline"))]
    if not searches:
        raise InputError(f"experiment {experiment.name} searches no arm called {chosen}: choose another pipeline")
    names = [item.partition("=")[0] for item in given]
    arms = [[f"{key}={value}" for key, value in search.items() if key not in names] for search in searches]
    first = [
        _compose_separately([*given, *(part for part in arm if part.startswith("pipeline="))], given, config_dir)
        for arm in arms
    ]
    prepare_jobs(first)  # refuses what cannot be used before the first trial
    folder = Path(first[0].config.results_dir)
    before = {attempt.directory for attempt in list_attempts(folder)}
    for arm, job in zip(arms, first, strict=True):
        trial = TuningTrial(tuple(item for item in given if item not in arm), config_dir)
        _search_arm(
            arm, trial, [*_configure_sampler(experiment.trials), *how], folder / "tuning" / job.config.pipeline.name
        )
    ended = [attempt for attempt in list_attempts(folder) if attempt.directory not in before]
    return {str(folder): [str(attempt.status) for attempt in ended]}


def _configure_sampler(trials: int) -> list[str]:
    """Return Hydra's settings for Optuna: one trial after the other, failed ones allowed, the best score sought."""
    settings = {"direction": "maximize", "n_jobs": 1, "n_trials": trials, "max_failure_rate": 1.0, "sampler.seed": SEED}
    return ["hydra/sweeper=optuna", *(f"hydra.sweeper.{name}={value}" for name, value in settings.items())]


def _search_arm(arm: Sequence[str], trial: "TuningTrial", how: Sequence[str], folder: Path) -> None:
    """Do all trials of one arm; Optuna's best one is written into `folder`.

    The sweeper gets no text: it hands values on without their quotes. The trial composes its job with all of them.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    context, config = compose_launcher(how, str(folder), trial.config_dir)
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=trial, config=config)
    sweeper.sweep([*(item for item in trial.given if not sets_text(item)), *arm])


@dataclass(frozen=True)
class TuningTrial:
    """Does one run, unless it is finished, and returns its validation score; None where it has none."""

    given: tuple[str, ...]
    config_dir: Path | None

    def __call__(self, _: DictConfig) -> float | None:
        """Run one trial and return its validation score."""
        chosen = list(HydraConfig.get().overrides.task)
        job = _compose_separately([*chosen, *filter(sets_text, self.given)], self.given, self.config_dir)
        [one] = plan_runs(prepare_jobs([job]))
        number = int(HydraConfig.get().job.num) + 1
        sweep([replace(one, number=number, total=max(number, job.config.experiment.trials))], {})
        done = [a for a in list_attempts(one.results_dir) if a.run_key == one.run_key and a.status == "ok"]
        if not done:
            return None
        score = read_run_rows(max(done, key=lambda attempt: attempt.rank).directory)["runs"][0].get("best_val_score")
        return None if score is None else float(score)


def _compose_separately(overrides: list[str], given: Sequence[str], config_dir: Path | None) -> Job:
    """Compose a job from a command line, whatever Hydra is doing meanwhile."""
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with _initialize_hydra(), refuse_in_words():
            job = compose_job([*overrides, *extend_search_path(config_dir)], given, config_dir)
            return replace(job, overrides=tuple(overrides))
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = state


def extend_search_path(config_dir: Path | None) -> list[str]:
    """Return the override by which Hydra finds the user's own YAML files too."""
    return [] if config_dir is None else [f"hydra.searchpath=[{quote(f'file://{config_dir}')}]"]


def _initialize_hydra() -> Any:
    register_schemas()
    return hydra.initialize_config_dir(str(CONF), version_base="1.3", job_name="gnn-vs-cnn")


def compose_launcher(
    how: Sequence[str], results_dir: str, config_dir: Path | None = None
) -> tuple[HydraContext, DictConfig]:
    """Return what launchers and sweepers are made from.

    Args:
        how: Overrides of Hydra's launcher and sweeper.
        results_dir: Folder in which they keep what they write.
        config_dir: Folder of the user's own YAML files.

    Raises:
        InputError: A package is missing or a setting cannot be used.
    """
    check_launchers(how)
    places = ["hydra.mode=MULTIRUN", f"hydra.sweep.dir={quote(results_dir)}", *extend_search_path(config_dir)]
    with _initialize_hydra(), refuse_in_words():
        config = hydra.compose("config", [*places, *how], return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
    return HydraContext(config_loader=loader, callbacks=Callbacks()), config
